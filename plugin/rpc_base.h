#pragma once
/* What unary calls and streams have in common; for rpc_call.c, rpc_stream.c and rpc_accept.c.
 *
 * A call is made of batches: each start_batch gives exactly one event back, with the tag.
 * RECV_CLOSE is started at once and comes back when the call is over for whatever reason; when no
 * batch is outstanding after that, the grpc_call is released. The memory lives as long as somebody
 * holds a reference. Batches are started under the call's lock and events take it, so whatever a
 * batch points to is safe. */
#include "plugin/rpc.h"
#include "plugin/rpc_life.h"
#include "plugin/rpc_status.h"
#include "plugin/rpc_work.h"

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>

struct rpc_base;

struct rpc_tag {
    void (*event)(struct rpc_tag *t, bool ok);
};

struct rpc_base_ops {
    /* From the rpc thread, without the lock. */
    void (*closed)(struct rpc_base *b);
    void (*received)(struct rpc_base *b);
    void (*sent)(struct rpc_base *b, bool ok);
    void (*woken)(struct rpc_base *b);
    /* The handler, on the thread that its lane asks for. Owns a reference. */
    void (*run)(struct rpc_base *b);
    /* Nobody knows it any more. */
    void (*destroy)(struct rpc_base *b);
};

struct rpc_base {
    const struct rpc_base_ops *ops;
    struct rpc_life *life;
    struct rpc_work *work;
    struct rpc_job job;              /* the handler on its way to a worker */
    const struct rpc_method *method; /* NULL: unknown */
    void *app;
    atomic_uint refs;
    pthread_mutex_t lock;

    /* ---- under the lock ---- */
    grpc_call *call; /* NULL once released */
    unsigned batches;
    bool closed;     /* over: nothing can be sent any more */
    bool stop_after; /* the server stops when this call is over */
    int cancelled;   /* gRPC's: the client has gone */
    struct rpc_tag close_tag, recv_tag, send_tag, wake_tag;
    grpc_byte_buffer *received; /* the message that recv_tag brought; NULL = end */
    grpc_byte_buffer *sending;
    bool metadata_sent;
    grpc_slice status_text, status_details; /* live until the end, as gRPC wants it */
    grpc_metadata status_metadata;
    struct cancel cancel;
    struct call context;
    bool context_made;
};

/* A call that gRPC has handed over. */
struct rpc_arrival {
    grpc_call *call;
    gpr_timespec deadline;
    const struct rpc_method *method; /* NULL: unknown */
    void *app;
    struct rpc_life *life;
    struct rpc_work *work;
};

/** @a->call is taken. One reference belongs to the grpc_call; the caller gets another one. */
void rpc_base_init(struct rpc_base *b, const struct rpc_base_ops *ops, const struct rpc_arrival *a);
struct rpc_base *rpc_base_ref(struct rpc_base *b);
void rpc_base_unref(struct rpc_base *b);
const struct call *rpc_base_context(struct rpc_base *b);
/** Has ops->run called with a reference of its own, as rpc_work_run() does. */
int rpc_base_run(struct rpc_base *b) MUST_CHECK;

/* Under the lock; nothing happens when the call is over. */
void rpc_base_receive(struct rpc_base *b);
/** Has `woken` called by the rpc thread; one wake may be under way. */
void rpc_base_wake(struct rpc_base *b);
/** @msg (taken, NULL = none) and, with @status, the end of the call, in one batch: one may be under
 * way. */
void rpc_base_send(struct rpc_base *b, grpc_byte_buffer *msg, const struct rpc_status *status);

/** Strings are mended (rpc_utf8.h). NULL without memory. */
grpc_byte_buffer *rpc_encode(const ProtobufCMessage *msg);
/** NULL: no message of that type (or no memory). Freed by protobuf_c_message_free_unpacked. */
ProtobufCMessage *rpc_decode(grpc_byte_buffer *bytes, const ProtobufCMessageDescriptor *type);
