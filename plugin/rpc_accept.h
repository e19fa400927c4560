#pragma once
/* Takes calls from gRPC and hands each to the kind that its method is of. */
#include "plugin/rpc_base.h"

/* Calls that gRPC may hand over before it is asked for more. */
#define RPC_ACCEPTS 4

struct rpc_acceptor {
    grpc_server *grpc;
    grpc_completion_queue *cq;
    const struct rpc_service *services;
    struct rpc_life *life;
    struct rpc_work *work;
    /* ---- rpc_accept.c's ---- */
    struct rpc_accept {
        struct rpc_tag tag;
        struct rpc_acceptor *acceptor;
        grpc_call *call;
        grpc_call_details details;
        grpc_metadata_array metadata;
    } accepts[RPC_ACCEPTS];
};

/** From here on calls are taken by the rpc thread, until gRPC's server is shut down. @a must live
 * until the completion queue is empty. */
void rpc_accept_start(struct rpc_acceptor *a);
