/* SPDX-License-Identifier: MPL-2.0 */
/* The reconciler's thread: it keeps each container's cpuset on the set that Nomad wants, because
 * other processes write it too. Events start a pass over the changed tasks. A tick reads everything
 * again. Retries have a timer of their own, so that they do not wait for the tick.
 *
 * Costs: while nothing changes, the thread allocates no memory and opens no file. The thread runs
 * with the lowest real-time priority where that is allowed. Measured on 2 cores with a load of 25:
 * the last of 100 containers was off a core after 0.13 ms (median) and 4 ms (worst) with that
 * priority, and after 2 and 250 ms without it. */
#include "src/pin/pin_affinity.h"
#include "src/pin/pin_hotplug.h"
#include "src/pin/pin_look.h"
#include "src/pin/pin_merge.h"
#include "src/pin/pin_priv.h"
#include "src/pin/pin_realtime.h"
#include "src/pin/pin_task.h"

#include "paddock/log.h"
#include "paddock/parse.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#define SETTLE_MIN_US (10 * US_PER_MS)
#define SETTLE_MAX_US (160 * US_PER_MS)

/* ---- a pass ---- */

static uint64_t thread_cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* One read per pass. The kernel reports no change of an effective set. */
static void read_online(struct pin *p) {
    if (p->online.fd < 0 &&
        cgroup_file_open(p->o.cgroup_root_fd, "cpuset.cpus.effective", &p->online) < 0)
        return;
    p->online_changed = cgroup_file_read(&p->online, p->scratch, sizeof(p->scratch)) != 0;
}

static void read_levels(struct pin *p, bool full) {
    for (struct pin_level *x = p->levels; x; x = x->next)
        pin_level_read(x, full, p->o.cgroup_root_fd, p->scratch, sizeof(p->scratch));
}

static void read_parents(struct pin *p, bool at_tick) {
    for (struct pin_parent *x = p->parents; x; x = x->next) {
        /* Also when the text is the same: the effective sets below may have changed in between. */
        x->changed = x->cpus.dirty || x->reserve.dirty;
        if ((x->changed || at_tick) &&
            pin_parent_read(x, p->o.cgroup_root_fd, p->scratch, sizeof(p->scratch)))
            x->changed = true;
        pin_parent_watch(x, &p->watch);
    }
}

static void set_earlier(uint64_t *at, uint64_t us) {
    if (us && (!*at || us < *at))
        *at = us;
}

/* Sets the timer to the earliest retry. Retries do not wait for the tick: its interval may be
 * an hour. */
static void arm_retry(struct pin *p) {
    uint64_t at = p->want_snapshot ? clock_now_us() + PIN_BACKOFF_MIN_US : 0;
    for (const struct pin_task *t = p->tasks; t; t = t->next) {
        set_earlier(&at, t->retry_at_us);
        set_earlier(&at, pin_note_next_us(p, t));
        set_earlier(&at, pin_mems_next_us(p, t));
        if (pin_watch_is_missing(&p->watch, &t->cpus) && !t->watch_off)
            set_earlier(&at, p->watch.retry_us);
    }
    set_earlier(&at, p->settle_at_us);
    loop_timer_at(p->retry, at);
}

static bool is_due(const struct pin *p, const struct pin_task *t, uint64_t now_us) {
    return (t->retry_at_us && t->retry_at_us <= now_us) ||
           (pin_watch_is_missing(&p->watch, &t->cpus) && !t->watch_off &&
            p->watch.retry_us <= now_us);
}

static bool is_affected(const struct pin *p, const struct pin_task *t, uint64_t now_us) {
    return p->online_changed || t->cpus.dirty || t->source_cpus.dirty || t->others_changed ||
           (t->parent && t->parent->changed) || is_due(p, t, now_us);
}

/* Checks the tasks that are affected by a change, or all tasks at the tick. No lock held. */
static void check_tasks(struct pin *p, bool at_tick) {
    uint64_t cpu = thread_cpu_ns(), now = clock_now_us();
    pthread_mutex_lock(&p->lock);
    read_online(p);
    read_levels(p, at_tick);
    read_parents(p, at_tick);
    for (struct pin_task *t = p->tasks; t; t = t->next) {
        if (at_tick || is_affected(p, t, now))
            pin_look(p, t, at_tick, now);
        pin_note_state(p, t, NULL, now);
    }
    pin_mems_next(p, now);
    cpu = thread_cpu_ns() - cpu;
    p->counters.passes++;
    p->counters.pass_cpu_ns += cpu;
    if (at_tick) {
        p->counters.ticks++;
        p->counters.tick_cpu_ns += cpu;
    }
    pthread_mutex_unlock(&p->lock);
    pin_note_flush(p);
    pin_unit_send(&p->units);
    pin_affinity_follow(p);
    arm_retry(p);
}

/* ---- the thread ---- */

static void on_wake(void *ctx, uint32_t events) {
    struct pin *p = ctx;
    uint64_t count;
    (void)events;
    if (read(p->wake_fd, &count, sizeof(count)) < 0)
        return;
    pin_merge(p);
    check_tasks(p, false);
}

static void on_inotify(void *ctx, uint32_t events) {
    struct pin *p = ctx;
    (void)events;
    pthread_mutex_lock(&p->lock);
    pin_watch_read(&p->watch);
    pthread_mutex_unlock(&p->lock);
    check_tasks(p, false);
}

static void on_fanotify(void *ctx, uint32_t events) {
    struct pin *p = ctx;
    (void)events;
    pthread_mutex_lock(&p->lock);
    pin_writer_read(&p->writers);
    pthread_mutex_unlock(&p->lock);
}

static void on_tick(void *ctx) {
    struct pin *p = ctx;
    if (p->want_snapshot)
        pin_merge(p);
    check_tasks(p, true);
    uint64_t now = clock_now_us();
    p->next_tick_us += p->o.interval_us;
    if (p->next_tick_us <= now) /* after a suspend, missed ticks are skipped */
        p->next_tick_us = now + p->o.interval_us;
    loop_timer_at(p->tick, p->next_tick_us);
}

/* Older kernels change the effective sets some time after the event. So everything is read again
 * after 10, 20, ... 160 ms. */
static void settle_later(struct pin *p, uint64_t wait_us) {
    p->settle_wait_us = wait_us <= SETTLE_MAX_US ? wait_us : 0;
    p->settle_at_us = p->settle_wait_us ? clock_now_us() + p->settle_wait_us : 0;
}

static void on_hotplug(void *ctx, uint32_t events) {
    struct pin *p = ctx;
    (void)events;
    if (!pin_hotplug_read(p->hotplug_fd))
        return;
    settle_later(p, SETTLE_MIN_US);
    check_tasks(p, true);
}

static void on_migrated(void *ctx, uint32_t events) {
    struct pin *p = ctx;
    (void)events;
    pthread_mutex_lock(&p->lock);
    pin_mems_finish(p);
    pthread_mutex_unlock(&p->lock);
    check_tasks(p, false);
}

static void on_retry(void *ctx) {
    struct pin *p = ctx;
    bool settle = p->settle_at_us && p->settle_at_us <= clock_now_us();
    if (p->want_snapshot)
        pin_merge(p);
    if (settle)
        settle_later(p, 2 * p->settle_wait_us);
    check_tasks(p, settle);
}

static void *reconciler_thread(void *arg) {
    struct pin *p = arg;
    pthread_setname_np(pthread_self(), "pin");
    pin_realtime_begin(&p->o);
    pin_merge(p);
    check_tasks(p, false);
    int r = loop_run(p->loop);
    if (r == 0)
        return NULL;
    log_error("pin", LOG_KV("errno", strerror(-r)), "the reconciler has ended");
    atomic_store(&p->ended, r);
    if (p->o.ended)
        p->o.ended(p->o.ctx, r);
    return NULL;
}

static int start_thread(struct pin *p) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = -pthread_create(&p->thread, NULL, reconciler_thread, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    p->running = r == 0;
    return r;
}

/* ---- start and end ---- */

static void find_reason(struct pin *p) {
    char text[512];
    const char *why = NULL;
    if (!p->o.enabled)
        why = "switched off (cpuset.enabled)";
    else if (p->o.cgroup_root_fd < 0)
        why = "cgroup v1: cpusets are Docker's alone";
    if (!why) {
        AUTO_FD int fd = openat(p->o.cgroup_root_fd, "cgroup.controllers", O_RDONLY | O_CLOEXEC);
        ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
        text[n > 0 ? n : 0] = '\0';
        if (!parse_has_word(text, "cpuset"))
            why = "the cpuset controller is not there (cgroup.controllers)";
    }
    /* An agent that is not root, or a cgroup file system that is mounted read-only. */
    if (!why && faccessat(p->o.cgroup_root_fd, "cgroup.procs", W_OK, AT_EACCESS) < 0 &&
        errno != ENOENT)
        why = "this user may not write cgroup files";
    snprintf(p->reason, sizeof(p->reason), "%s", why ? why : "");
}

static int watch_fd(struct pin *p, int fd, loop_fd_cb cb, struct loop_watch **ret) {
    return fd < 0 ? 0 : loop_watch_add(p->loop, fd, EPOLLIN, cb, p, ret);
}

static int open_all(struct pin *p) {
    p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->wake_fd < 0)
        return -errno;
    pin_watch_begin(&p->watch);
    pin_writer_begin(&p->writers, p->o.proc_fd);
    p->hotplug_fd = pin_hotplug_open();
    return pin_migrate_begin(&p->migrator);
}

static int watch_all(struct pin *p) {
    int r = watch_fd(p, p->wake_fd, on_wake, &p->wake_watch);
    if (r == 0)
        r = watch_fd(p, p->watch.fd, on_inotify, &p->inotify_watch);
    if (r == 0)
        r = watch_fd(p, p->writers.fd, on_fanotify, &p->fanotify_watch);
    if (r == 0)
        r = watch_fd(p, p->hotplug_fd, on_hotplug, &p->hotplug_watch);
    if (r == 0)
        r = watch_fd(p, p->migrator.done_fd, on_migrated, &p->migrator_watch);
    if (r == 0)
        r = loop_timer_new(p->loop, on_tick, p, &p->tick);
    return r == 0 ? loop_timer_new(p->loop, on_retry, p, &p->retry) : r;
}

static int start_parts(struct pin *p) {
    int r = loop_new(&p->loop);
    if (r == 0)
        r = open_all(p);
    if (r == 0)
        r = watch_all(p);
    if (r == 0)
        r = pin_unit_begin(&p->units, p->loop, &p->lock);
    if (r < 0)
        return r;
    read_online(p);
    if (p->initial_r == 0 && p->online.r == 0)
        pin_affinity_widen(&p->initial, &p->online.set);
    p->next_tick_us = clock_now_us() + p->o.interval_us;
    loop_timer_at(p->tick, p->next_tick_us);
    return start_thread(p);
}

/* A thread that asks for the status runs with the reconciler's priority while it holds the lock. */
static void init_lock(pthread_mutex_t *lock) {
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(lock, &a);
    pthread_mutexattr_destroy(&a);
}

int pin_new(const struct pin_options *o, struct pin **ret) {
    struct pin *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    init_lock(&p->lock);
    p->o = *o;
    if (p->o.interval_us == 0)
        p->o.interval_us = US_PER_SEC;
    p->online = CGROUP_FILE_NONE;
    p->initial_r = affinity_get(getpid(), &p->initial);
    p->wake_fd = p->hotplug_fd = p->migrator.done_fd = p->watch.fd = p->writers.fd = -EBADF;
    p->notes_last = &p->notes;
    p->cgroup_root = strdup(o->cgroup_root ? o->cgroup_root : "");
    p->bus_address = o->bus ? strdup(o->bus) : NULL;
    int r = p->cgroup_root && (p->bus_address || !o->bus) ? 0 : -ENOMEM;
    p->units.on = o->systemd;
    p->units.address = p->bus_address;
    if (r == 0 && o->mems_follow)
        r = pin_nodes_read(&p->nodes, o->node_root);
    if (r == 0) {
        find_reason(p);
        r = p->reason[0] ? 0 : start_parts(p);
    }
    if (r < 0) {
        pin_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

void pin_free(struct pin *p) {
    if (!p)
        return;
    if (p->running) {
        loop_stop(p->loop);
        pthread_join(p->thread, NULL);
    }
    while (p->tasks) {
        struct pin_task *t = p->tasks;
        p->tasks = t->next;
        pin_task_free(p, t);
    }
    if (p->loop) {
        pin_unit_end(&p->units);
        loop_watch_del(p->inotify_watch);
        loop_watch_del(p->fanotify_watch);
        loop_watch_del(p->migrator_watch);
        loop_watch_del(p->hotplug_watch);
        loop_watch_del(p->wake_watch);
        loop_timer_del(p->tick);
        loop_timer_del(p->retry);
        loop_free(p->loop);
    }
    pin_migrate_end(&p->migrator);
    pin_watch_end(&p->watch);
    pin_writer_end(&p->writers);
    fd_close(p->hotplug_fd);
    fd_close(p->wake_fd);
    cgroup_file_close(&p->online);
    pin_nodes_done(&p->nodes);
    free(p->cgroup_root);
    free(p->bus_address);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void pin_wake(struct pin *p) {
    uint64_t one = 1;
    int keep = errno;
    if (p && p->wake_fd >= 0 && write(p->wake_fd, &one, sizeof(one)) < 0)
        errno = keep; /* EAGAIN: the eventfd's counter is full, so it is readable anyway */
}

const char *pin_disabled_reason(const struct pin *p) {
    return p->reason;
}
