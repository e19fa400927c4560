/* SPDX-License-Identifier: MPL-2.0 */
/* ExecTaskStreaming. The streams thread reads the hijacked connection to Docker and forwards the
 * output as it arrives. Stdin and resizes come from other threads.
 *
 * When an exec ends:
 * - Without a TTY it ends when the output has ended and the exit code is known.
 * - With a TTY it ends when the command itself has ended (Docker's exec_die), even if a child in
 *   the background still has the terminal open. Docker sends exec_die after it has passed the
 *   output on, so a short time without output is enough to have all of it. The time in which a slow
 *   reader takes nothing does not count.
 *
 * Locks: `lock` guards what other threads hand in, and is never held during a callback. `callbacks`
 * is held during the callbacks of the client, so that task_exec_stream_close() can promise that
 * none comes afterwards. */
#include "src/task/driver_priv.h"

#include "src/task/exec.h"
#include "paddock/buf.h"
#include "paddock/clock.h"
#include "paddock/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

/* Input that the process has not read. Beyond this limit no more is accepted until half of it is
 * read. One message is always accepted whole. */
#define EXEC_STDIN_MAX ((size_t)1 << 20)
#define EXEC_STDIN_MESSAGE_MAX ((size_t)64 << 20)
/* TTY: time without output after the command's end. dockerd can need more than 100 ms for the next
 * piece of output on a busy machine. */
#define EXEC_QUIET_US (500 * US_PER_MS)
#define EXEC_READ_BYTES 32768
/* The pauses between two requests for the exit code. The pause is doubled up to the longest. */
#define EXEC_ASK_FIRST_US (2 * US_PER_MS)
#define EXEC_ASK_MAX_US (5 * US_PER_SEC)

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

int task_exec_stream_list_new(struct driver *d, struct exec_list **ret) {
    struct exec_list *x = calloc(1, sizeof(*x));
    if (!x)
        return -ENOMEM;
    x->d = d;
    pthread_mutex_init(&x->lock, NULL);
    *ret = x;
    return 0;
}

void task_exec_stream_list_free(struct exec_list *x) {
    if (x) {
        pthread_mutex_destroy(&x->lock);
        free(x);
    }
}

static void list_add(struct driver_exec *x) {
    struct exec_list *l = x->d->execs;
    pthread_mutex_lock(&l->lock);
    x->next = l->first;
    l->first = x;
    pthread_mutex_unlock(&l->lock);
}

static void list_remove(struct driver_exec *x) {
    struct exec_list *l = x->d->execs;
    pthread_mutex_lock(&l->lock);
    for (struct driver_exec **at = &l->first; *at; at = &(*at)->next) {
        if (*at == x) {
            *at = x->next;
            break;
        }
    }
    pthread_mutex_unlock(&l->lock);
}

static void exec_unref(void *arg) {
    struct driver_exec *x = arg;
    if (atomic_fetch_sub(&x->refs, 1) != 1)
        return;
    docker_stream_free(x->stream);
    buf_done(&x->in);
    pthread_mutex_destroy(&x->lock);
    pthread_mutex_destroy(&x->callbacks);
    free(x);
}

/* Runs @cb on the streams thread with a reference of its own, which @cb drops. */
static void post_to_loop(struct driver_exec *x, loop_cb cb) {
    atomic_fetch_add(&x->refs, 1);
    if (loop_post(x->d->loop, cb, x) < 0)
        exec_unref(x);
}

/* ---- callbacks of the client ---- */

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

static void detach_stream(struct driver_exec *x) {
    x->watch = loop_watch_del(x->watch);
    x->quiet = loop_timer_del(x->quiet);
}

static void exec_finish(struct driver_exec *x, const struct err *err) {
    if (x->finished)
        return;
    x->finished = true;
    detach_stream(x);
    struct task_exit exit = {.code = atomic_load(&x->code)};
    pthread_mutex_lock(&x->callbacks);
    if (!x->closed) {
        if (!err) {
            int r = x->ops.output(x->ctx, 1, NULL, 0);
            if (!x->tty && (r == 0 || r == -EAGAIN))
                r = x->ops.output(x->ctx, 2, NULL, 0);
            (void)r; /* no client is connected: `exited` ends the exec */
        }
        x->ops.exited(x->ctx, &exit, err);
    }
    pthread_mutex_unlock(&x->callbacks);
}

/* ---- the end ---- */

/* A TTY's command has ended, but its output may not have arrived yet. */
static void await_quiet(struct driver_exec *x) {
    if (x->tty && x->quiet && atomic_load(&x->died))
        loop_timer_at(x->quiet, clock_now_us() + EXEC_QUIET_US);
}

static void finish_posted(void *arg) {
    struct driver_exec *x = arg;
    if (x->eof || x->finished)
        exec_finish(x, NULL);
    else
        await_quiet(x);
    exec_unref(x);
}

static void set_code(struct driver_exec *x, int code) {
    if (!atomic_load(&x->died)) {
        atomic_store(&x->code, code);
        atomic_store(&x->died, true);
    }
}

/* The answer to a request for the code. When the command still runs without output, exec_die or the
 * next request will report its end. */
static void asked_posted(void *arg) {
    struct driver_exec *x = arg;
    x->asking = false;
    if (!x->finished && atomic_load(&x->died)) {
        if (x->eof)
            exec_finish(x, NULL);
        else
            await_quiet(x); /* only with a TTY */
    } else if (!x->finished) {
        loop_timer_at(x->quiet, clock_now_us() + x->ask_pause_us);
        x->ask_pause_us *= 2;
        if (x->ask_pause_us > EXEC_ASK_MAX_US)
            x->ask_pause_us = EXEC_ASK_MAX_US;
    }
    exec_unref(x);
}

/* Asks Docker for the exit code, because the event stream may be interrupted. When Docker does not
 * answer, it is asked again. */
static void ask_code_work(void *arg) {
    struct driver_exec *x = arg;
    struct call call = call_within(NULL, x->d->timeout_us);
    call.cancel = &x->d->ended;
    struct docker_exec_state state = {.running = true};
    int r =
        atomic_load(&x->died) ? 0 : docker_exec_inspect(x->d->docker, &call, x->id, &state, NULL);
    int code = exec_code(&state);
    if (r == -ENOENT) {
        log_warn("exec", LOG_KV("container_id", x->container_id),
                 "Docker knows the command no more: its exit code is not known, ignoring");
        code = 255;
    }
    if (r == -ENOENT || (r == 0 && !state.running))
        set_code(x, code);
    post_to_loop(x, asked_posted);
    exec_unref(x);
}

static void ask_code(struct driver_exec *x) {
    if (x->asking)
        return;
    x->asking = true;
    atomic_fetch_add(&x->refs, 1);
    if (pool_run(x->d->pool, ask_code_work, x) < 0) {
        exec_unref(x);
        struct err err = {0};
        err_oom(&err);
        exec_finish(x, &err);
    }
}

static void at_eof(struct driver_exec *x) {
    x->eof = true;
    x->watch = loop_watch_del(x->watch);
    if (atomic_load(&x->died))
        exec_finish(x, NULL);
    else
        ask_code(x);
}

/* ---- data ---- */

static void on_stream(void *arg, uint32_t events);

static void exec_fail(struct driver_exec *x, int r) {
    struct err err = {0};
    err_set(&err, ERR_PLAIN, -r, "exec stream: %s", strerror(-r));
    exec_finish(x, &err);
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
        exec_fail(x, r);
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
            at_eof(x);
            break;
        }
        int r = (int)n;
        if (n > 0)
            r = x->tty ? deliver_output(x, 1, data, (size_t)n)
                       : docker_demux_feed(&x->demux, data, (size_t)n, deliver_output, x);
        if (r < 0) {
            exec_fail(x, r);
            break;
        }
        await_quiet(x);
    }
    return any;
}

static void on_quiet(void *arg) {
    struct driver_exec *x = arg;
    if (x->paused && !x->eof)
        return; /* the reader is slow, not the terminal: the resume checks again */
    if (!atomic_load(&x->died))
        ask_code(x);
    else if (x->eof || !read_output(x)) /* this thread may be late, and output may have arrived */
        exec_finish(x, NULL);
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

static void attach_posted(void *arg) {
    struct driver_exec *x = arg;
    int r = 0;
    if (!x->finished) {
        r = loop_timer_new(x->d->loop, on_quiet, x, &x->quiet);
        if (r < 0)
            exec_fail(x, r);
        else
            on_stream(x, EPOLLIN); /* data that came with the head of the reply is in the stream */
        if (!x->eof)
            await_quiet(x); /* the command may have ended before this point */
        if (r == 0 && x->ask_when_attached && x->tty && !x->finished && !atomic_load(&x->died))
            ask_code(x);
    }
    exec_unref(x);
}

int task_exec_stream_open(struct driver *d, const struct call *call, const char *task_id,
                          const char *const *argv, bool tty, const struct driver_exec_ops *ops,
                          void *ctx, struct driver_exec **ret, struct err *err) {
    if (!argv[0])
        return err_set(err, ERR_INVALID, EINVAL, "command is required but was empty");
    AUTO_TASK struct task *t = store_get(d->store, task_id);
    if (!t)
        return client_not_found(err);
    struct driver_exec *x = calloc(1, sizeof(*x));
    if (!x)
        return err_oom(err);
    *x = (struct driver_exec){
        .d = d, .tty = tty, .ops = *ops, .ctx = ctx, .ask_pause_us = EXEC_ASK_FIRST_US};
    atomic_init(&x->refs, 1);
    pthread_mutex_init(&x->callbacks, NULL);
    pthread_mutex_init(&x->lock, NULL);
    buf_init(&x->in, EXEC_STDIN_MAX + EXEC_STDIN_MESSAGE_MAX);

    struct call within = call_within(call, d->timeout_us);
    struct docker_exec_options o = {.argv = argv, .tty = tty, .stdin_open = true};
    snprintf(x->container_id, sizeof(x->container_id), "%s", store_look(t).container_id);
    int r = docker_exec_create(d->docker, &within, x->container_id, &o, x->id, err);
    if (r == 0) {
        list_add(x); /* before the command runs: its exec_die may come immediately */
        r = docker_exec_start(d->docker, &within, x->id, tty, &x->stream, err);
        if (exec_may_start(r))
            exec_kill(d, x->container_id, x->id);
        if (r < 0)
            list_remove(x);
    }
    if (r < 0) {
        exec_unref(x);
        return err_wrap(err, r, "exec in task %s", task_id);
    }
    *ret = x;
    post_to_loop(x, attach_posted);
    return 0;
}

/* Asks for the code now instead of at the next time. Without a TTY nothing is asked before the end
 * of the output. */
static void ask_posted(void *arg) {
    struct driver_exec *x = arg;
    x->ask_when_attached = !x->quiet;
    if (x->quiet && (x->tty || x->eof) && !x->finished && !atomic_load(&x->died)) {
        x->ask_pause_us = EXEC_ASK_FIRST_US;
        ask_code(x);
    }
    exec_unref(x);
}

void task_exec_stream_ask(struct exec_list *l, const char *container_id) {
    pthread_mutex_lock(&l->lock);
    for (struct driver_exec *x = l->first; x; x = x->next)
        if (strcmp(x->container_id, container_id) == 0)
            post_to_loop(x, ask_posted);
    pthread_mutex_unlock(&l->lock);
}

void task_exec_stream_died(struct exec_list *l, const char *container_id, const char *exec_id,
                           int code) {
    pthread_mutex_lock(&l->lock);
    struct driver_exec *x = l->first;
    while (x && (strcmp(x->id, exec_id) != 0 || strcmp(x->container_id, container_id) != 0))
        x = x->next;
    if (x)
        atomic_fetch_add(&x->refs, 1);
    pthread_mutex_unlock(&l->lock);
    if (!x)
        return;
    set_code(x, code);
    if (x->tty || x->eof)
        finish_posted(x); /* drops the reference */
    else
        exec_unref(x);
}

/* ---- from other threads ---- */

static void flush_posted(void *arg) {
    struct driver_exec *x = arg;
    if (!x->finished && !x->eof)
        flush_stdin(x);
    exec_unref(x);
}

int task_exec_stream_stdin(struct driver_exec *x, const char *data, size_t len) {
    pthread_mutex_lock(&x->lock);
    int r = 0;
    if (x->in.len >= EXEC_STDIN_MAX)
        r = -ENOBUFS;
    else if (!x->in_close)
        r = buf_append(&x->in, data, len);
    x->in_refused = x->in_refused || r == -ENOBUFS;
    pthread_mutex_unlock(&x->lock);
    post_to_loop(x, flush_posted);
    return r;
}

void task_exec_stream_stdin_close(struct driver_exec *x) {
    pthread_mutex_lock(&x->lock);
    x->in_close = true;
    pthread_mutex_unlock(&x->lock);
    post_to_loop(x, flush_posted);
}

/* Sends one size at a time, and the newest one last, whatever the order in which the pool's
 * threads run. */
static void resize_work(void *arg) {
    struct driver_exec *x = arg;
    struct call call = call_within(NULL, x->d->timeout_us);
    call.cancel = &x->d->ended;
    pthread_mutex_lock(&x->lock);
    while (x->resize_wanted) {
        unsigned height = x->height, width = x->width;
        x->resize_wanted = false;
        pthread_mutex_unlock(&x->lock);
        if (docker_exec_resize(x->d->docker, &call, x->id, height, width, NULL) < 0)
            log_debug("exec", NULL, "resize refused, ignoring");
        pthread_mutex_lock(&x->lock);
    }
    x->resizing = false;
    pthread_mutex_unlock(&x->lock);
    exec_unref(x);
}

void task_exec_stream_resize(struct driver_exec *x, unsigned height, unsigned width) {
    pthread_mutex_lock(&x->lock);
    x->height = height;
    x->width = width;
    x->resize_wanted = true;
    bool start = !x->resizing;
    x->resizing = true;
    pthread_mutex_unlock(&x->lock);
    if (!start)
        return;
    atomic_fetch_add(&x->refs, 1);
    if (pool_run(x->d->pool, resize_work, x) < 0) { /* the terminal keeps its size */
        pthread_mutex_lock(&x->lock);
        x->resizing = false;
        pthread_mutex_unlock(&x->lock);
        exec_unref(x);
    }
}

static void resume_posted(void *arg) {
    struct driver_exec *x = arg;
    if (x->paused && !x->finished) {
        x->paused = false;
        await_quiet(x);
        on_stream(x, EPOLLIN);
    }
    exec_unref(x);
}

void task_exec_stream_resume(struct driver_exec *x) {
    post_to_loop(x, resume_posted);
}

static void close_posted(void *arg) {
    struct driver_exec *x = arg;
    x->finished = true;
    detach_stream(x);
    if (!atomic_load(&x->died))
        exec_kill(x->d, x->container_id, x->id);
    exec_unref(x); /* the reference of this post */
}

void task_exec_stream_close(struct driver_exec *x) {
    pthread_mutex_lock(&x->callbacks);
    x->closed = true;
    pthread_mutex_unlock(&x->callbacks);
    list_remove(x);
    post_to_loop(x, close_posted);
    exec_unref(x); /* the reference of task_exec_stream_open() */
}
