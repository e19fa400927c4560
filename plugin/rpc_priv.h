#pragma once
/* What unary calls and streams have in common, for the rpc_*.c files only.
 *
 * A call is made of batches: each start_batch gives exactly one event back, with the tag.
 * RECV_CLOSE is started at once and comes back when the call is over for whatever reason; when no
 * batch is outstanding after that, the grpc_call is released. The memory lives as long as somebody
 * holds a reference. Batches are started under the call's lock and events take it, so whatever a
 * batch points to is safe. */
#include "plugin/rpc.h"
#include "plugin/rpc_status.h"

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
    struct rpc_server *server;
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

    struct rpc_base *next_in_lane; /* under the lock of rpc_work.c */
};

/** @call is taken. One reference belongs to the grpc_call; the caller gets another one. */
void rpc_base_init(struct rpc_base *b, const struct rpc_base_ops *ops, struct rpc_server *server,
                   grpc_call *call, gpr_timespec deadline);
struct rpc_base *rpc_base_ref(struct rpc_base *b);
void rpc_base_unref(struct rpc_base *b);
const struct call *rpc_base_context(struct rpc_base *b);

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

/* ---- the kinds (rpc_call.c, rpc_stream.c); @call is taken ---- */
int rpc_call_accept(struct rpc_server *s, grpc_call *call, gpr_timespec deadline,
                    const struct rpc_method *m, void *app) MUST_CHECK;
int rpc_stream_accept(struct rpc_server *s, grpc_call *call, gpr_timespec deadline,
                      const struct rpc_method *m, void *app) MUST_CHECK;

/* ---- the server's side of it ---- */
/* From the rpc thread: a call came; gRPC has given back all of its events. */
void rpc_server_born(struct rpc_server *s);
void rpc_server_released(struct rpc_server *s);
/* Any thread: its memory is gone. */
void rpc_server_died(struct rpc_server *s);

/** Runs b->ops->run on a worker, or here for RPC_INLINE (the rule is in rpc.h); takes a reference
 * for it. Call it from the rpc thread, without the lock. Returns 0 or -errno. */
int rpc_work_run(struct rpc_base *b) MUST_CHECK;

struct rpc_work;
int rpc_work_new(struct rpc_work **ret) MUST_CHECK;
/** Waits for what runs. NULL allowed. */
void rpc_work_free(struct rpc_work *w);
struct rpc_work *rpc_server_work(struct rpc_server *s);
