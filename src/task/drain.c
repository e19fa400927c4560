/* SPDX-License-Identifier: MPL-2.0 */
/* Delivers the last log lines of a task that has ended, and then closes its FIFOs.
 *
 * The log pump answers when the readers have everything. Until then it reports each second in which
 * a reader took something, or in which Docker has not sent the rest. Without a report the wait ends
 * after patience_us(). All of this can take long, so it holds no thread: a thread of the pool asks
 * the pump, and the streams thread waits for the answer. When the pump ends before it has answered,
 * the next pump is asked. After the wait the FIFOs are closed with what is left, again by a thread
 * of the pool, because the pump must be informed.
 *
 * exit.c begins a drain. DestroyTask does not wait for a drain; it asks the pump itself. */
#include "src/task/driver_priv.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include <sys/epoll.h>

#define DRAIN_LEAST_US (3 * US_PER_SEC) /* longer than a second, in which the pump reports */
/* Limit of one request to the pump, which may have to be started. Then other requests get
 * the thread. */
#define DRAIN_ASK_US (2 * US_PER_SEC)
#define DRAIN_RETRY_US (500 * US_PER_MS)

struct drain {
    struct drains *list;
    struct task *task;
    uint64_t deadline_us;
    uint64_t at_us; /* time of the next step: ask the pump again, or give up */
    struct logpump_finish *finish;
    struct loop_watch *watch;
    struct drain *next;
};

struct drains {
    struct driver *d;
    struct drain *first; /* those that wait; used by the streams thread */
    struct loop_timer *timer;
};

static void ask_work(void *arg);

/* How long a drain waits while a reader takes nothing. */
static uint64_t patience_us(const struct driver *d) {
    return d->timeout_us > DRAIN_LEAST_US ? d->timeout_us : DRAIN_LEAST_US;
}

int drains_new(struct driver *d, struct drains **ret) {
    struct drains *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->d = d;
    *ret = l;
    return 0;
}

static void drain_free(struct drain *n) {
    loop_watch_del(n->watch);
    logpump_finish_free(n->finish);
    store_task_unref(n->task);
    free(n);
}

/* The log pump continues without this process. */
void drains_free(struct drains *l) {
    if (!l)
        return;
    for (struct drain *n = l->first, *next; n; n = next) {
        next = n->next;
        drain_free(n);
    }
    loop_timer_del(l->timer);
    free(l);
}

static void drain_warn(const struct drain *n, const struct err *err) {
    if (!atomic_load(&n->list->d->ending))
        log_warn("logs", LOG_KV("task_id", n->task->id), "the last log lines may be missing: %s",
                 err->text);
}

/* ---- on the streams thread ---- */

static void unlink_drain(struct drain *n) {
    struct drain **at = &n->list->first;
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    n->watch = loop_watch_del(n->watch);
}

static void give_up_work(void *arg) {
    struct drain *n = arg;
    if (n->finish)
        logpump_finish_end(TAKE_PTR(n->finish), false);
    drain_free(n);
}

/* Runs @work on a thread of the pool. @n is in no list. When no thread is available, the pump
 * closes the FIFOs when DestroyTask asks it. */
static void pass_to_pool(struct drain *n, void (*work)(void *ctx)) {
    if (atomic_load(&n->list->d->ending) || pool_run(n->list->d->pool, work, n) < 0)
        drain_free(n);
}

static void drain_give_up(struct drain *n, const struct err *err) {
    drain_warn(n, err);
    pass_to_pool(n, give_up_work);
}

static void drain_step(struct drain *n) {
    unlink_drain(n);
    if (clock_now_us() < n->deadline_us) {
        pass_to_pool(n, ask_work);
    } else {
        struct err err = {0};
        err_set(&err, ERR_DEADLINE, ETIMEDOUT, "they were not taken in time");
        drain_give_up(n, &err);
    }
}

static void on_timer(void *arg) {
    struct drains *l = arg;
    uint64_t now = clock_now_us(), next_at = 0;
    for (struct drain *n = l->first, *next; n; n = next) {
        next = n->next;
        if (n->at_us <= now)
            drain_step(n);
        else if (!next_at || n->at_us < next_at)
            next_at = n->at_us;
    }
    loop_timer_at(l->timer, next_at);
}

static void on_readable(void *arg, uint32_t events) {
    struct drain *n = arg;
    struct err err = {0};
    (void)events;
    int r = logpump_finish_read(n->finish, &err);
    if (r > 0) { /* something was delivered, or Docker is unavailable */
        n->at_us = n->deadline_us = clock_now_us() + patience_us(n->list->d);
        return;
    }
    unlink_drain(n);
    if (r == -EPIPE) { /* the pump has ended: another one continues */
        logpump_finish_free(TAKE_PTR(n->finish));
        pass_to_pool(n, ask_work);
    } else if (r < 0) {
        drain_give_up(n, &err);
    } else {
        logpump_finish_end(TAKE_PTR(n->finish), true);
        drain_free(n);
    }
}

/* Posted by ask_work(). Waits for the pump's answer, or for the next attempt when the pump was
 * not asked. */
static void wait_for_pump(void *arg) {
    struct drain *n = arg;
    struct drains *l = n->list;
    n->next = l->first;
    l->first = n;
    n->at_us = n->deadline_us;
    if (!n->finish)
        n->at_us = clock_now_us() + DRAIN_RETRY_US;
    else if (loop_watch_add(l->d->loop, logpump_finish_fd(n->finish), EPOLLIN, on_readable, n,
                            &n->watch) < 0)
        n->at_us = n->deadline_us = clock_now_us(); /* the answer cannot be watched */
    if (l->timer || loop_timer_new(l->d->loop, on_timer, l, &l->timer) == 0)
        on_timer(l);
}

/* ---- on a thread of the pool ---- */

static void ask_work(void *arg) {
    struct drain *n = arg;
    struct driver *d = n->list->d;
    struct call call = call_within(&(struct call){.deadline_us = n->deadline_us}, DRAIN_ASK_US);
    struct err err = {0};
    call.cancel = &d->ended;
    int r = logpump_finish_begin(d->pump, &call, n->task->id, &n->finish, &err);
    if (r == 0 || atomic_load(&d->ending)) {
        drain_free(n); /* nothing to deliver, or the driver ends */
    } else if (loop_post(d->loop, wait_for_pump, n) < 0) {
        struct err oom = {0};
        err_oom(&oom);
        drain_warn(n, &oom);
        drain_free(n);
    }
}

/* ---- the call ---- */

void drain_task(struct driver *d, struct task *t) {
    struct task *ref = store_get(d->store, t->id);
    struct drain *n = ref == t && store_look(t).logs && d->pump ? calloc(1, sizeof(*n)) : NULL;
    if (!n) { /* no logs, or DestroyTask has removed the task and delivers them */
        store_task_unref(ref);
        return;
    }
    *n = (struct drain){
        .list = d->drains, .task = ref, .deadline_us = clock_now_us() + patience_us(d)};
    if (pool_run(d->pool, ask_work, n) < 0) {
        log_warn("logs", LOG_KV("task_id", t->id),
                 "no thread to deliver the last log lines: DestroyTask does, ignoring");
        drain_free(n);
    }
}
