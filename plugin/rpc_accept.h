/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Takes calls from gRPC and passes each one to rpc_call.c or rpc_stream.c, by the
 * kind of its method. */
#include "plugin/rpc_base.h"

/* The number of calls that gRPC can hand over before it is asked for more. */
#define RPC_ACCEPTS 4

struct rpc_acceptor {
    grpc_server *grpc;
    grpc_completion_queue *cq;
    const struct rpc_service *services;
    struct rpc_life *life;
    struct rpc_work *work;
    /* ---- private to rpc_accept.c ---- */
    struct rpc_accept {
        struct rpc_tag tag;
        struct rpc_acceptor *acceptor;
        grpc_call *call;
        grpc_call_details details;
        grpc_metadata_array metadata;
    } accepts[RPC_ACCEPTS];
};

/** Starts to accept: the rpc thread takes calls until gRPC's server is shut down. @a must live
 * until the completion queue is empty. */
void rpc_accept_start(struct rpc_acceptor *a);
