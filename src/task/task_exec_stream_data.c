/* SPDX-License-Identifier: MPL-2.0 */
/* Input and output of a streaming exec, on the streams thread.
 *
 * Output is forwarded as it arrives. When the client takes no more, nothing is read until it
 * resumes. Input is written as far as the connection takes it; other threads have put it into the
 * buffer `in`. */
#include "src/task/task_exec_stream_priv.h"

#include "paddock/log.h"

#include <sys/epoll.h>

#define EXEC_READ_BYTES 32768

static void on_stream(void *arg, uint32_t events);

static int deliver_output(void *ctx, int channel, const char *data, size_t len) {
    struct driver_exec *x = ctx;
    pthread_mutex_lock(&x->callbacks);
    int r = x->closed ? -ECANCELED : x->ops.output(x->ctx, channel, data, len);
    pthread_mutex_unlock(&x->callbacks);
    if (r == -EAGAIN) {
        x->paused = true;
        r = 0;
    }
    return r;
}

static void report_room(struct driver_exec *x) {
    pthread_mutex_lock(&x->callbacks);
    if (!x->closed)
        x->ops.room(x->ctx);
    pthread_mutex_unlock(&x->callbacks);
}

/* Without an event to wait for, the watch is removed: epoll reports a hang-up whatever was asked
 * for, and would do so over and over. */
static void set_events(struct driver_exec *x, uint32_t events) {
    int r = 0;
    if (events == 0 || x->eof || x->finished)
        x->watch = loop_watch_del(x->watch);
    else if (!x->watch)
        r = loop_watch_add(x->d->loop, docker_stream_fd(x->stream), events, on_stream, x,
                           &x->watch);
    else if (events != x->events)
        r = loop_watch_set(x->watch, events);
    x->events = events;
    if (r < 0)
        task_exec_stream_end_fail(x, r);
}

/* Returns true when more input waits than the stream can take now. */
static bool write_stdin(struct driver_exec *x) {
    pthread_mutex_lock(&x->lock);
    ssize_t n = 0;
    while (x->in.len > 0 && (n = docker_stream_write(x->stream, x->in.data, x->in.len)) > 0)
        buf_consume(&x->in, (size_t)n);
    bool more = x->in.len > 0 && n == -EAGAIN;
    bool close_now = x->in_close && !more;
    if (n < 0 && n != -EAGAIN)
        buf_consume(&x->in, x->in.len); /* the command reads no more */
    bool room = x->in_refused && x->in.len <= EXEC_STDIN_MAX / 2;
    if (room)
        x->in_refused = false;
    pthread_mutex_unlock(&x->lock);
    if (room)
        report_room(x);
    if (close_now) {
        x->in_closed = true;
        if (docker_stream_close_write(x->stream) < 0)
            log_debug("exec", NULL, "stdin was closed by the other side");
    }
    return more;
}

/* Writes the waiting input, and sets which events to wait for next. */
static void flush_stdin(struct driver_exec *x) {
    bool more = !x->in_closed && write_stdin(x);
    set_events(x, (x->paused ? 0 : EPOLLIN) | (more ? EPOLLOUT : 0));
}

/* Returns true when output, its end or an error had arrived. */
static bool read_output(struct driver_exec *x) {
    char data[EXEC_READ_BYTES];
    bool any = false;
    while (!x->paused && !x->finished && !x->eof) {
        ssize_t n = docker_stream_read(x->stream, data, sizeof(data));
        if (n == -EAGAIN)
            break;
        any = true;
        if (n == 0 || n == -ECONNRESET) {
            task_exec_stream_end_at_eof(x);
            break;
        }
        int r = (int)n;
        if (n > 0)
            r = x->tty ? deliver_output(x, 1, data, (size_t)n)
                       : docker_demux_feed(&x->demux, data, (size_t)n, deliver_output, x);
        if (r < 0) {
            task_exec_stream_end_fail(x, r);
            break;
        }
        task_exec_stream_end_await_quiet(x);
    }
    return any;
}

static void on_quiet(void *arg) {
    struct driver_exec *x = arg;
    if (x->paused && !x->eof)
        return; /* the reader is slow, not the terminal: the resume checks again */
    if (!atomic_load(&x->died))
        task_exec_stream_end_ask_code(x);
    else if (x->eof || !read_output(x)) /* this thread may be late, and output may have arrived */
        task_exec_stream_end_finish(x, NULL);
}

static void on_stream(void *arg, uint32_t events) {
    struct driver_exec *x = arg;
    if (events & EPOLLOUT)
        flush_stdin(x);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_output(x);
    if (!x->finished && !x->eof)
        flush_stdin(x);
}

void task_exec_stream_data_attach(void *arg) {
    struct driver_exec *x = arg;
    int r = 0;
    if (!x->finished) {
        r = loop_timer_new(x->d->loop, on_quiet, x, &x->quiet);
        if (r < 0)
            task_exec_stream_end_fail(x, r);
        else
            on_stream(x, EPOLLIN); /* data that came with the head of the reply is in the stream */
        if (!x->eof)
            task_exec_stream_end_await_quiet(x); /* the command may have ended before this point */
        if (r == 0 && x->ask_when_attached && x->tty && !x->finished && !atomic_load(&x->died))
            task_exec_stream_end_ask_code(x);
    }
    task_exec_stream_ref_drop(x);
}

void task_exec_stream_data_flush(void *arg) {
    struct driver_exec *x = arg;
    if (!x->finished && !x->eof)
        flush_stdin(x);
    task_exec_stream_ref_drop(x);
}

void task_exec_stream_data_resume(void *arg) {
    struct driver_exec *x = arg;
    if (x->paused && !x->finished) {
        x->paused = false;
        task_exec_stream_end_await_quiet(x);
        on_stream(x, EPOLLIN);
    }
    task_exec_stream_ref_drop(x);
}
