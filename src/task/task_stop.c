/* StopTask and SignalTask. What has stopped or is unknown is success for the first: Nomad repeats
 * it for minutes otherwise. Facts: docker-driver 5.4, 5.9.
 *
 * A stop is the signal that was given, or else the container's own; then the task's timeout for its
 * end; then Docker's stop without any grace, which is SIGKILL. In the long part in between it holds
 * no thread, so any number can be under way: the task's end completes it, or one timer of the
 * streams thread hands it to the drains for the last part, where those that Docker cannot kill hold
 * up no look at a container. */
#include "driver_priv.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define STOP_WAITS 1

struct stop_list {
    struct driver *d;
    pthread_mutex_t lock;
    struct driver_stop *first; /* those that wait for their task's end */
    struct loop_timer *timer;  /* the streams thread's */
};

int stop_list_new(struct driver *d, struct stop_list **ret) {
    struct stop_list *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->d = d;
    pthread_mutex_init(&l->lock, NULL);
    *ret = l;
    return 0;
}

void stop_list_free(struct stop_list *l) {
    if (!l)
        return;
    loop_timer_del(l->timer);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* "SIGHUP", "hup", "1": what the kernel knows. */
static bool signal_is_known(const char *name) {
    if (isdigit((unsigned char)*name)) {
        long n = strtol(name, NULL, 10);
        return n > 0 && n < SIGRTMAX && strspn(name, "0123456789") == strlen(name);
    }
    if (strncasecmp(name, "SIG", 3) == 0)
        name += 3;
    if (strncasecmp(name, "RTMIN", 5) == 0 || strncasecmp(name, "RTMAX", 5) == 0)
        return true;
    for (int n = 1; n < SIGRTMIN; n++) {
        const char *known = sigabbrev_np(n);
        if (known && strcasecmp(known, name) == 0)
            return true;
    }
    return strcasecmp(name, "IOT") == 0 || strcasecmp(name, "CLD") == 0;
}

static int check_signal(const char *name, struct err *err) {
    if (signal_is_known(name))
        return 0;
    return err_set(err, ERR_INVALID, EINVAL, "signal: \"%s\" is not a signal", name);
}

/* ---- the last part ---- */

static int stop_now(struct driver_stop *s, struct err *err) {
    struct driver *d = s->driver;
    /* Docker's SIGKILL, the unmounts, a loaded host. Then it is reported. */
    struct call within = call_within(&s->call, d->timeout_us);
    const struct task_look now = store_look(s->task);
    int r = docker_container_stop(d->docker, &within, now.container_id, 0, err);
    if (r == -ENOENT) {
        err_clear(err);
        r = 0;
    }
    bool conflict = r == -EEXIST; /* 409: being removed; well when it has ended */
    int known = r == 0 || conflict ? exit_check(d, s->task, -1) : 0;
    if (conflict && store_look(s->task).phase == TASK_EXITED) {
        err_clear(err);
        return 0;
    }
    if (known < 0)
        log_debug("stop", LOG_KV("task_id", s->task->id), "the end is not known yet, retrying");
    return err_wrap(err, r, "Failed to stop container %s", now.container_id);
}

static void stop_work(void *arg) {
    struct driver_stop *s = arg;
    struct err err = {0};
    int r = stop_now(s, &err);
    s->ended(s->ctx, r, &err);
}

/* ---- the wait for the end ----
 * Whoever takes the waiter out of the store owns the stop: the timer, a cancel, or, when it is too
 * late for both, the task's end. */

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
    pthread_mutex_unlock(&l->lock);
    s->ended(s->ctx, 0, NULL);
}

/* Takes those whose time has come out of the list. *@ret_next: when the next one's will; 0 = none.
 */
static struct driver_stop *take_due(struct stop_list *l, uint64_t now, uint64_t *ret_next) {
    struct driver_stop *due = NULL, **at = &l->first;
    *ret_next = 0;
    while (*at) {
        struct driver_stop *s = *at;
        if (s->kill_at_us > now && (!*ret_next || s->kill_at_us < *ret_next))
            *ret_next = s->kill_at_us;
        if (s->kill_at_us > now || !store_wait_cancel(s->task, &s->waiter)) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        s->next = due;
        due = s;
    }
    return due;
}

static void on_timer(void *arg) {
    struct stop_list *l = arg;
    uint64_t next;
    pthread_mutex_lock(&l->lock);
    struct driver_stop *due = take_due(l, clock_now_us(), &next);
    pthread_mutex_unlock(&l->lock);
    loop_timer_at(l->timer, next);
    while (due) {
        struct driver_stop *s = due;
        due = s->next; /* the stop's memory is not ours once it is told */
        if (pool_run(l->d->drains, stop_work, s) < 0) {
            struct err err = {0};
            s->ended(s->ctx, err_oom(&err), &err);
        }
    }
}

/* On the streams thread: a new one may be due before what the timer waits for. */
static void arm(void *arg) {
    struct stop_list *l = arg;
    if (l->timer || loop_timer_new(l->d->loop, on_timer, l, &l->timer) == 0)
        on_timer(l);
}

/* True: it waits no more, and nobody else tells its end. @s is not looked at when it is not in the
 * list. */
static bool take(struct stop_list *l, struct driver_stop *s) {
    pthread_mutex_lock(&l->lock);
    const struct driver_stop *at = l->first;
    while (at && at != s)
        at = at->next;
    bool taken = at && store_wait_cancel(s->task, &s->waiter);
    if (taken)
        list_remove(l, s);
    pthread_mutex_unlock(&l->lock);
    return taken;
}

static int wait_end(struct driver_stop *s, uint64_t timeout_us, struct err *err) {
    struct stop_list *l = s->driver->stops;
    s->kill_at_us = call_within(&s->call, timeout_us).deadline_us;
    s->waiter = (struct task_waiter){.done = on_end, .ctx = s};
    pthread_mutex_lock(&l->lock);
    s->next = l->first;
    l->first = s;
    pthread_mutex_unlock(&l->lock);
    store_wait(s->task, &s->waiter); /* may tell the end at once */
    if (loop_post(l->d->loop, arm, l) < 0 && take(l, s))
        return err_oom(err);
    return STOP_WAITS;
}

void driver_stop_cancel(struct driver_stop *s) {
    if (!take(s->driver->stops, s))
        return;
    struct err err = {0};
    s->ended(s->ctx, err_set(&err, ERR_PLAIN, ECANCELED, "the stop was cancelled"), &err);
}

void driver_stop_done(struct driver_stop *s) {
    task_unref(TAKE_PTR(s->task));
}

/* ---- StopTask ---- */

/* What Docker would send: the image's or the job's StopSignal. */
static int own_signal(struct driver_stop *s, const char *container_id, char ret[64],
                      struct err *err) {
    struct call within = call_within(&s->call, s->driver->timeout_us);
    struct docker_state state;
    AUTO_JSON json_t *j = NULL;
    int r = docker_container_inspect(s->driver->docker, &within, container_id, &state, &j, err);
    if (r < 0)
        return r;
    const char *text =
        json_string_value(json_object_get(json_object_get(j, "Config"), "StopSignal"));
    snprintf(ret, 64, "%s", str_empty(text) ? "SIGTERM" : text);
    return 0;
}

static int send_signal(struct driver_stop *s, const char *container_id, const char *signal,
                       struct err *err) {
    char own[64];
    if (str_empty(signal)) {
        int r = own_signal(s, container_id, own, err);
        if (r < 0)
            return r;
        signal = own;
    }
    struct call within = call_within(&s->call, s->driver->timeout_us);
    return docker_container_kill(s->driver->docker, &within, container_id, signal, err);
}

static int begin(struct driver_stop *s, uint64_t timeout_us, const char *signal, struct err *err) {
    int r = str_empty(signal) ? 0 : check_signal(signal, err);
    if (r < 0)
        return r;
    const struct task_look now = store_look(s->task);
    if (now.phase == TASK_EXITED || !now.container_id[0])
        return 0;
    if (str_empty(signal) && timeout_us == 0)
        return stop_now(s, err);
    r = send_signal(s, now.container_id, signal, err);
    if (r == -ENOENT || r == -EEXIST) { /* gone, or not running: that is what is wanted */
        err_clear(err);
        exit_check(s->driver, s->task, -1);
        return 0;
    }
    if (r < 0)
        return err_wrap(err, r, "Failed to signal container %s", now.container_id);
    return wait_end(s, timeout_us, err);
}

void driver_stop_task(struct driver *d, const struct call *call, const char *task_id,
                      int64_t timeout_us, const char *signal, struct driver_stop *s) {
    struct err err = {0};
    s->driver = d;
    s->call = *call;
    s->task = store_get(d->store, task_id);
    int r = s->task ? begin(s, timeout_us > 0 ? (uint64_t)timeout_us : 0, signal, &err) : 0;
    if (r != STOP_WAITS)
        s->ended(s->ctx, r, &err);
}

/* ---- SignalTask ---- */

int driver_signal_task(struct driver *d, const struct call *call, const char *task_id,
                       const char *signal, struct err *err) {
    AUTO_TASK struct task *t = store_get(d->store, task_id);
    if (!t)
        return driver_not_found(err);
    int r = check_signal(signal, err);
    if (r < 0)
        return r;
    struct call within = call_within(call, d->timeout_us);
    struct task_look now = store_look(t);
    if (!now.container_id[0])
        return err_set(err, ERR_PLAIN, ESRCH, "task %s is still being started", task_id);
    r = docker_container_kill(d->docker, &within, now.container_id, signal, err);
    return err_wrap(err, r, "Failed to signal task %s", task_id);
}
