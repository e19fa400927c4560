/* What tells of a change at once: one inotify instance for all tasks, and fanotify where a writer
 * is to be named. The kernel does not tell of a change of an effective set (cpuset.md 1.3): that is
 * the tick's. */
#include "src/pin/pin_priv.h"

#include "paddock/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/stat.h>

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
    p->fanotify_watch = loop_watch_del(p->fanotify_watch);
    p->inotify_fd = fd_close(p->inotify_fd);
    p->fanotify_fd = fd_close(p->fanotify_fd);
}

int pin_watch_add(struct pin *p, const struct cgroup_file *f) {
    char path[64];
    if (p->inotify_fd < 0 || f->fd < 0)
        return -1;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
    int watch = inotify_add_watch(p->inotify_fd, path, IN_MODIFY);
    if (watch >= 0)
        return watch;
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

/* ---- who wrote ---- */

static void name_writer(struct pin *p, pid_t pid, struct pin_writer *w) {
    char name[64];
    *w = (struct pin_writer){.pid = pid, .at_us = clock_now_us(), .comm = "?"};
    snprintf(name, sizeof(name), "%d/comm", (int)pid);
    AUTO_FD int fd = openat(p->o.proc_fd, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, w->comm, sizeof(w->comm) - 1) : 0;
    if (n > 0) {
        w->comm[n] = '\0';
        w->comm[strcspn(w->comm, "\n")] = '\0';
    }
    /* A process may call itself anything; protobuf and JSON take UTF-8 alone. */
    for (char *c = w->comm; *c; c++)
        *c = *c < ' ' || *c > '~' ? '?' : *c;
}

static bool same_file(int a, int b) {
    struct stat x, y;
    return a >= 0 && b >= 0 && fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

void pin_watch_writers(struct pin *p) {
    char buf[4096] __attribute__((aligned(__alignof__(struct fanotify_event_metadata))));
    ssize_t n;
    while (p->fanotify_fd >= 0 && (n = read(p->fanotify_fd, buf, sizeof(buf))) > 0) {
        const struct fanotify_event_metadata *e = (const void *)buf;
        for (; FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n)) {
            int fd = e->fd;
            for (struct pin_task *t = p->tasks; t && e->pid != getpid(); t = t->next)
                if (t->marked && same_file(t->cpus.fd, fd))
                    name_writer(p, e->pid, &t->writer);
            fd_close(fd);
        }
    }
}

static void on_fanotify(void *ctx, uint32_t events) {
    struct pin *p = ctx;
    (void)events;
    pthread_mutex_lock(&p->lock);
    pin_watch_writers(p);
    pthread_mutex_unlock(&p->lock);
}

/* Only when somebody has overwritten a set: fanotify opens a file for each event. */
static void start_fanotify(struct pin *p) {
    p->fanotify_fd =
        fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY | O_CLOEXEC);
    if (p->fanotify_fd >= 0 &&
        loop_watch_add(p->loop, p->fanotify_fd, EPOLLIN, on_fanotify, p, &p->fanotify_watch) < 0)
        p->fanotify_fd = fd_close(p->fanotify_fd);
}

void pin_watch_mark(struct pin *p, struct pin_task *t) {
    if (t->marked)
        return;
    t->marked = true; /* one attempt: without the capability it stays unnamed */
    if (p->fanotify_fd < 0)
        start_fanotify(p);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", t->cpus.fd);
    if (p->fanotify_fd >= 0 &&
        fanotify_mark(p->fanotify_fd, FAN_MARK_ADD, FAN_MODIFY, AT_FDCWD, path) < 0)
        log_debug("pin", LOG_KV("task_id", t->c.task_id, "errno", strerror(errno)),
                  "no fanotify mark");
}
