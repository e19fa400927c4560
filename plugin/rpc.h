/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The gRPC server as its handlers see it: a table of methods, calls and streams. This
 * header has no gRPC type.
 *
 * Threads. One rpc thread (the caller of rpc_server_run()) moves bytes and never blocks. Handlers
 * that need no Docker run on it as well (RPC_INLINE), so no pending call can delay them. All other
 * handlers run on worker threads as sequential C. They may block, within the deadline and cancel of
 * their call. A call that waits long (WaitTask, StopTask, streams) occupies no thread: the handler
 * returns, and another thread finishes the call later.
 *
 * Workers. There are at most RPC_WORKERS. They are started on demand, and idle ones end after 5 s.
 * Methods that may hang for long have a lane. A lane occupies at most its number of workers;
 * further calls queue in the lane. So a StopTask waits neither for hanging pulls nor for hanging
 * script checks, and these do not wait for each other.
 *
 * Callbacks (on_cancel, on_message, on_room, on_close). They are never called before the handler
 * has returned, and never two at a time for one call. They run on the rpc thread (or on a worker,
 * when they became due while the handler ran), so they must not block. They may call every
 * function of this header. */
#include "paddock/call.h"
#include "paddock/err.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

/* No lane can use these 24 workers: 128 - 40 - 64. */
#define RPC_WORKERS 128
#define RPC_WORKERS_IMAGES 40
#define RPC_WORKERS_EXECS 64
/* The limits of a stream's queue of messages that the client has not read yet; the first one that
 * is reached counts. One message is always accepted, of any size. */
#define RPC_STREAM_QUEUE_BYTES ((size_t)1 << 20)
#define RPC_STREAM_QUEUE_MESSAGES 256

struct rpc_call;
struct rpc_stream;
struct rpc_server;

enum rpc_kind {
    RPC_UNARY,
    RPC_STREAM, /* one request, any number of replies */
    RPC_BIDI,
};

enum rpc_lane {
    RPC_QUICK,  /* Docker answers immediately */
    RPC_INLINE, /* does not wait for Docker: runs on the rpc thread and must not block */
    RPC_IMAGES, /* may pull */
    RPC_EXECS,  /* runs a user's command to its end */
    RPC_LANES,
};

/* One method. Exactly one handler is set, by kind. A stream's handler may be NULL: the stream is
 * then held open without any message until the client disconnects (the host opens GRPCStdio and
 * GRPCBroker like that). */
struct rpc_method {
    const char *path; /* "/package.Service/Method" */
    enum rpc_kind kind;
    enum rpc_lane lane;
    const ProtobufCMessageDescriptor *request;
    void (*unary)(struct rpc_call *c, const ProtobufCMessage *req);
    /* Bidi: @req is the client's first message. */
    void (*stream)(struct rpc_stream *s, const ProtobufCMessage *req);
    /* Called before the handler. A result < 0 fails the call with @err. NULL = nothing to do. */
    int (*ready)(void *app, struct err *err);
};

/* A table of methods, and the object that their handlers share: rpc_call_app(). */
struct rpc_service {
    const struct rpc_method *methods;
    size_t n_methods;
    void *app;
};

/* ---- unary ----
 *
 * A handler finishes its call exactly once, with rpc_call_reply() or rpc_call_fail(). While the
 * call lives, a second finish is ignored. @c is valid until the handler has returned and the call
 * is finished. */

/** Returns the app of the call's service. Borrowed. Any thread. */
void *rpc_call_app(const struct rpc_call *c);

/** Returns the deadline (grpc-timeout; 0 when not set) and the cancel, which fires when the client
 * has disconnected or the server stops. Only from the handler. Makes the eventfd on first use; when
 * no fd is free, the call cannot be cancelled. */
const struct call *rpc_call_context(struct rpc_call *c);

/** Any thread. @msg still belongs to the caller. Bytes of its strings that are not UTF-8 are sent
 * as '?'. When out of memory for encoding, the call fails (ResourceExhausted). */
void rpc_call_reply(struct rpc_call *c, const ProtobufCMessage *msg);
/** Any thread. @err: see err.h; NULL or not set = "unknown error". The code is never
 * Unavailable or Cancelled. */
void rpc_call_fail(struct rpc_call *c, const struct err *err);

/** Only from the handler. The call stays open after the handler returns, until rpc_call_reply() or
 * rpc_call_fail() is called, which may have happened already.
 *  @on_cancel: called at most once, when the client has disconnected or the server stops, and
 *  only while the call is not finished. The callback must finish the call; no other thread
 *  will. NULL allowed.
 *  @release: called exactly once, after the call is finished, as the last use of @ctx.
 *  NULL allowed. It may be called from within rpc_call_reply() or rpc_call_fail(), so do not
 *  touch @ctx after those. */
void rpc_call_defer(struct rpc_call *c, void (*on_cancel)(struct rpc_call *c, void *ctx),
                    void (*release)(void *ctx), void *ctx);

/* ---- streams ----
 *
 * @s is valid until on_close has returned, or without on_close until the handler has returned. Code
 * that may send later must hold a reference. */

/** As rpc_call_app() and rpc_call_context(). */
void *rpc_stream_app(const struct rpc_stream *s);
const struct call *rpc_stream_context(struct rpc_stream *s);

/** Returns @s with one more reference; rpc_stream_unref() drops it. Any thread. */
struct rpc_stream *rpc_stream_ref(struct rpc_stream *s);
/** NULL allowed. Returns NULL. Any thread. */
struct rpc_stream *rpc_stream_unref(struct rpc_stream *s);

/** Queues @msg. It is encoded immediately and still belongs to the caller. Any
 * thread, never blocks.
 *  Returns 0; -EAGAIN when the queue is full (on_room is called when it has room again); -ECANCELED
 *  when the client has disconnected or the stream is finished; -ENOMEM. */
int rpc_stream_send(struct rpc_stream *s, const ProtobufCMessage *msg) MUST_CHECK;
/** Ends the stream after the queued messages; NULL ends it with OK. Any thread; the first call
 * counts. After it no callback is called except on_close. */
void rpc_stream_finish(struct rpc_stream *s, const struct err *err);

/* Callbacks of a stream. Set from the handler; each may be NULL. */
struct rpc_stream_ops {
    /* Exactly once, the last callback: the client has disconnected, or the finish was sent. Also
     * called when the handler itself finished the stream. */
    void (*on_close)(struct rpc_stream *s, void *ctx);
    /* Bidi: a further message; NULL = the client sends no more. Returns 0, or -EAGAIN when it
     * cannot be taken now: the same message is offered again after rpc_stream_resume(). */
    int (*on_message)(struct rpc_stream *s, void *ctx, const ProtobufCMessage *msg);
    /* Called after a send was refused with -EAGAIN, when half of the queue is free again. */
    void (*on_room)(struct rpc_stream *s, void *ctx);
};
/** @ops must be static. */
void rpc_stream_set(struct rpc_stream *s, const struct rpc_stream_ops *ops, void *ctx);
/** Any thread. Does not call a callback itself. */
void rpc_stream_resume(struct rpc_stream *s);

/* ---- server ---- */

/** Listens on @socket_path (a Unix socket, < 108 bytes) and accepts connections from then on;
 * rpc_server_run() handles the calls. @services ends with methods == NULL and is borrowed,
 * like its tables. Returns 0; -EINVAL when the path is too long; -EADDRINUSE when gRPC could
 * not bind it; -ENOMEM. */
int rpc_server_new(const char *socket_path, const struct rpc_service *services,
                   struct rpc_server **ret, struct err *err) MUST_CHECK;

/** The rpc thread. Serves until rpc_server_stop(), then ends every call by breaking the
 * connections, because WaitTask must not answer with an invented result. Returns 0, or -ETIMEDOUT
 * when handlers or deferred calls were not finished 1.5 s after the stop. The server cannot be
 * freed then; leave the process by _exit(). */
int rpc_server_run(struct rpc_server *s) MUST_CHECK;

/** Any thread, any number of times, also before rpc_server_run(). Not from a signal handler. */
void rpc_server_stop(struct rpc_server *s);
/** From a unary handler: stops the server after the answer of this call has been sent. */
void rpc_call_stop_after(struct rpc_call *c);

/** After rpc_server_run() has returned 0, or instead of it. NULL allowed. */
void rpc_server_free(struct rpc_server *s);
