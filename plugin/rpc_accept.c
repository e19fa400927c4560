/* SPDX-License-Identifier: MPL-2.0 */
/* Accepts calls: finds the method's row and makes the call or stream.
 *
 * rpc_server.c starts it. A call of an unknown method becomes a unary call that is refused. When
 * gRPC's server is shut down, each pending request for a call returns without a call. */
#include "plugin/rpc_accept.h"
#include "plugin/rpc_call.h"
#include "plugin/rpc_stream.h"
#include "paddock/log.h"

#include <grpc/slice.h>

static const struct rpc_method *accept_find(const struct rpc_service *services, grpc_slice path,
                                            void **ret_app) {
    for (const struct rpc_service *sv = services; sv->methods; sv++) {
        for (size_t i = 0; i < sv->n_methods; i++) {
            if (grpc_slice_str_cmp(path, sv->methods[i].path) == 0) {
                *ret_app = sv->app;
                return &sv->methods[i];
            }
        }
    }
    return NULL;
}

static void accept_ask(struct rpc_accept *x) {
    struct rpc_acceptor *a = x->acceptor;
    x->call = NULL;
    grpc_call_details_init(&x->details);
    grpc_metadata_array_init(&x->metadata);
    if (grpc_server_request_call(a->grpc, &x->call, &x->details, &x->metadata, a->cq, a->cq,
                                 &x->tag) != GRPC_CALL_OK)
        abort(); /* only for arguments that are impossible here */
}

static void accept_event(struct rpc_tag *t, bool ok) {
    struct rpc_accept *x = (struct rpc_accept *)(void *)t;
    struct rpc_acceptor *a = x->acceptor;
    if (ok) {
        struct rpc_arrival arrival = {
            .call = x->call, .deadline = x->details.deadline, .life = a->life, .work = a->work};
        arrival.method = accept_find(a->services, x->details.method, &arrival.app);
        bool stream = arrival.method && arrival.method->kind != RPC_UNARY;
        if ((stream ? rpc_stream_accept(&arrival) : rpc_call_accept(&arrival)) < 0)
            log_error("rpc", NULL, "out of memory: a call was dropped");
    }
    grpc_call_details_destroy(&x->details);
    grpc_metadata_array_destroy(&x->metadata);
    if (ok)
        accept_ask(x);
}

void rpc_accept_start(struct rpc_acceptor *a) {
    for (size_t i = 0; i < RPC_ACCEPTS; i++) {
        a->accepts[i].tag.event = accept_event;
        a->accepts[i].acceptor = a;
        accept_ask(&a->accepts[i]);
    }
}
