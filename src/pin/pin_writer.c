/* SPDX-License-Identifier: MPL-2.0 */
/* Names the process that overwrites a task's set, by fanotify in fd mode.
 *
 * The pin thread marks a file only when its set was overwritten for the first time, because
 * fanotify opens a file for each event. It needs CAP_SYS_ADMIN; without it writers stay unnamed. */
#include "src/pin/pin_writer.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>

void pin_writer_begin(struct pin_writers *w, int proc_fd) {
    int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY | O_CLOEXEC);
    *w = (struct pin_writers){.fd = fd < 0 ? -EBADF : fd, .proc_fd = proc_fd};
}

void pin_writer_end(struct pin_writers *w) {
    w->fd = fd_close(w->fd);
}

/* ---- marks ---- */

static int set_mark(const struct pin_writers *w, unsigned how, int file_fd) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file_fd);
    return fanotify_mark(w->fd, how, FAN_MODIFY, AT_FDCWD, path);
}

void pin_writer_mark(struct pin_writers *w, struct pin_writer *x, int file_fd) {
    if (w->fd < 0 || x->marked)
        return;
    if (set_mark(w, FAN_MARK_ADD, file_fd) < 0)
        log_debug("pin", LOG_KV("errno", strerror(errno)), "no fanotify mark");
    x->marked = true; /* also after a refusal: there is one attempt only */
    x->file_fd = file_fd;
    x->next = w->marked;
    w->marked = x;
}

void pin_writer_unmark(struct pin_writers *w, struct pin_writer *x) {
    if (!x->marked)
        return;
    set_mark(w, FAN_MARK_REMOVE,
             x->file_fd); /* fails when the file was removed, and the mark with it */
    for (struct pin_writer **at = &w->marked; *at; at = &(*at)->next)
        if (*at == x) {
            *at = x->next;
            break;
        }
    x->marked = false;
    x->next = NULL;
}

/* ---- events ---- */

static void name_writer(const struct pin_writers *w, struct pin_writer *x, pid_t pid) {
    char name[64];
    x->pid = pid;
    x->fresh = true;
    x->at_us = clock_now_us();
    snprintf(x->comm, sizeof(x->comm), "?");
    snprintf(name, sizeof(name), "%d/comm", (int)pid);
    AUTO_FD int fd = openat(w->proc_fd, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, x->comm, sizeof(x->comm) - 1) : 0;
    if (n > 0) {
        x->comm[n] = '\0';
        x->comm[strcspn(x->comm, "\n")] = '\0';
    }
    /* A process can choose any name, but protobuf and JSON accept UTF-8 only. */
    for (char *c = x->comm; *c; c++)
        *c = *c < ' ' || *c > '~' ? '?' : *c;
}

static bool same_file(int a, int b) {
    struct stat x, y;
    return a >= 0 && b >= 0 && fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

void pin_writer_read(struct pin_writers *w) {
    char buf[4096] __attribute__((aligned(__alignof__(struct fanotify_event_metadata))));
    ssize_t n;
    while (w->fd >= 0 && (n = read(w->fd, buf, sizeof(buf))) > 0) {
        const struct fanotify_event_metadata *e = (const void *)buf;
        for (; FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n)) {
            int fd = e->fd;
            for (struct pin_writer *x = w->marked; x && e->pid != getpid(); x = x->next)
                if (same_file(x->file_fd, fd))
                    name_writer(w, x, e->pid);
            fd_close(fd);
        }
    }
}

/* The writer of the present set is the one with an event since the last repair. Without such an
 * event no process is named, not even the writer of an earlier set. */
void pin_writer_take(struct pin_writers *w, struct pin_writer *x) {
    pin_writer_read(w);
    if (!x->fresh) {
        x->pid = 0;
        x->at_us = 0;
        x->comm[0] = '\0';
    }
    x->fresh = false;
}
