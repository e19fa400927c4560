/* Names the process that overwrites a task's set, by fanotify in fd mode. The pin thread marks a
 * file when its set was overwritten for the first time, because fanotify opens a file for each
 * event. It needs CAP_SYS_ADMIN; without it writers stay unnamed. */
#include "src/pin/pin_priv.h"

#include "paddock/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/stat.h>

static void name_writer(struct pin *p, pid_t pid, struct pin_writer *w) {
    char name[64];
    *w = (struct pin_writer){.pid = pid, .fresh = true, .at_us = clock_now_us(), .comm = "?"};
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

void pin_writer_read(struct pin *p) {
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
    pin_writer_read(p);
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

void pin_writer_mark(struct pin *p, struct pin_task *t) {
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

void pin_writer_unmark(struct pin *p, struct pin_task *t) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", t->cpus.fd);
    if (t->marked && p->fanotify_fd >= 0)
        fanotify_mark(p->fanotify_fd, FAN_MARK_REMOVE, FAN_MODIFY, AT_FDCWD, path);
    t->marked = false;
}

/* The process that wrote the present set: an event since the last repair. Without one nobody is
 * named, not the writer of an earlier set. */
void pin_writer_take(struct pin *p, struct pin_task *t) {
    pin_writer_read(p);
    if (!t->writer.fresh)
        t->writer = (struct pin_writer){0};
    t->writer.fresh = false;
}

void pin_writer_stop(struct pin *p) {
    p->fanotify_watch = loop_watch_del(p->fanotify_watch);
    p->fanotify_fd = fd_close(p->fanotify_fd);
}
