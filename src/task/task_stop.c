/* StopTask, SignalTask, DestroyTask, InspectTask. What has stopped or is unknown is success for the
 * first and the last of them: Nomad repeats StopTask for minutes otherwise. Facts:
 * docker-driver 5.4, 5.5, 5.6, 5.9. */
#include "driver_priv.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include <ctype.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* DestroyTask waits so long for the last log lines to reach Nomad's FIFOs. */
#define DESTROY_DRAIN_US (3 * US_PER_SEC)

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

/* ---- waiting, for a thread that has nothing else to do ---- */

struct end_wait {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done;
};

static void end_told(void *ctx, const struct task_exit *exit) {
    struct end_wait *w = ctx;
    (void)exit;
    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->ended);
    pthread_mutex_unlock(&w->lock);
}

/* True when the task has ended within @us. A cancel is looked at ten times a second: it comes
 * rarely. */
static bool wait_end(struct task *t, const struct call *call, uint64_t us) {
    struct end_wait w = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w.ended, &attr);
    pthread_condattr_destroy(&attr);

    struct task_waiter waiter = {.done = end_told, .ctx = &w};
    store_wait(t, &waiter);
    struct call within = call_within(call, us);
    pthread_mutex_lock(&w.lock);
    while (!w.done && call_remaining_ms(&within) != 0 && !cancel_fired(within.cancel)) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += 100000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        pthread_cond_timedwait(&w.ended, &w.lock, &until);
    }
    pthread_mutex_unlock(&w.lock);
    if (!store_wait_cancel(t, &waiter)) {
        /* Told, or being told: it must be over before the memory goes. */
        pthread_mutex_lock(&w.lock);
        while (!w.done)
            pthread_cond_wait(&w.ended, &w.lock);
        pthread_mutex_unlock(&w.lock);
    }
    bool ended = w.done;
    pthread_cond_destroy(&w.ended);
    pthread_mutex_destroy(&w.lock);
    return ended;
}

/* ---- StopTask ---- */

static int docker_stop(struct driver *d, const struct call *call, const char *container_id,
                       uint64_t timeout_us, struct err *err) {
    unsigned seconds = (unsigned)((timeout_us + US_PER_SEC - 1) / US_PER_SEC);
    /* Beyond the task's own timeout: dockerd's SIGKILL, the unmounts, a loaded host. Then it is
     * reported. */
    struct call within = call_within(call, timeout_us + d->timeout_us);
    int r = docker_container_stop(d->docker, &within, container_id, seconds, err);
    if (r == -ENOENT) {
        err_clear(err);
        return 0;
    }
    return err_wrap(err, r, "Failed to stop container %s", container_id);
}

int driver_stop_task(struct driver *d, const struct call *call, const char *task_id,
                     int64_t timeout_us, const char *signal, struct err *err) {
    AUTO_TASK struct task *t = store_get(d->store, task_id);
    if (!t)
        return 0;
    uint64_t timeout = timeout_us > 0 ? (uint64_t)timeout_us : 0;
    if (!str_empty(signal)) {
        int r = check_signal(signal, err);
        if (r < 0)
            return r;
    }
    struct task_look now = store_look(t);
    if (now.phase == TASK_EXITED || !now.container_id[0])
        return 0;
    if (!str_empty(signal)) {
        struct call within = call_within(call, d->timeout_us);
        int r = docker_container_kill(d->docker, &within, now.container_id, signal, err);
        if (r == -ENOENT || r == -EEXIST) { /* gone, or not running: that is what is wanted */
            err_clear(err);
            exit_check(d, t, -1);
            return 0;
        }
        if (r < 0)
            return err_wrap(err, r, "Failed to signal container %s", now.container_id);
        if (wait_end(t, call, timeout))
            return 0;
        timeout = 0;
    }
    int r = docker_stop(d, call, now.container_id, timeout, err);
    bool conflict = r == -EEXIST; /* 409: being removed; well when it has ended */
    int known = r == 0 || conflict ? exit_check(d, t, -1) : 0;
    if (conflict && store_look(t).phase == TASK_EXITED) {
        err_clear(err);
        return 0;
    }
    if (known < 0)
        log_debug("stop", LOG_KV("task_id", task_id), "the end is not known yet, retrying");
    return r;
}

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

/* ---- DestroyTask ---- */

static int end_by_force(struct driver *d, const struct call *call, struct task *t,
                        struct err *err) {
    struct call within = call_within(call, d->timeout_slow_us);
    const struct task_look now = store_look(t);
    int r = docker_container_kill(d->docker, &within, now.container_id, "SIGKILL", err);
    if (r == -ENOENT || r == -EEXIST) { /* gone, or not running */
        err_clear(err);
        r = 0;
    }
    if (r < 0)
        return err_wrap(err, r, "Failed to kill container %s", now.container_id);
    if (exit_check(d, t, -1) < 0)
        log_debug("destroy", LOG_KV("task_id", t->id), "the exit code is not known, ignoring");
    return 0;
}

/* A container that has ended and stays is a matter for the log: Nomad could do nothing about it. */
static void remove_container(struct driver *d, const struct call *call, struct task *t) {
    struct call within = call_within(call, d->timeout_slow_us);
    struct err err = {0};
    int r = docker_container_remove(d->docker, &within, store_look(t).container_id, true, &err);
    /* 404: gone; 409: somebody removes it already */
    if (r < 0 && r != -ENOENT && r != -EEXIST)
        log_warn("destroy", LOG_KV("task_id", t->id, "error", err.text),
                 "the container could not be removed, ignoring");
}

int driver_destroy_task(struct driver *d, const struct call *call, const char *task_id, bool force,
                        struct err *err) {
    AUTO_TASK struct task *t = store_get(d->store, task_id);
    if (!t)
        return 0;
    AUTO_CONFIG struct config_snapshot *c = driver_config_get(d);
    struct task_look now = store_look(t);
    if (now.phase != TASK_EXITED && exit_check(d, t, -1) == 0)
        now = store_look(t);
    if (now.phase != TASK_EXITED && !force)
        return err_set(err, ERR_PLAIN, EBUSY,
                       "must call StopTask for the given task before Destroy or set force to true");
    int r = 0;
    if (now.phase != TASK_EXITED && now.container_id[0])
        r = end_by_force(d, call, t, err);
    if (r < 0)
        return r;
    /* Before the container, and with it its log, is removed. */
    struct call drain = call_within(NULL, DESTROY_DRAIN_US);
    if (now.logs && d->pump && logpump_finish(d->pump, &drain, task_id, NULL) < 0)
        log_debug("destroy", LOG_KV("task_id", task_id), "logs did not end in time");
    if (now.container_id[0] && c->c.gc_container)
        remove_container(d, call, t);
    if (now.image_id[0])
        docker_images_release(d->images, now.image_id, task_id);
    stats_task_ended(d->stats, task_id);
    store_remove(d->store, t);
    pin_wake(d->pin);
    return 0;
}

/* ---- InspectTask ---- */

int driver_inspect_task(struct driver *d, const char *task_id, struct driver_inspect *ret,
                        struct err *err) {
    AUTO_TASK struct task *t = store_get(d->store, task_id);
    if (!t)
        return driver_not_found(err);
    struct driver_inspect i = {.look = store_look(t), .name = strdup(t->name)};
    int r = i.name ? store_ports(t, &i.port_map) : -ENOMEM;
    if (r < 0) {
        driver_inspect_done(&i);
        return err_oom(err);
    }
    *ret = i;
    return 0;
}

void driver_inspect_done(struct driver_inspect *i) {
    free(i->name);
    kvs_done(&i->port_map);
    *i = (struct driver_inspect){0};
}
