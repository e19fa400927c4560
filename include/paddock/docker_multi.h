#pragma once
/* Streaming GETs of the Docker API, and POSTs whose answer takes long, on one event loop: no thread
 * for each. The event stream, the log pump and StopTask are built on it. All functions are called
 * from the loop's thread, or before it runs and after it has ended; callbacks run on the loop's
 * thread and must not block.
 *
 * Numbers: a stream costs one connection and about 25 KiB while it is open. It has no deadline: how
 * long silence is allowed is its owner's to say (a timer and docker_get_cancel). */
#include "paddock/docker.h"
#include "paddock/loop.h"

struct docker_multi;
struct docker_get;

/** @docker and @loop are borrowed. Returns 0; -ENOMEM or another -errno. */
int docker_multi_new(struct docker *docker, struct loop *loop,
                     struct docker_multi **ret) MUST_CHECK;
/** Ends every stream that is open, without a callback. Not from a callback. NULL allowed. */
void docker_multi_free(struct docker_multi *m);

/** A socket that is busy is read at most once in @us (microseconds; 0 = as it comes, the default):
 * far fewer system calls for streams of many small pieces, which come up to @us later. */
void docker_multi_gather(struct docker_multi *m, uint64_t us);

/* What on_data returns instead of taking the piece: it is offered again after docker_get_resume. */
#define DOCKER_GET_PAUSE 1

struct docker_get_ops {
    /* The body ends with its connection (HTTP/1.0): dockerd and libcurl do not frame each line then
     * (of 200 MB in lines of 80 bytes that is 2 % of dockerd's work and 15 % of the pump's). A
     * stream that was cut looks like one that has ended: for an owner that asks again in both
     * cases. */
    bool unframed;
    /* A 2xx answer has begun. May be NULL. */
    void (*on_open)(void *ctx, int status);
    /* A piece of the 2xx body (at most 16 KiB). 0 taken; DOCKER_GET_PAUSE not taken; <0 ends the
     * stream with it. */
    int (*on_data)(void *ctx, const char *data, size_t len);
    /* All that had come was given to on_data: what it gathered is best passed on now, in one go.
     * Always called after the last of it and before on_done. May be NULL. */
    void (*on_pause)(void *ctx);
    /* The stream has ended and is no more: @r is 0 for an orderly end, else -errno as in docker.h,
     * with
     * @err; @status is 0 when no answer came. Not called after docker_get_cancel. */
    void (*on_done)(void *ctx, int r, int status, const struct err *err);
};

/** Opens GET @path (below /v1.xx, as in docker_request). Nothing is called back before this
 * returns; failures of the connection come as on_done. @ops and @ctx outlive the stream. May be
 * called from any callback. Returns 0; -ENOMEM. */
int docker_multi_get(struct docker_multi *m, const char *path, const struct docker_get_ops *ops,
                     void *ctx, struct docker_get **ret) MUST_CHECK;
/** The same for POST @path without a body. A request that Docker answers late costs no thread.
 * on_data of @ops may be NULL: the body of the answer is ignored. */
int docker_multi_post(struct docker_multi *m, const char *path, const struct docker_get_ops *ops,
                      void *ctx, struct docker_get **ret) MUST_CHECK;
/** POST /containers/@id/stop: Docker sends the container's stop signal, and SIGKILL @timeout_s
 * later. It goes on with that when this process has ended. As docker_multi_post. */
int docker_multi_stop(struct docker_multi *m, const char *id, unsigned timeout_s,
                      const struct docker_get_ops *ops, void *ctx,
                      struct docker_get **ret) MUST_CHECK;
/** POST /containers/@id/kill with @signal. As docker_multi_post. */
int docker_multi_kill(struct docker_multi *m, const char *id, const char *signal,
                      const struct docker_get_ops *ops, void *ctx,
                      struct docker_get **ret) MUST_CHECK;
/** Ends the stream without another callback. NULL allowed; also from its own callbacks. */
void docker_get_cancel(struct docker_get *g);
/** Goes on after DOCKER_GET_PAUSE; the piece is offered from the loop, not from in here. */
void docker_get_resume(struct docker_get *g);
