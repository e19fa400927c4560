/* SPDX-License-Identifier: MPL-2.0 */
/* StopTask.
 *
 * Without a kill_signal it is one POST /stop. Docker then sends the container's own stop signal,
 * waits for the task's kill_timeout and sends SIGKILL, even when this process has ended by then.
 * With a kill_signal it sends that signal, waits, and sends SIGKILL. No thread is held while a stop
 * waits: the requests and the one timer belong to the streams thread.
 *
 * Success means that the task's end is recorded, or that the task is unknown, because Nomad then
 * waits for WaitTask's answer. Docker's answer alone is not enough: after it the container is
 * inspected, and the stop waits for the record. */
#include "src/task/driver_priv.h"

#include "paddock/clock.h"
#include "paddock/docker_multi.h"
#include "paddock/log.h"

#include <stdio.h>
#include <string.h>

/* How long the record may take after Docker's answer. The die event has usually come before. */
#define STOP_RECORD_US (5 * US_PER_SEC)
/* Docker's limit for a timeout is 2^63 ns; some versions read 32 bits. */
#define STOP_TIMEOUT_MAX_S INT32_MAX

/* A request to Docker. It outlives the stop that sent it when the task ends before Docker answers:
 * only the streams thread may cancel it. */
struct stop_request {
    struct stop_list *list;
    struct driver_stop *stop; /* NULL = the stop has ended */
    struct docker_get *get;
    struct stop_request *next;
};

struct stop_list {
    struct driver *d;
    pthread_mutex_t lock; /* of the lists and of the fields of the stops in them */
    struct driver_stop *first;
    struct stop_request *requests;
    struct loop_timer *timer; /* used by the streams thread */
};

static void on_timer(void *arg);

int task_stop_list_new(struct driver *d, struct stop_list **ret) {
    struct stop_list *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->d = d;
    pthread_mutex_init(&l->lock, NULL);
    *ret = l;
    return 0;
}

void task_stop_list_free(struct stop_list *l) {
    if (!l)
        return;
    for (struct stop_request *q = l->requests, *next; q; q = next) {
        next = q->next;
        docker_multi_get_cancel(q->get);
        free(q);
    }
    loop_timer_del(l->timer);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

#define STOP_WAITS 1

/* ---- requests ----
 * All functions run on the streams thread, under the list's lock. */

static void request_free(struct stop_list *l, struct stop_request *q) {
    struct stop_request **at = &l->requests;
    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    free(q);
}

/* Cancels the requests whose stop has ended. */
static void drop_orphans(struct stop_list *l) {
    for (struct stop_request *q = l->requests, *next; q; q = next) {
        next = q->next;
        if (q->stop)
            continue;
        docker_multi_get_cancel(q->get);
        request_free(l, q);
    }
}

static void detach_request(struct driver_stop *s) {
    if (s->request)
        s->request->stop = NULL;
    s->request = NULL;
}

static void on_answer(void *ctx, int r, int status, const struct err *err);

static const struct docker_get_ops request_ops = {.on_done = on_answer};

/* Rounded up: a task gets at least its timeout. */
static unsigned whole_seconds(uint64_t us) {
    uint64_t s = us / US_PER_SEC + (us % US_PER_SEC ? 1 : 0);
    return s > STOP_TIMEOUT_MAX_S ? STOP_TIMEOUT_MAX_S : (unsigned)s;
}

/* Sends @signal; NULL = POST /stop with the stop's timeout. Returns 0; -errno. */
static int send_request(struct driver_stop *s, const char *signal) {
    struct stop_list *l = s->driver->stops;
    struct stop_request *q = calloc(1, sizeof(*q));
    if (!q)
        return -ENOMEM;
    const struct task_look now = store_look(s->task);
    *q = (struct stop_request){.list = l, .stop = s};
    struct docker_multi *m = s->driver->requests;
    int r = signal
                ? docker_container_kill_multi(m, now.container_id, signal, &request_ops, q, &q->get)
                : docker_container_stop_multi(m, now.container_id, whole_seconds(s->timeout_us),
                                              &request_ops, q, &q->get);
    if (r < 0) {
        free(q);
        return r;
    }
    q->next = l->requests;
    l->requests = q;
    s->request = q;
    return 0;
}

/* ---- the steps of one stop ----
 * The code that takes the waiter out of the store owns the stop and ends it: the timer, a cancel,
 * or, when it is too late for both, the task's end. */

static void list_remove(struct stop_list *l, const struct driver_stop *s) {
    struct driver_stop **at = &l->first;
    while (*at && *at != s)
        at = &(*at)->next;
    if (*at)
        *at = s->next;
}

static void on_end(void *ctx, const struct task_exit *exit) {
    struct driver_stop *s = ctx;
    struct stop_list *l = s->driver->stops;
    (void)exit;
    pthread_mutex_lock(&l->lock);
    list_remove(l, s);
    detach_request(s);
    pthread_mutex_unlock(&l->lock);
    if (loop_post(l->d->loop, on_timer, l) < 0) /* cancels the request */
        log_debug("stop", NULL, "out of memory: a request to Docker is cancelled later");
    s->ended(s->ctx, 0, NULL);
}

static uint64_t within_call(const struct driver_stop *s, uint64_t us) {
    return call_within(&s->call, us).deadline_us;
}

/* Makes the due step of a stop. Returns 0, or -errno with s->err when the stop has failed. */
static int stop_step(struct driver_stop *s) {
    const struct driver *d = s->driver;
    int r = 0;
    if (cancel_fired(s->call.cancel))
        return err_set(&s->err, ERR_PLAIN, ECANCELED, "the stop was cancelled");
    switch (s->step) {
    case STOP_BEGIN:
        s->step = s->signal[0] ? STOP_SIGNAL : STOP_BY_DOCKER;
        s->at_us = within_call(s, s->signal[0] ? d->timeout_us : s->timeout_us + d->timeout_us);
        r = send_request(s, s->signal[0] ? s->signal : NULL);
        break;
    case STOP_GRACE:
        s->step = STOP_KILL;
        s->at_us = call_within(NULL, d->timeout_us).deadline_us;
        r = send_request(s, "SIGKILL");
        break;
    case STOP_RECORD:
        return s->err.set ? -s->err.code
                          : err_set(&s->err, ERR_RECOVERABLE, ETIMEDOUT,
                                    "Docker has stopped the container, but its end is not known");
    default:
        return err_set(&s->err, ERR_DEADLINE, ETIMEDOUT,
                       "Docker did not answer in time when it was asked to stop the container");
    }
    return r < 0 ? err_oom(&s->err) : 0;
}

/* Makes the due steps. Returns the stops that have failed, taken out of the list. *@ret_next: when
 * the next step is due; 0 = no stop waits. */
static struct driver_stop *make_steps(struct stop_list *l, uint64_t *ret_next) {
    struct driver_stop *failed = NULL, **at = &l->first;
    uint64_t now = clock_now_us();
    *ret_next = 0;
    while (*at) {
        struct driver_stop *s = *at;
        if (s->at_us <= now && s->r == 0)
            s->r = stop_step(s);
        if (s->r < 0 && store_wait_cancel(s->task, &s->waiter)) {
            *at = s->next;
            detach_request(s);
            s->next = failed;
            failed = s;
            continue;
        }
        if (s->r == 0 && (!*ret_next || s->at_us < *ret_next))
            *ret_next = s->at_us;
        at = &s->next;
    }
    return failed;
}

static void end_failed(struct driver_stop *s) {
    char id[65];
    snprintf(id, sizeof(id), "%s", store_look(s->task).container_id);
    s->ended(s->ctx, err_wrap(&s->err, s->r, "Failed to stop container %s", id), &s->err);
}

/* Context: the streams thread. */
static void on_timer(void *arg) {
    struct stop_list *l = arg;
    uint64_t next;
    if (!l->timer && loop_timer_new(l->d->loop, on_timer, l, &l->timer) < 0)
        return; /* the next stop tries again */
    pthread_mutex_lock(&l->lock);
    struct driver_stop *failed = make_steps(l, &next);
    drop_orphans(l);
    pthread_mutex_unlock(&l->lock);
    loop_timer_at(l->timer, next);
    while (failed) {
        struct driver_stop *s = failed;
        failed = s->next; /* the stop's memory is not ours once it has ended */
        end_failed(s);
    }
}

/* Docker has answered. Either the end is recorded, or the container must be inspected: it may be
 * removed (404), have ended, or be about to be removed (409). */
static void await_record(struct driver_stop *s, int r, const struct err *err) {
    uint64_t limit = s->driver->timeout_us;
    s->step = STOP_RECORD;
    s->at_us = within_call(s, limit < STOP_RECORD_US ? limit : STOP_RECORD_US);
    if (r == -EEXIST && err)
        s->err = *err; /* Docker's message, for a container that still runs */
}

static void on_answer(void *ctx, int r, int status, const struct err *err) {
    struct stop_request *q = ctx;
    struct stop_list *l = q->list;
    AUTO_TASK struct task *look = NULL;
    (void)status;
    pthread_mutex_lock(&l->lock);
    struct driver_stop *s = q->stop;
    request_free(l, q);
    if (s) {
        s->request = NULL;
        if (r == 0 && s->step == STOP_SIGNAL) {
            s->step = STOP_GRACE;
            s->at_us = s->kill_at_us;
        } else if (r == 0 || r == -ENOENT || r == -EEXIST) {
            await_record(s, r, err);
            look = store_get(l->d->store, s->task->id);
        } else {
            s->r = r;
            s->err = *err;
        }
    }
    pthread_mutex_unlock(&l->lock);
    if (look)
        exit_look_later(l->d, look);
    on_timer(l);
}

/* Takes the stop out of the list. Returns true when the caller must end it. Returns false when
 * something else ends it, or has ended it. @s is not read when it is not in the list. */
static bool take_stop(struct stop_list *l, struct driver_stop *s) {
    pthread_mutex_lock(&l->lock);
    const struct driver_stop *at = l->first;
    while (at && at != s)
        at = at->next;
    bool taken = at && store_wait_cancel(s->task, &s->waiter);
    if (taken) {
        list_remove(l, s);
        detach_request(s);
    }
    pthread_mutex_unlock(&l->lock);
    return taken;
}

void task_stop_cancel(struct driver_stop *s) {
    struct stop_list *l = s->driver->stops;
    if (!take_stop(l, s))
        return;
    struct err err = {0};
    if (loop_post(l->d->loop, on_timer, l) < 0)
        log_debug("stop", NULL, "out of memory: a request to Docker is cancelled later");
    s->ended(s->ctx, err_set(&err, ERR_PLAIN, ECANCELED, "the stop was cancelled"), &err);
}

void task_stop_done(struct driver_stop *s) {
    store_task_unref(TAKE_PTR(s->task));
}

/* ---- StopTask ---- */

/* Returns STOP_WAITS, 0 when there is nothing to stop, or -errno. */
static int begin_stop(struct driver_stop *s, const char *signal, struct err *err) {
    struct stop_list *l = s->driver->stops;
    int r = str_empty(signal) ? 0 : task_signal_for_docker(signal, s->signal, err);
    if (r < 0)
        return r;
    const struct task_look now = store_look(s->task);
    if (now.phase == TASK_EXITED)
        return 0;
    if (now.phase == TASK_STARTING)
        return err_set(err, ERR_RECOVERABLE, EAGAIN, "task %s is still being started", s->task->id);
    s->kill_at_us = within_call(s, s->timeout_us);
    s->waiter = (struct task_waiter){.done = on_end, .ctx = s};
    pthread_mutex_lock(&l->lock);
    s->next = l->first;
    l->first = s;
    pthread_mutex_unlock(&l->lock);
    store_wait(s->task, &s->waiter); /* may end it immediately */
    if (loop_post(l->d->loop, on_timer, l) < 0 && take_stop(l, s))
        return err_oom(err);
    return STOP_WAITS;
}

void task_stop(struct driver *d, const struct call *call, const char *task_id, int64_t timeout_us,
               const char *signal, struct driver_stop *s) {
    struct err err = {0};
    s->driver = d;
    s->call = *call;
    s->timeout_us = timeout_us > 0 ? (uint64_t)timeout_us : 0;
    s->task = store_get(d->store, task_id);
    int r = s->task ? begin_stop(s, signal, &err) : 0;
    if (r != STOP_WAITS)
        s->ended(s->ctx, r, &err);
}
