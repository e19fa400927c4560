/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The parts of a streaming exec. Each calls only those below it:
 *
 *   task_exec_stream.c         the calls of driver.h, the list of execs; any thread
 *   task_exec_stream_resize.c  the size of the terminal; any thread
 *   task_exec_stream_data.c    input and output; the streams thread
 *   task_exec_stream_end.c     the exit code and the end; the streams thread
 *   task_exec_stream_ref.c     references and the way to the streams thread; any thread
 *
 * Locks: `lock` guards what other threads hand in, and is never held during a callback. `callbacks`
 * is held during the callbacks of the client, so that task_exec_stream_close() can promise that
 * none comes afterwards. */
#include "src/task/driver_priv.h"

#include "paddock/buf.h"
#include "paddock/clock.h"

#include <stdatomic.h>

/* Input that the process has not read. Beyond this limit no more is accepted until half of it is
 * read. One message is always accepted whole. */
#define EXEC_STDIN_MAX ((size_t)1 << 20)
/* The first pause between two requests for the exit code. */
#define EXEC_ASK_FIRST_US (2 * US_PER_MS)

struct driver_exec {
    struct driver *d;
    atomic_uint refs;
    char id[65], container_id[65];
    bool tty;
    struct driver_exec_ops ops;
    void *ctx;
    struct driver_exec *next; /* in exec_list, under its lock */

    pthread_mutex_t callbacks;
    bool closed; /* under `callbacks` */

    pthread_mutex_t lock;
    struct buf in;
    bool in_close, in_refused;
    unsigned height, width; /* the wanted size */
    bool resize_wanted, resizing;

    /* used by the streams thread */
    struct docker_stream *stream;
    struct loop_watch *watch;
    struct loop_timer *quiet; /* to the end of a TTY's output, or to the next request */
    struct docker_demux demux;
    uint32_t events;
    bool paused, eof, asking, finished, in_closed;
    bool ask_when_attached;
    uint64_t ask_pause_us; /* pause before the next request for the code */

    atomic_bool died; /* `code` is known */
    atomic_int code;
};

struct exec_list {
    struct driver *d;
    pthread_mutex_t lock;
    struct driver_exec *first;
};

/* ---- task_exec_stream_ref.c ---- */
/** Drops a reference, and with the last one releases @x (a struct driver_exec). */
void task_exec_stream_ref_drop(void *x);
/** Runs @cb on the streams thread with a reference of its own, which @cb drops. */
void task_exec_stream_ref_post(struct driver_exec *x, loop_cb cb);

/* ---- task_exec_stream_end.c ---- */
/** Reports the end to the client, with the exit code or with @err. Only the first call has
 * an effect. */
void task_exec_stream_end_finish(struct driver_exec *x, const struct err *err);
/** The connection failed with the error @r: the end. */
void task_exec_stream_end_fail(struct driver_exec *x, int r);
/** The output has ended: the end, or a request for the exit code. */
void task_exec_stream_end_at_eof(struct driver_exec *x);
/** Call it after each output and when the exit code becomes known. When a TTY's command has ended,
 * waits for a time without output, because more of it may arrive. Does not block. */
void task_exec_stream_end_await_quiet(struct driver_exec *x);
/** Sets the exit code, unless it is known. Any thread. */
void task_exec_stream_end_set_code(struct driver_exec *x, int code);
/** Asks Docker for the exit code, unless a request runs. Does not block. */
void task_exec_stream_end_ask_code(struct driver_exec *x);
/* For task_exec_stream_ref_post(): each drops a reference of @x, a struct driver_exec. */
/** The exit code is known. */
void task_exec_stream_end_died(void *x);
/** Asks for the code now instead of at the next time. Without a TTY nothing is asked before the end
 * of the output. */
void task_exec_stream_end_ask_soon(void *x);
/** The client is gone. Kills the command when it still runs. */
void task_exec_stream_end_close(void *x);

/* ---- task_exec_stream_data.c ----
 * For task_exec_stream_ref_post(): each drops a reference of @x, a struct driver_exec. */
/** Begins to read and to write. */
void task_exec_stream_data_attach(void *x);
/** Writes the input that other threads have handed in. */
void task_exec_stream_data_flush(void *x);
/** Reads on after the client has refused output. */
void task_exec_stream_data_resume(void *x);
