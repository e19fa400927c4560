/* SPDX-License-Identifier: MPL-2.0 */
/* Keeps a pump alive while there are tasks. logpump.c calls it.
 *
 * Three kinds of threads take turns. Any thread asks for a watch (logs_watch_start). The pool
 * reaches a pump, which can block, and sends it the tasks (`met`). The loop reads the connection.
 * The flag `watched` says that one of them is at work, so a second watch is never started. */
#include "src/logs/logs_watch.h"

#include "paddock/clock.h"
#include "paddock/docker.h"
#include "paddock/log.h"

#include "src/logs/logs_socket.h"
#include "src/pump/pump_proto.h"

#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define REACH_US (10 * US_PER_SEC)
#define AGAIN_US (5 * US_PER_SEC) /* after all attempts to start a pump have failed */

struct logs_watch {
    struct logs_watch_options o;
    pthread_mutex_t lock;
    bool watched; /* a watch exists, or is being set up */
    int next_fd;  /* descriptor on its way from the pool to the loop */
    /* Used by the loop's thread only. */
    int fd;
    struct loop_watch *watch;
    struct loop_timer *again; /* for another attempt, and for reaping a pump that has ended */
    char line[PUMP_LINE_MAX];
    size_t len;
};

static void again_posted(void *arg);

/* Gives up this watch; the next attempt comes after AGAIN_US. Any thread. */
static void give_up_watch(struct logs_watch *w) {
    pthread_mutex_lock(&w->lock);
    w->watched = false;
    pthread_mutex_unlock(&w->lock);
    if (loop_post(w->o.loop, again_posted, w) < 0)
        log_warn("logpump", NULL, "out of memory: it is tried again with the next task");
}

/* ---- the loop's thread ---- */

static void on_report(struct logs_watch *w, const char *line, size_t len) {
    AUTO_JSON json_t *report = json_loadb(line, len, 0, NULL);
    const char *task = json_string_value(json_object_get(report, "task"));
    const char *text = json_string_value(json_object_get(report, "text"));
    if (task && text)
        w->o.report(w->o.ctx, task, text);
}

static void on_gone(struct logs_watch *w) {
    w->watch = loop_watch_del(w->watch);
    w->fd = fd_close(w->fd);
    w->len = 0;
    pthread_mutex_lock(&w->lock);
    w->watched = false;
    pthread_mutex_unlock(&w->lock);
    if (w->o.needed(w->o.ctx))
        logs_watch_start(w);
    again_posted(w); /* the connection breaks a moment before the process can be reaped */
}

static void on_readable(void *arg, uint32_t events) {
    struct logs_watch *w = arg;
    (void)events;
    ssize_t n = recv(w->fd, w->line + w->len, sizeof(w->line) - w->len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        on_gone(w);
        return;
    }
    w->len += (size_t)n;
    char *at = w->line, *end = w->line + w->len, *newline;
    while ((newline = memchr(at, '\n', (size_t)(end - at)))) {
        on_report(w, at, (size_t)(newline - at));
        at = newline + 1;
    }
    w->len = at == w->line && w->len == sizeof(w->line) ? 0 : (size_t)(end - at);
    memmove(w->line, at, w->len);
}

static void watch_posted(void *arg) {
    struct logs_watch *w = arg;
    pthread_mutex_lock(&w->lock);
    w->fd = w->next_fd;
    w->next_fd = -EBADF;
    pthread_mutex_unlock(&w->lock);
    if (loop_watch_add(w->o.loop, w->fd, EPOLLIN, on_readable, w, &w->watch) < 0) {
        log_warn("logpump", NULL, "the log pump is not watched, retrying");
        w->fd = fd_close(w->fd);
        pthread_mutex_lock(&w->lock);
        w->watched = false;
        pthread_mutex_unlock(&w->lock);
    }
    again_posted(w); /* the previous pump may have been killed and not be reaped yet */
}

static void on_again(void *arg) {
    struct logs_watch *w = arg;
    logs_process_reap(w->o.process);
    if (w->o.needed(w->o.ctx))
        logs_watch_start(w);
}

static void again_posted(void *arg) {
    struct logs_watch *w = arg;
    if (w->again || loop_timer_new(w->o.loop, on_again, w, &w->again) == 0)
        loop_timer_at(w->again, clock_now_us() + AGAIN_US);
}

/* ---- the pool's threads ---- */

static int hand_over(struct logs_watch *w, int fd) {
    pthread_mutex_lock(&w->lock);
    w->next_fd = fd; /* next_fd is free, because `watched` allows one watch only */
    pthread_mutex_unlock(&w->lock);
    int r = loop_post(w->o.loop, watch_posted, w);
    pthread_mutex_lock(&w->lock);
    if (r < 0)
        w->next_fd = -EBADF;
    pthread_mutex_unlock(&w->lock);
    return r;
}

static void start_work(void *arg) {
    struct logs_watch *w = arg;
    struct err err = {0};
    struct call call = call_within(NULL, REACH_US);
    AUTO_JSON json_t *rq = json_pack("{s:s}", "op", "watch");
    AUTO_FD int fd = logs_process_reach(w->o.process, &call, &err);
    if (err.set)
        log_error("logpump", NULL, "%s: logs stop, retrying", err.text);
    pid_t pid = fd < 0 ? 0 : logs_socket_pid(fd);
    if (fd < 0 || !rq || logs_socket_send(fd, rq, logs_process_log_fd(w->o.process)) < 0 ||
        w->o.met(w->o.ctx, pid) < 0 || hand_over(w, fd) < 0) {
        give_up_watch(w);
        return;
    }
    fd = -EBADF;
}

void logs_watch_start(struct logs_watch *w) {
    pthread_mutex_lock(&w->lock);
    bool start = !w->watched;
    w->watched = true;
    pthread_mutex_unlock(&w->lock);
    if (start && pool_run(w->o.pool, start_work, w) < 0)
        give_up_watch(w);
}

/* ---- creation and release ---- */

int logs_watch_new(const struct logs_watch_options *o, struct logs_watch **ret) {
    struct logs_watch *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->o = *o;
    w->fd = w->next_fd = -EBADF;
    pthread_mutex_init(&w->lock, NULL);
    *ret = w;
    return 0;
}

void logs_watch_free(struct logs_watch *w) {
    if (!w)
        return;
    loop_watch_del(w->watch);
    loop_timer_del(w->again);
    fd_close(w->fd);
    fd_close(w->next_fd);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
