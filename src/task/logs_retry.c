/* SPDX-License-Identifier: MPL-2.0 */
/* Follows the logs of recovered tasks whose logs could not be followed when they were recovered.
 *
 * All such tasks are tried again every LOGS_RETRY_US until they succeed or leave the store.
 * Their FIFOs stay open until then, because Nomad's logmon stops reading when the last writer
 * closes. The streams thread has the timer and the list; a thread of the pool talks to the pump.
 * RecoverTask calls logs_retry_later(). */
#include "src/task/driver_priv.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include <stdio.h>

#define LOGS_RETRY_US (10 * US_PER_SEC)
#define LOGS_TRY_US (10 * US_PER_SEC) /* limit of one attempt */

struct lost {
    struct logs_retry *list;
    struct task *task;
    bool adopted;
    int64_t since_ns;
    int fifos[2]; /* stdout, stderr */
    struct lost *next;
};

struct logs_retry {
    struct driver *d;
    struct lost *first; /* those that wait; used by the streams thread */
    struct loop_timer *timer;
};

int logs_retry_new(struct driver *d, struct logs_retry **ret) {
    struct logs_retry *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->d = d;
    *ret = l;
    return 0;
}

static void lost_free(struct lost *x) {
    fd_close(x->fifos[0]);
    fd_close(x->fifos[1]);
    store_task_unref(x->task);
    free(x);
}

void logs_retry_free(struct logs_retry *l) {
    if (!l)
        return;
    for (struct lost *x = l->first, *next; x; x = next) {
        next = x->next;
        lost_free(x);
    }
    loop_timer_del(l->timer);
    free(l);
}

/* Opens the FIFOs. One that does not exist yet is tried again at each attempt. */
static void open_fifos(struct lost *x) {
    const char *paths[] = {x->task->stdout_path, x->task->stderr_path};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        if (x->fifos[i] < 0 && pump_fifo_open(paths[i], &x->fifos[i]) < 0)
            log_debug("logs", LOG_KV("path", paths[i]), "the log FIFO cannot be opened, retrying");
}

static bool is_tracked(const struct lost *x) {
    AUTO_TASK struct task *now = store_get(x->list->d->store, x->task->id);
    return now == x->task;
}

static void wait_for_turn(void *arg);

static void try_work(void *arg) {
    struct lost *x = arg;
    struct driver *d = x->list->d;
    struct call call = call_within(NULL, LOGS_TRY_US);
    struct err err = {0};
    call.cancel = &d->ended;
    open_fifos(x);
    int r = !is_tracked(x) ? 0
            : x->adopted   ? logs_adopt(d, &call, x->task, x->since_ns, &err)
                           : logs_follow(d, &call, x->task, true, &err);
    if (r == 0 && is_tracked(x))
        client_tell(d, x->task, "The task's logs are collected again");
    if (r == 0 || atomic_load(&d->ending) || loop_post(d->loop, wait_for_turn, x) < 0)
        lost_free(x);
}

/* Tries all tasks that wait. */
static void on_timer(void *arg) {
    struct logs_retry *l = arg;
    struct lost *waiting = l->first;
    l->first = NULL;
    while (waiting) {
        struct lost *x = waiting;
        waiting = x->next;
        if (pool_run(l->d->pool, try_work, x) < 0)
            wait_for_turn(x); /* no thread is available now */
    }
}

static void wait_for_turn(void *arg) {
    struct lost *x = arg;
    struct logs_retry *l = x->list;
    bool armed = l->timer && l->first;
    x->next = l->first;
    l->first = x;
    if (!armed && (l->timer || loop_timer_new(l->d->loop, on_timer, l, &l->timer) == 0))
        loop_timer_at(l->timer, clock_now_us() + LOGS_RETRY_US);
}

void logs_retry_later(struct driver *d, struct task *t, bool adopted, int64_t since_ns,
                      const struct err *why) {
    char text[512];
    snprintf(text, sizeof(text), "The task's logs cannot be collected now, retrying: %.400s",
             why->text);
    client_tell(d, t, text);
    log_warn("logs", LOG_KV("task_id", t->id, "error", why->text),
             "a recovered task runs without its logs, retrying");
    struct lost *x = calloc(1, sizeof(*x));
    if (!x)
        return;
    *x = (struct lost){.list = d->logs_retry,
                       .task = store_get(d->store, t->id),
                       .adopted = adopted,
                       .since_ns = since_ns,
                       .fifos = {-EBADF, -EBADF}};
    if (x->task != t) { /* removed from the store since */
        lost_free(x);
        return;
    }
    open_fifos(x);
    if (loop_post(d->loop, wait_for_turn, x) < 0)
        lost_free(x);
}
