/* SPDX-License-Identifier: MPL-2.0 */
/* Reports a change of a file immediately, by inotify. All files share one instance, because the
 * number of instances is limited per user.
 *
 * The pin thread adds files and drains the events. The kernel reports no change of an effective
 * set; the tick finds such a change. When inotify runs out of watches, adding is retried with a
 * back-off. Until then the tick finds the changes of a file without a watch. */
#include "src/pin/pin_watch.h"

#include "paddock/clock.h"
#include "paddock/log.h"
#include "paddock/pin_plan.h"

#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

void pin_watch_begin(struct pin_watch *w) {
    *w = (struct pin_watch){.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
    if (w->fd >= 0)
        return;
    log_warn("pin", LOG_KV("errno", strerror(errno)),
             "inotify is refused, changes are seen at the tick only, ignoring");
    w->errors++;
    w->fd = -EBADF;
}

void pin_watch_end(struct pin_watch *w) {
    w->fd = fd_close(w->fd);
}

/* ---- the files by their watch ---- */

static struct pin_file **bucket_of(struct pin_watch *w, int watch) {
    return &w->buckets[(unsigned)watch % PIN_WATCH_BUCKETS];
}

static void table_enter(struct pin_watch *w, struct pin_file *f, int watch) {
    struct pin_file **bucket = bucket_of(w, watch);
    f->watch = watch;
    f->next = *bucket;
    *bucket = f;
}

static void table_leave(struct pin_watch *w, struct pin_file *f) {
    for (struct pin_file **at = bucket_of(w, f->watch); *at; at = &(*at)->next)
        if (*at == f) {
            *at = f->next;
            break;
        }
    f->next = NULL;
    f->watch = -1;
}

static bool is_shared(struct pin_watch *w, const struct pin_file *f) {
    for (const struct pin_file *x = *bucket_of(w, f->watch); x; x = x->next)
        if (x != f && x->watch == f->watch)
            return true;
    return false;
}

/* ---- watches ---- */

static void watch_refused(struct pin_watch *w) {
    w->backoff_us = pin_plan_backoff_longer(w->backoff_us);
    w->retry_us = clock_now_us() + w->backoff_us;
    w->errors++;
    if (!w->warned)
        log_warn(
            "pin", LOG_KV("errno", strerror(errno)),
            "no inotify watch (fs.inotify.max_user_watches?): changes of further tasks are seen "
            "at the tick, ignoring");
    w->warned = true;
}

void pin_watch_add(struct pin_watch *w, struct pin_file *f) {
    char path[64];
    if (f->watch >= 0 || w->fd < 0 || f->file.fd < 0 || clock_now_us() < w->retry_us)
        return;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", f->file.fd);
    int watch = inotify_add_watch(w->fd, path, IN_MODIFY);
    if (watch < 0) {
        watch_refused(w);
        return;
    }
    w->backoff_us = 0;
    table_enter(w, f, watch);
}

bool pin_watch_is_missing(const struct pin_watch *w, const struct pin_file *f) {
    return w->fd >= 0 && f->file.fd >= 0 && f->watch < 0 && w->retry_us;
}

void pin_watch_del(struct pin_watch *w, struct pin_file *f) {
    int keep = errno;
    if (f->watch < 0)
        return;
    if (w->fd >= 0 && !is_shared(w, f))
        inotify_rm_watch(w->fd, f->watch);
    table_leave(w, f);
    errno = keep;
}

void pin_watch_close(struct pin_watch *w, struct pin_file *f) {
    pin_watch_del(w, f);
    cgroup_file_close(&f->file);
}

/* ---- events ---- */

static void mark_all(struct pin_watch *w) {
    for (unsigned i = 0; i < PIN_WATCH_BUCKETS; i++)
        for (struct pin_file *f = w->buckets[i]; f; f = f->next)
            f->dirty = true;
}

/* IN_IGNORED: the kernel has removed the watch. */
static void on_event(struct pin_watch *w, const struct inotify_event *e) {
    w->events++;
    if (e->mask & IN_Q_OVERFLOW) {
        mark_all(w);
        return;
    }
    for (struct pin_file *f = *bucket_of(w, e->wd), *next; f; f = next) {
        next = f->next;
        if (f->watch != e->wd)
            continue;
        f->dirty = true;
        if (e->mask & IN_IGNORED)
            table_leave(w, f);
    }
}

void pin_watch_read(struct pin_watch *w) {
    char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;
    while (w->fd >= 0 && (n = read(w->fd, buf, sizeof(buf))) > 0) /* EAGAIN: no more events */
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const struct inotify_event *)(buf + at);
            at += (ssize_t)(sizeof(*e) + e->len);
            on_event(w, e);
        }
}
