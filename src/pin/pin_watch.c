/* Reports a change of a file immediately: one inotify instance for all tasks. The kernel reports no
 * change of an effective set; the tick finds that. A watch that could not be added (the limit of
 * watches is per user) is retried with a back-off; until then the task depends on the tick. */
#include "src/pin/pin_priv.h"

#include "paddock/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

static void mark_all(struct pin *p) {
    for (struct pin_parent *x = p->parents; x; x = x->next)
        x->dirty = true;
    for (struct pin_task *t = p->tasks; t; t = t->next)
        t->dirty = t->source_dirty = true;
}

static struct pin_task *find_container(struct pin_task *from, const struct pin_task *to,
                                       int watch) {
    while (from != to && from->watch != watch)
        from = from->next;
    return from == to ? NULL : from;
}

/* @hint: where to look first. Our own writes come back in the order of the tasks. */
static void mark_dirty(struct pin *p, int watch, struct pin_task **hint) {
    struct pin_task *t = find_container(*hint, NULL, watch);
    t = t ? t : find_container(p->tasks, *hint, watch);
    if (t) {
        t->dirty = true;
        *hint = t->next;
        return;
    }
    for (struct pin_parent *x = p->parents; x; x = x->next)
        if (x->watch == watch || x->reserve_watch == watch)
            x->dirty = true;
    for (t = p->tasks; t; t = t->next)
        if (t->source_watch == watch)
            t->source_dirty = true;
}

static void forget_watch(struct pin *p, int watch) {
    for (struct pin_parent *x = p->parents; x; x = x->next) {
        x->watch = x->watch == watch ? -1 : x->watch;
        x->reserve_watch = x->reserve_watch == watch ? -1 : x->reserve_watch;
    }
    for (struct pin_task *t = p->tasks; t; t = t->next) {
        t->watch = t->watch == watch ? -1 : t->watch;
        t->source_watch = t->source_watch == watch ? -1 : t->source_watch;
    }
}

static void on_inotify(void *ctx, uint32_t events) {
    struct pin *p = ctx;
    struct pin_task *hint = p->tasks;
    char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
    (void)events;
    for (;;) {
        ssize_t n = read(p->inotify_fd, buf, sizeof(buf));
        if (n <= 0)
            break; /* EAGAIN: all was read */
        pthread_mutex_lock(&p->lock);
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const struct inotify_event *)(buf + at);
            at += (ssize_t)(sizeof(*e) + e->len);
            p->counters.events++;
            if (e->mask & IN_Q_OVERFLOW)
                mark_all(p);
            else
                mark_dirty(p, e->wd, &hint);
            if (e->mask & IN_IGNORED)
                forget_watch(p, e->wd);
        }
        pthread_mutex_unlock(&p->lock);
    }
    pin_pass(p, false);
}

int pin_watch_start(struct pin *p) {
    p->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (p->inotify_fd < 0) {
        log_warn("pin", LOG_KV("errno", strerror(errno)),
                 "inotify is refused, changes are seen at the tick only, ignoring");
        p->counters.watch_errors++;
        p->inotify_fd = -EBADF;
        return 0;
    }
    return loop_watch_add(p->loop, p->inotify_fd, EPOLLIN, on_inotify, p, &p->inotify_watch);
}

void pin_watch_stop(struct pin *p) {
    p->inotify_watch = loop_watch_del(p->inotify_watch);
    p->inotify_fd = fd_close(p->inotify_fd);
}

int pin_watch_add(struct pin *p, const struct cgroup_file *f) {
    char path[64];
    if (p->inotify_fd < 0 || f->fd < 0 || clock_now_us() < p->watch_retry_us)
        return -1;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
    int watch = inotify_add_watch(p->inotify_fd, path, IN_MODIFY);
    if (watch >= 0) {
        p->watch_backoff_us = 0;
        return watch;
    }
    p->watch_backoff_us = pin_backoff_longer(p->watch_backoff_us);
    p->watch_retry_us = clock_now_us() + p->watch_backoff_us;
    p->counters.watch_errors++;
    if (!p->warned_inotify)
        log_warn(
            "pin", LOG_KV("errno", strerror(errno)),
            "no inotify watch (fs.inotify.max_user_watches?): changes of further tasks are seen "
            "at the tick, ignoring");
    p->warned_inotify = true;
    return -1;
}

int pin_watch_del(struct pin *p, int watch) {
    int keep = errno;
    if (watch >= 0 && p->inotify_fd >= 0)
        inotify_rm_watch(p->inotify_fd, watch);
    errno = keep;
    return -1;
}
