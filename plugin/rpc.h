#pragma once
/* The gRPC server as its handlers see it: a table of methods, calls and streams. No gRPC type
 * passes here.
 *
 * Threads. One rpc thread (the one in rpc_server_run) moves bytes and never blocks. Handlers that
 * need no Docker run on it as well (RPC_INLINE), so no pending call can delay them. All other
 * handlers run on worker threads as sequential C and may block within their call's deadline and
 * cancel. A call that waits long (WaitTask, StopTask, streams) holds no thread: the handler returns
 * and another thread finishes the call later.
 *
 * Workers: at most RPC_WORKERS, made on demand, idle ones end after 5 s. Methods that may hang for
 * long have a lane: they hold at most so many workers of the pool and queue among themselves
 * beyond. So a StopTask waits behind neither hanging pulls nor hanging script checks, nor these
 * behind those.
 *
 * Callbacks (on_cancel, on_message, on_room, on_close): never before the handler has returned,
 * never two at a time for one call, from the rpc thread (a worker when they came due while the
 * handler ran), so they must not block. They may call everything of this header. */
#include "paddock/call.h"
#include "paddock/err.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

/* 24 workers are in no lane's reach. */
#define RPC_WORKERS 128
#define RPC_WORKERS_IMAGES 40
#define RPC_WORKERS_EXECS 64
/* A stream's queue of messages that the client has not taken yet: whichever comes first. One
 * message is always taken, of any size. */
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
    RPC_QUICK,  /* Docker answers it immediately */
    RPC_INLINE, /* waits for no Docker: runs on the rpc thread and must not block */
    RPC_IMAGES, /* may pull */
    RPC_EXECS,  /* runs somebody's command to its end */
    RPC_LANES,
};

/* A row. Exactly one handler is set, by kind; a stream's may be NULL: it is then held open without
 * a word until the client goes away (the host opens GRPCStdio and GRPCBroker like that). */
struct rpc_method {
    const char *path; /* "/package.Service/Method" */
    enum rpc_kind kind;
    enum rpc_lane lane;
    const ProtobufCMessageDescriptor *request;
    void (*unary)(struct rpc_call *c, const ProtobufCMessage *req);
    /* Bidi: @req is the client's first message. */
    void (*stream)(struct rpc_stream *s, const ProtobufCMessage *req);
    /* Called before the handler; <0 fails the call with @err. NULL = nothing to do. */
    int (*ready)(void *app, struct err *err);
};

/* A table of rows with what its handlers share: rpc_call_app(). */
struct rpc_service {
    const struct rpc_method *methods;
    size_t n_methods;
    void *app;
};

/* ---- unary ----
 * A handler finishes its call exactly once, by rpc_reply or rpc_fail; a second finish is ignored
 * while the call lives. @c is valid until the handler has returned and the call is finished. */

void *rpc_call_app(const struct rpc_call *c);

/** Deadline (grpc-timeout; 0 when there is none) and cancel, which fires when the client has gone
 * or the server stops. Only from the handler; makes the eventfd on first use (without a free fd: no
 * cancel). */
const struct call *rpc_call_context(struct rpc_call *c);

/** Any thread. @msg stays the caller's; what is not UTF-8 in its strings is sent as '?'. Without
 * memory to encode it the call fails (ResourceExhausted). */
void rpc_reply(struct rpc_call *c, const ProtobufCMessage *msg);
/** Any thread. @err as err.h says; NULL or not set = "unknown error". Never Unavailable nor
 * Cancelled. */
void rpc_fail(struct rpc_call *c, const struct err *err);

/** From the handler only: the call stays open after it returns, until somebody calls rpc_reply or
 * rpc_fail, which may have happened already.
 *  @on_cancel: at most once, when the client has gone or the server stops, and only while the call
 * is not finished. The callback must finish the call; no other thread will. NULL allowed.
 *  @release: exactly once, the last thing ever done with @ctx, after the call is finished. NULL
 * allowed. May come from within rpc_reply/rpc_fail: touch nothing of @ctx after those. */
void rpc_call_defer(struct rpc_call *c, void (*on_cancel)(struct rpc_call *c, void *ctx),
                    void (*release)(void *ctx), void *ctx);

/* ---- streams ----
 * @s is valid until on_close has returned (without one: until the handler has). Whoever may send
 * later than that holds a reference. */

void *rpc_stream_app(const struct rpc_stream *s);
const struct call *rpc_stream_context(struct rpc_stream *s);

struct rpc_stream *rpc_stream_ref(struct rpc_stream *s);
/** NULL allowed. Returns NULL. Any thread. */
struct rpc_stream *rpc_stream_unref(struct rpc_stream *s);

/** Queues @msg (encoded at once, stays the caller's). Any thread, never blocks.
 *  Returns 0; -EAGAIN the queue is full, on_room will tell; -ECANCELED the client has gone or the
 * stream is finished; -ENOMEM. */
int rpc_stream_send(struct rpc_stream *s, const ProtobufCMessage *msg) MUST_CHECK;
/** Ends the stream behind what is queued: OK for NULL. Any thread; the first one counts. No
 * callback but on_close comes after it. */
void rpc_stream_finish(struct rpc_stream *s, const struct err *err);

/* Set from the handler. All NULL allowed. */
struct rpc_stream_ops {
    /* Exactly once, the last callback: the client has gone, or the finish was sent. Also when
     * finish was called from the handler. */
    void (*on_close)(struct rpc_stream *s, void *ctx);
    /* Bidi: a further message; NULL = the client sends no more. 0; -EAGAIN: not now, the same one
     * is offered again after rpc_stream_resume. */
    int (*on_message)(struct rpc_stream *s, void *ctx, const ProtobufCMessage *msg);
    /* A send was refused with -EAGAIN and half of the queue is free again. */
    void (*on_room)(struct rpc_stream *s, void *ctx);
};
/** @ops must be static. */
void rpc_stream_set(struct rpc_stream *s, const struct rpc_stream_ops *ops, void *ctx);
/** Any thread; calls nobody back itself. */
void rpc_stream_resume(struct rpc_stream *s);

/* ---- server ---- */

/** Listens on @socket_path (a unix socket, < 108 bytes) and accepts from then on; calls are taken
 * by rpc_server_run. @services ends with methods == NULL and is borrowed, like its tables. Returns
 * 0; -EINVAL path too long; -EADDRINUSE gRPC could not bind it; -ENOMEM. */
int rpc_server_new(const char *socket_path, const struct rpc_service *services,
                   struct rpc_server **ret, struct err *err) MUST_CHECK;

/** The rpc thread: serves until rpc_server_stop, then ends every call: connections break, for
 * WaitTask must not answer with a made-up result. Returns 0; -ETIMEDOUT when handlers or deferred
 * calls were not finished 1.5 s after the stop: the server cannot be freed then, leave the process
 * by _exit. */
int rpc_server_run(struct rpc_server *s) MUST_CHECK;

/** Any thread, any number of times, also before run; not in signal handlers. */
void rpc_server_stop(struct rpc_server *s);
/** From a unary handler: stops the server as soon as this call's answer has been sent. */
void rpc_call_stop_after(struct rpc_call *c);

/** After rpc_server_run returned 0, or instead of it. NULL allowed. */
void rpc_server_free(struct rpc_server *s);
