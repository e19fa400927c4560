/* SPDX-License-Identifier: MPL-2.0 */
/* The end of a streaming exec.
 *
 * - Without a TTY it ends when the output has ended and the exit code is known.
 * - With a TTY it ends when the command itself has ended (Docker's exec_die), even if a child in
 *   the background still has the terminal open. Docker sends exec_die after it has passed the
 *   output on, so a short time without output is enough to have all of it. The time in which a slow
 *   reader takes nothing does not count.
 *
 * The exit code comes with the event exec_die. Docker is asked for it as well, because the event
 * stream may be interrupted. */
#include "src/task/task_exec_stream_priv.h"

#include "src/task/exec.h"
#include "paddock/log.h"

#include <string.h>

/* TTY: time without output after the command's end. dockerd can need more than 100 ms for the next
 * piece of output on a busy machine. */
#define EXEC_QUIET_US (500 * US_PER_MS)
/* The longest pause between two requests for the exit code. Pauses are doubled up to it. */
#define EXEC_ASK_MAX_US (5 * US_PER_SEC)

static void detach_stream(struct driver_exec *x) {
    x->watch = loop_watch_del(x->watch);
    x->quiet = loop_timer_del(x->quiet);
}

void task_exec_stream_end_finish(struct driver_exec *x, const struct err *err) {
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

void task_exec_stream_end_fail(struct driver_exec *x, int r) {
    struct err err = {0};
    err_set(&err, ERR_PLAIN, -r, "exec stream: %s", strerror(-r));
    task_exec_stream_end_finish(x, &err);
}

void task_exec_stream_end_await_quiet(struct driver_exec *x) {
    if (x->tty && x->quiet && atomic_load(&x->died))
        loop_timer_at(x->quiet, clock_now_us() + EXEC_QUIET_US);
}

void task_exec_stream_end_died(void *arg) {
    struct driver_exec *x = arg;
    if (x->eof || x->finished)
        task_exec_stream_end_finish(x, NULL);
    else
        task_exec_stream_end_await_quiet(x);
    task_exec_stream_ref_drop(x);
}

void task_exec_stream_end_set_code(struct driver_exec *x, int code) {
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
            task_exec_stream_end_finish(x, NULL);
        else
            task_exec_stream_end_await_quiet(x); /* only with a TTY */
    } else if (!x->finished) {
        loop_timer_at(x->quiet, clock_now_us() + x->ask_pause_us);
        x->ask_pause_us *= 2;
        if (x->ask_pause_us > EXEC_ASK_MAX_US)
            x->ask_pause_us = EXEC_ASK_MAX_US;
    }
    task_exec_stream_ref_drop(x);
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
        task_exec_stream_end_set_code(x, code);
    task_exec_stream_ref_post(x, asked_posted);
    task_exec_stream_ref_drop(x);
}

void task_exec_stream_end_ask_code(struct driver_exec *x) {
    if (x->asking)
        return;
    x->asking = true;
    atomic_fetch_add(&x->refs, 1);
    if (pool_run(x->d->pool, ask_code_work, x) < 0) {
        task_exec_stream_ref_drop(x);
        struct err err = {0};
        err_oom(&err);
        task_exec_stream_end_finish(x, &err);
    }
}

void task_exec_stream_end_at_eof(struct driver_exec *x) {
    x->eof = true;
    x->watch = loop_watch_del(x->watch);
    if (atomic_load(&x->died))
        task_exec_stream_end_finish(x, NULL);
    else
        task_exec_stream_end_ask_code(x);
}

void task_exec_stream_end_ask_soon(void *arg) {
    struct driver_exec *x = arg;
    x->ask_when_attached = !x->quiet;
    if (x->quiet && (x->tty || x->eof) && !x->finished && !atomic_load(&x->died)) {
        x->ask_pause_us = EXEC_ASK_FIRST_US;
        task_exec_stream_end_ask_code(x);
    }
    task_exec_stream_ref_drop(x);
}

void task_exec_stream_end_close(void *arg) {
    struct driver_exec *x = arg;
    x->finished = true;
    detach_stream(x);
    if (!atomic_load(&x->died))
        exec_kill(x->d, x->container_id, x->id);
    task_exec_stream_ref_drop(x); /* the reference of this post */
}
