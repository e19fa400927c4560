/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Streaming GETs of the Docker API, and POSTs whose answer takes long, on one event loop instead of
 * one thread each. The event stream, the log pump and StopTask use it. All functions are called
 * from the loop's thread, or before it runs and after it has ended; callbacks run on the loop's
 * thread and must not block.
 *
 * Numbers: a stream costs one connection and about 25 KiB while it is open; less than 1 KiB when it
 * is unframed and Docker's endpoint is a Unix socket, because curl is needed only until the head of
 * the answer was read. It has no deadline. The owner decides how long a stream may be silent, with
 * a timer and docker_multi_get_cancel(). */
#include "paddock/docker.h"
#include "paddock/loop.h"

struct docker_multi;
struct docker_get;

/** @docker and @loop are borrowed. Returns 0; -ENOMEM or another -errno. */
int docker_multi_new(struct docker *docker, struct loop *loop,
                     struct docker_multi **ret) MUST_CHECK;
/** Ends every open stream, without a callback. Must not be called from a callback. NULL allowed. */
void docker_multi_free(struct docker_multi *m);

/** Reads a busy socket at most once per @us (microseconds; 0 = no limit, the default). This saves
 * many system calls for streams of small pieces. Their data arrives up to @us later. */
void docker_multi_gather(struct docker_multi *m, uint64_t us);

/* Returned by on_data to refuse a piece for now. The piece is offered again
 * after docker_multi_get_resume(). */
#define DOCKER_GET_PAUSE 1

struct docker_get_ops {
    /* The end of the connection is the end of the body (HTTP/1.0). dockerd and libcurl then need no
     * frame for each line; for 200 MB in lines of 80 bytes the frames are 2 % of dockerd's work and
     * 15 % of the pump's. A stream that was cut looks the same as one that has ended, so the owner
     * must ask again in both cases. */
    bool unframed;
    /* Called when a 2xx answer begins. May be NULL. */
    void (*on_open)(void *ctx, int status);
    /* Called with a piece of the 2xx body (at most 16 KiB). Returns 0 when it has accepted the
     * piece; DOCKER_GET_PAUSE when it has not; <0 to end the stream with this error. */
    int (*on_data)(void *ctx, const char *data, size_t len);
    /* Called when on_data has got all data that has arrived. This is the best time to pass on
     * collected data in one step. Always called after the last on_data and before on_done. May
     * be NULL. */
    void (*on_pause)(void *ctx);
    /* The stream has ended and is freed. @r is 0 for an orderly end, else an -errno of docker.h,
     * with @err. @status is 0 when no answer came. Not called after docker_multi_get_cancel(). */
    void (*on_done)(void *ctx, int r, int status, const struct err *err);
};

/** Opens GET @path (below /v1.xx, as in docker_request). No callback runs before this function
 * returns. Failures of the connection are reported by on_done. @ops and @ctx must outlive the
 * stream. May be called from any callback. Returns 0; -ENOMEM. */
int docker_multi_get(struct docker_multi *m, const char *path, const struct docker_get_ops *ops,
                     void *ctx, struct docker_get **ret) MUST_CHECK;
/** The same for POST @path without a body. A request that Docker answers late costs no thread.
 * on_data of @ops may be NULL: the body of the answer is ignored. */
int docker_multi_post(struct docker_multi *m, const char *path, const struct docker_get_ops *ops,
                      void *ctx, struct docker_get **ret) MUST_CHECK;
/** POST /containers/@id/stop: Docker sends the container's stop signal, and SIGKILL @timeout_s
 * later. Docker does so even when this process has ended. Otherwise like docker_multi_post(). */
int docker_container_stop_multi(struct docker_multi *m, const char *id, unsigned timeout_s,
                                const struct docker_get_ops *ops, void *ctx,
                                struct docker_get **ret) MUST_CHECK;
/** POST /containers/@id/kill with @signal. Like docker_multi_post(). */
int docker_container_kill_multi(struct docker_multi *m, const char *id, const char *signal,
                                const struct docker_get_ops *ops, void *ctx,
                                struct docker_get **ret) MUST_CHECK;
/** Ends the stream without another callback. NULL allowed; also from its own callbacks. */
void docker_multi_get_cancel(struct docker_get *g);
/** Continues after DOCKER_GET_PAUSE. The loop offers the piece again, not this function. */
void docker_multi_get_resume(struct docker_get *g);
