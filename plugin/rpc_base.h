/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The common part of unary calls and streams; for rpc_call.c, rpc_stream.c and rpc_accept.c.
 *
 * A call consists of batches: each start_batch returns exactly one event, with the tag. RECV_CLOSE
 * is started immediately and returns when the call is over for whatever reason. When no batch is
 * outstanding after that, the grpc_call is released. The memory lives as long as a reference to it
 * exists. Batches are started under the call's lock, and events take that lock, so everything that
 * a batch points to stays valid. */
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
    /* Called on the rpc thread, without the lock. */
    void (*closed)(struct rpc_base *b);
    void (*received)(struct rpc_base *b);
    void (*sent)(struct rpc_base *b, bool ok);
    void (*woken)(struct rpc_base *b);
    /* Runs the handler, on the thread that its lane asks for. Owns a reference. */
    void (*run)(struct rpc_base *b);
    /* The last reference is gone: frees the memory. */
    void (*destroy)(struct rpc_base *b);
};

struct rpc_base {
    const struct rpc_base_ops *ops;
    struct rpc_life *life;
    struct rpc_work *work;
    struct rpc_job job;              /* the handler, while it waits for a worker */
    const struct rpc_method *method; /* NULL: unknown */
    void *app;
    atomic_uint refs;
    pthread_mutex_t lock;

    /* ---- under the lock ---- */
    grpc_call *call; /* NULL once released */
    unsigned batches;
    bool closed;     /* over: nothing can be sent any more */
    bool stop_after; /* the server stops when this call is over */
    int cancelled;   /* set by gRPC: the client has disconnected */
    struct rpc_tag close_tag, recv_tag, send_tag, wake_tag;
    grpc_byte_buffer *received; /* the message that recv_tag delivered; NULL = end */
    grpc_byte_buffer *sending;
    bool metadata_sent;
    grpc_slice status_text, status_details; /* gRPC requires them until the end */
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

/** Takes ownership of @a->call. One reference belongs to the grpc_call; the
 * caller gets another one. */
void rpc_base_init(struct rpc_base *b, const struct rpc_base_ops *ops, const struct rpc_arrival *a);
/** Any thread. The last rpc_base_unref() calls ops->destroy. */
struct rpc_base *rpc_base_ref(struct rpc_base *b);
void rpc_base_unref(struct rpc_base *b);
/** Returns the deadline and the cancel; see rpc_call_context(). Owner: @b. */
const struct call *rpc_base_context(struct rpc_base *b);
/** Runs ops->run, which gets a reference of its own, by rpc_work_run(), and returns its result. */
int rpc_base_run(struct rpc_base *b) MUST_CHECK;

/* These three: under the lock. They do nothing when the call is over. */
void rpc_base_receive(struct rpc_base *b);
/** Makes the rpc thread call `woken`. At most one wake may be outstanding. */
void rpc_base_wake(struct rpc_base *b);
/** Sends @msg (takes ownership, NULL = none) and, when @status is given, the end of the call, in
 * one batch. At most one may be outstanding. */
void rpc_base_send(struct rpc_base *b, grpc_byte_buffer *msg, const struct rpc_status *status);

/** Encodes @msg; strings are made valid UTF-8 (rpc_utf8.h). Returns NULL when out of memory. */
grpc_byte_buffer *rpc_base_encode(const ProtobufCMessage *msg);
/** Returns NULL when @bytes is not a message of that type, or when out of memory. Owner: the
 * caller, who frees it by protobuf_c_message_free_unpacked(). */
ProtobufCMessage *rpc_base_decode(grpc_byte_buffer *bytes, const ProtobufCMessageDescriptor *type);
