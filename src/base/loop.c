/* SPDX-License-Identifier: MPL-2.0 */
/* An event loop on epoll with timers and work from other threads.
 *
 * The driver, the reconciler (src/pin) and the log pump each run one. Watches and timers that a
 * callback deletes are only marked as dead; their memory is freed at the end of the round, because
 * the current round may still refer to them. */
#include "paddock/loop.h"
#include "paddock/call.h"
#include "paddock/clock.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

struct loop_watch {
    struct loop *loop;
    int fd;
    loop_fd_cb cb;
    void *ctx;
    struct loop_watch *next_dead;
    bool dead;
};

struct loop_timer {
    struct loop *loop;
    uint64_t at_us; /* 0 = not armed */
    loop_cb cb;
    void *ctx;
    struct loop_timer *next; /* all timers; the list is walked only when one is due */
    bool dead;
};

struct loop_work {
    loop_cb cb;
    void *ctx;
    struct loop_work *next;
};

struct loop {
    int epoll_fd, wake_fd;
    struct loop_watch *dead_watches;
    struct loop_timer *timers;
    uint64_t next_us; /* no armed timer is due before this time; 0 = none is armed */
    bool timers_dead; /* some deleted timer can be freed */
    atomic_bool runs; /* loop_run() has begun and not returned; then @thread is set */
    pthread_t thread;
    pthread_mutex_t lock; /* for the members below, which other threads use */
    struct loop_work *work_first, **work_last;
    bool stop;
};

/* Watches and timers belong to the thread of the loop; while it does not run, to any one thread. */
#define ASSERT_LOOP_THREAD(l)                                                                      \
    assert(!atomic_load(&(l)->runs) || pthread_equal((l)->thread, pthread_self()))

int loop_new(struct loop **ret) {
    AUTO_FREE struct loop *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    AUTO_FD int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        return -errno;
    AUTO_FD int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd < 0)
        return -errno;
    /* The wake-up has no watch: it is recognised by NULL. */
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, wake_fd, &ev) < 0)
        return -errno;
    l->epoll_fd = TAKE_FD(epoll_fd);
    l->wake_fd = TAKE_FD(wake_fd);
    l->work_last = &l->work_first;
    pthread_mutex_init(&l->lock, NULL);
    *ret = TAKE_PTR(l);
    return 0;
}

static void loop_wake(struct loop *l) {
    uint64_t one = 1;
    int keep = errno;
    if (write(l->wake_fd, &one, sizeof(one)) < 0)
        errno = keep; /* the counter is full: the fd is readable anyway */
}

void loop_run_posted(struct loop *l) {
    pthread_mutex_lock(&l->lock);
    struct loop_work *w = TAKE_PTR(l->work_first);
    l->work_last = &l->work_first;
    pthread_mutex_unlock(&l->lock);
    while (w) {
        struct loop_work *next = w->next;
        w->cb(w->ctx);
        free(w);
        w = next;
    }
}

static void loop_bury(struct loop *l) {
    while (l->dead_watches) {
        struct loop_watch *w = l->dead_watches;
        l->dead_watches = w->next_dead;
        free(w);
    }
    if (!l->timers_dead)
        return;
    l->timers_dead = false;
    for (struct loop_timer **t = &l->timers; *t;) {
        struct loop_timer *timer = *t;
        if (timer->dead) {
            *t = timer->next;
            free(timer);
        } else {
            t = &timer->next;
        }
    }
}

void loop_free(struct loop *l) {
    if (!l)
        return;
    loop_run_posted(l);
    for (struct loop_timer *t = l->timers; t; t = t->next)
        t->dead = true;
    l->timers_dead = true;
    loop_bury(l);
    fd_close(l->epoll_fd);
    fd_close(l->wake_fd);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* Notes that a timer is due at @at_us. The noted time can be too early when that timer was changed
 * or deleted. The loop then wakes up once for nothing and notes the next time. */
static void loop_note_next(struct loop *l, uint64_t at_us) {
    if (at_us && (!l->next_us || at_us < l->next_us))
        l->next_us = at_us;
}

static void loop_run_timers(struct loop *l) {
    uint64_t now = clock_now_us();
    if (!l->next_us || l->next_us > now)
        return;
    l->next_us = 0; /* the callbacks may arm timers, which are noted again */
    for (struct loop_timer *t = l->timers; t; t = t->next) {
        if (t->dead)
            continue;
        if (t->at_us && t->at_us <= now) {
            t->at_us = 0;
            t->cb(t->ctx);
        } else {
            loop_note_next(l, t->at_us);
        }
    }
}

static bool loop_stopping(struct loop *l) {
    pthread_mutex_lock(&l->lock);
    bool stop = l->stop;
    pthread_mutex_unlock(&l->lock);
    return stop;
}

/* Waits with a precision of a microsecond. A kernel before 5.11 can only count milliseconds. */
static int loop_wait(struct loop *l, struct epoll_event *events, int max) {
    uint64_t now = clock_now_us(), us = l->next_us > now ? l->next_us - now : 0;
    struct timespec limit = {.tv_sec = (time_t)(us / US_PER_SEC),
                             .tv_nsec = (long)(us % US_PER_SEC * 1000)};
    int n = epoll_pwait2(l->epoll_fd, events, max, l->next_us ? &limit : NULL, NULL);
    if (n < 0 && errno == ENOSYS)
        n = epoll_wait(l->epoll_fd, events, max, call_ms_until(l->next_us));
    return n;
}

static int loop_rounds(struct loop *l) {
    struct epoll_event events[64];
    while (!loop_stopping(l)) {
        int n = loop_wait(l, events, ARRAY_LEN(events));
        if (n < 0 && errno != EINTR)
            return -errno;
        for (int i = 0; i < n; i++) {
            struct loop_watch *w = events[i].data.ptr;
            if (!w) {
                uint64_t count;
                ssize_t got = read(l->wake_fd, &count, sizeof(count));
                (void)got;
                loop_run_posted(l);
            } else if (!w->dead) {
                w->cb(w->ctx, events[i].events);
            }
        }
        loop_run_timers(l);
        loop_bury(l);
    }
    return 0;
}

int loop_run(struct loop *l) {
    l->thread = pthread_self();
    atomic_store(&l->runs, true);
    int r = loop_rounds(l);
    atomic_store(&l->runs, false);
    return r;
}

void loop_stop(struct loop *l) {
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_mutex_unlock(&l->lock);
    loop_wake(l);
}

int loop_watch_add(struct loop *l, int fd, uint32_t events, loop_fd_cb cb, void *ctx,
                   struct loop_watch **ret) {
    ASSERT_LOOP_THREAD(l);
    AUTO_FREE struct loop_watch *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    *w = (struct loop_watch){.loop = l, .fd = fd, .cb = cb, .ctx = ctx};
    struct epoll_event ev = {.events = events, .data.ptr = w};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
        return -errno;
    *ret = TAKE_PTR(w);
    return 0;
}

int loop_watch_set(struct loop_watch *w, uint32_t events) {
    ASSERT_LOOP_THREAD(w->loop);
    struct epoll_event ev = {.events = events, .data.ptr = w};
    return epoll_ctl(w->loop->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev) < 0 ? -errno : 0;
}

struct loop_watch *loop_watch_del(struct loop_watch *w) {
    if (w) {
        ASSERT_LOOP_THREAD(w->loop);
        int keep = errno;
        epoll_ctl(w->loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
        errno = keep;
        w->dead = true;
        w->next_dead = w->loop->dead_watches;
        w->loop->dead_watches = w;
    }
    return NULL;
}

int loop_timer_new(struct loop *l, loop_cb cb, void *ctx, struct loop_timer **ret) {
    ASSERT_LOOP_THREAD(l);
    struct loop_timer *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    *t = (struct loop_timer){.loop = l, .cb = cb, .ctx = ctx, .next = l->timers};
    l->timers = t;
    *ret = t;
    return 0;
}

void loop_timer_at(struct loop_timer *t, uint64_t at_us) {
    ASSERT_LOOP_THREAD(t->loop);
    t->at_us = at_us;
    loop_note_next(t->loop, at_us);
}

struct loop_timer *loop_timer_del(struct loop_timer *t) {
    if (t) {
        ASSERT_LOOP_THREAD(t->loop);
        t->dead = true;
        t->loop->timers_dead = true;
    }
    return NULL;
}

int loop_post(struct loop *l, loop_cb cb, void *ctx) {
    struct loop_work *w = malloc(sizeof(*w));
    if (!w)
        return -ENOMEM;
    *w = (struct loop_work){.cb = cb, .ctx = ctx};
    pthread_mutex_lock(&l->lock);
    *l->work_last = w;
    l->work_last = &w->next;
    pthread_mutex_unlock(&l->lock);
    loop_wake(l);
    return 0;
}
