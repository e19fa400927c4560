/* SPDX-License-Identifier: MPL-2.0 */
/* Watches the FIFOs with inotify. pump_entry.c creates it, and then checks whether the built-in
 * driver's log processes have opened the FIFOs (pump_rival.c).
 *
 * The event of an opening arrives a moment before /proc shows it, and docker_logger opens one FIFO
 * after the other. So the callback is called RIVAL_LOOK_US later. Until then two processes collect
 * the task's output: a few lines are delivered twice, none is lost. */
#include "src/pump/pump_rival_watch.h"

#include "src/pump/pump_fifo.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

#define RIVAL_LOOK_US (100 * US_PER_MS)

struct pump_rival_watch {
    void (*opened)(void *ctx);
    void *ctx;
    int fd;
    struct loop_watch *watch;
    struct loop_timer *look;
};

static void on_event(void *arg, uint32_t events) {
    struct pump_rival_watch *w = arg;
    char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    (void)events;
    while (read(w->fd, buf, sizeof(buf)) > 0) {
    }
    loop_timer_at(w->look, clock_now_us() + RIVAL_LOOK_US);
}

static void on_look(void *arg) {
    struct pump_rival_watch *w = arg;
    w->opened(w->ctx);
}

int pump_rival_watch_new(struct loop *loop, void (*opened)(void *ctx), void *ctx,
                         struct pump_rival_watch **ret) {
    struct pump_rival_watch *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    *w = (struct pump_rival_watch){.opened = opened, .ctx = ctx};
    w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK); /* can fail: no instance is left */
    int r = loop_timer_new(loop, on_look, w, &w->look);
    if (r == 0 && w->fd >= 0)
        r = loop_watch_add(loop, w->fd, EPOLLIN, on_event, w, &w->watch);
    if (r < 0)
        pump_rival_watch_free(TAKE_PTR(w));
    *ret = w;
    return r;
}

void pump_rival_watch_free(struct pump_rival_watch *w) {
    if (!w)
        return;
    loop_watch_del(w->watch);
    loop_timer_del(w->look);
    fd_close(w->fd);
    free(w);
}

void pump_rival_watch_add(struct pump_rival_watch *w, const char *fifo) {
    AUTO_FD int fd = -EBADF;
    char link[64];
    int r = w->fd < 0 ? 0 : pump_fifo_find(fifo, &fd);
    if (r == 0 && fd >= 0) {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        r = inotify_add_watch(w->fd, link, IN_OPEN) < 0 ? -errno : 0;
    }
    if (r < 0)
        log_debug("logpump", LOG_KV("errno", strerror(-r), "path", fifo), "no watch");
}
