/* The reconciler's thread: it keeps each container's cpuset on the set that Nomad wants, because
 * other processes write it too. Events start a pass over the changed tasks. A tick reads everything
 * again. Whatever is retried has a timer of its own, so that it does not wait for the tick.
 *
 * Costs: nothing is allocated or opened while nothing changes. The thread runs with the lowest
 * real-time priority where that is allowed. On 2 cores with a load of 25, the last of 100
 * containers was then off a core after 0.13 ms (median) and 4 ms (worst), and without it after 2
 * and 250 ms. */
#include "src/pin/pin_priv.h"
#include "src/pin/pin_realtime.h"

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

/* ---- a pass ---- */

static uint64_t thread_cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void watch_parent(struct pin *p, struct pin_parent *x) {
    if (x->cpus.fd < 0)
        x->watch = pin_watch_del(p, x->watch);
    if (x->reserve.fd < 0)
        x->reserve_watch = pin_watch_del(p, x->reserve_watch);
    if (x->watch < 0 && x->cpus.fd >= 0)
        x->watch = pin_watch_add(p, &x->cpus);
    if (x->reserve_watch < 0 && x->reserve.fd >= 0)
        x->reserve_watch = pin_watch_add(p, &x->reserve);
}

/* One read per pass. The kernel reports no change of an effective set. */
static void read_online(struct pin *p) {
    if (p->online.fd < 0 &&
        cgroup_file_open(p->o.cgroup_root_fd, "cpuset.cpus.effective", &p->online) < 0)
        return;
    p->online_changed = cgroup_file_read(&p->online, p->scratch, sizeof(p->scratch)) != 0;
}

static void read_parents(struct pin *p, bool at_tick) {
    for (struct pin_parent *x = p->parents; x; x = x->next) {
        bool dirty = x->dirty || at_tick;
        /* Also when the text is the same: the effective sets below may have changed in between. */
        x->changed = x->dirty;
        x->dirty = false;
        if (dirty && pin_parent_read(x, p->o.cgroup_root_fd, p->scratch, sizeof(p->scratch)))
            x->changed = true;
        watch_parent(p, x);
    }
}

static void set_earlier(uint64_t *at, uint64_t us) {
    if (us && (!*at || us < *at))
        *at = us;
}

/* The timer of all that is tried again: it does not wait for the tick, which may be an hour away.
 */
static void arm_retry(struct pin *p) {
    uint64_t at = p->want_snapshot ? clock_now_us() + PIN_BACKOFF_MIN_US : 0;
    for (const struct pin_task *t = p->tasks; t; t = t->next) {
        set_earlier(&at, t->retry_at_us);
        set_earlier(&at, pin_note_next_us(p, t));
        set_earlier(&at, pin_unit_next_us(p, t));
        if (p->inotify_fd >= 0 && t->cpus.fd >= 0 && t->watch < 0 && !t->watch_off)
            set_earlier(&at, p->watch_retry_us);
    }
    loop_timer_at(p->retry, at);
}

static bool is_due(const struct pin *p, const struct pin_task *t, uint64_t now_us) {
    return (t->retry_at_us && t->retry_at_us <= now_us) ||
           (t->watch < 0 && t->cpus.fd >= 0 && !t->watch_off && p->watch_retry_us &&
            p->watch_retry_us <= now_us);
}

void pin_pass(struct pin *p, bool at_tick) {
    uint64_t cpu = thread_cpu_ns(), now = clock_now_us();
    pthread_mutex_lock(&p->lock);
    read_online(p);
    read_parents(p, at_tick);
    for (struct pin_task *t = p->tasks; t; t = t->next) {
        if (at_tick || p->online_changed || t->dirty || t->source_dirty ||
            (t->parent && t->parent->changed) || is_due(p, t, now))
            pin_task_look(p, t, at_tick, now);
        pin_note_state(p, t, NULL, now);
    }
    cpu = thread_cpu_ns() - cpu;
    p->counters.passes++;
    p->counters.pass_cpu_ns += cpu;
    if (at_tick) {
        p->counters.ticks++;
        p->counters.tick_cpu_ns += cpu;
    }
    pthread_mutex_unlock(&p->lock);
    pin_note_flush(p);
    pin_unit_send(p);
    pin_affinity_follow(p);
    arm_retry(p);
}

/* ---- the snapshot ---- */

static void free_coords(struct pin_coord *c, size_t n) {
    for (size_t i = 0; i < n; i++)
        pin_coord_done(&c[i]);
    free(c);
}

static bool same_task(const struct pin_task *t, const struct pin_coord *c) {
    return strcmp(t->c.container_id, c->container_id) == 0 &&
           strcmp(t->c.task_id, c->task_id) == 0 && strcmp(t->c.source, c->source) == 0 &&
           strcmp(t->c.reserved, c->reserved) == 0;
}

/* The store's order is stable, so the one behind the last hit is nearly always it. */
static struct pin_task *find_task(struct pin *p, struct pin_task *hint, const struct pin_coord *c) {
    if (hint && same_task(hint, c))
        return hint;
    for (struct pin_task *t = p->tasks; t; t = t->next)
        if (same_task(t, c))
            return t;
    return NULL;
}

static struct pin_task *take_coord(struct pin *p, struct pin_task *hint, struct pin_task **tail,
                                   struct pin_coord *c) {
    struct pin_task *t = find_task(p, hint, c);
    if (t) {
        if (t->c.pid != c->pid) {
            t->c.pid = c->pid;
            t->dirty = true;
            pin_task_close(p, t);
        }
    } else if (pin_task_new(p, c, &t) < 0) {
        return NULL; /* out of memory: at the next snapshot, which the tick asks for */
    } else {
        *tail = t;
    }
    t->seen = true;
    return t;
}

static void drop_unseen(struct pin *p) {
    struct cpuset reserved = {{0}};
    p->tasks_n = 0;
    for (struct pin_task **at = &p->tasks; *at;) {
        struct pin_task *t = *at;
        if (!t->seen) {
            *at = t->next;
            pin_task_free(p, t);
            continue;
        }
        t->seen = false;
        if (t->has_own)
            cpuset_union(&reserved, &t->own);
        p->tasks_n++;
        at = &t->next;
    }
    /* Somebody's cores came or went: the others have to leave or may return. */
    if (!cpuset_equal(&reserved, &p->reserved))
        for (struct pin_task *t = p->tasks; t; t = t->next)
            t->source_dirty = true;
    p->reserved = reserved;
}

static void merge(struct pin *p, struct pin_coord *coords, size_t n) {
    struct pin_task *hint = p->tasks;
    struct pin_task **tail = &p->tasks;
    bool lost = false;
    while (*tail)
        tail = &(*tail)->next;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < n; i++) {
        struct pin_task *t = take_coord(p, hint, tail, &coords[i]);
        while (*tail)
            tail = &(*tail)->next;
        lost = lost || !t;
        hint = t ? t->next : hint;
    }
    if (!lost)
        drop_unseen(p);
    p->want_snapshot = lost;
    pthread_mutex_unlock(&p->lock);
}

static void take_snapshot(struct pin *p) {
    struct pin_coord *coords = NULL;
    size_t n = 0;
    int r = p->o.snapshot(p->o.ctx, &coords, &n);
    p->want_snapshot = r < 0;
    if (r < 0)
        return;
    merge(p, coords, n);
    free_coords(coords, n);
}

/* ---- the thread ---- */

static void on_wake(void *ctx, uint32_t events) {
    struct pin *p = ctx;
    uint64_t count;
    (void)events;
    if (read(p->wake_fd, &count, sizeof(count)) < 0)
        return;
    take_snapshot(p);
    pin_pass(p, false);
}

static void on_tick(void *ctx) {
    struct pin *p = ctx;
    if (p->want_snapshot)
        take_snapshot(p);
    pin_pass(p, true);
    uint64_t now = clock_now_us();
    p->next_tick_us += p->o.interval_us;
    if (p->next_tick_us <= now) /* we slept: no tick is made up for */
        p->next_tick_us = now + p->o.interval_us;
    loop_timer_at(p->tick, p->next_tick_us);
}

static void on_retry(void *ctx) {
    struct pin *p = ctx;
    if (p->want_snapshot)
        take_snapshot(p);
    pin_pass(p, false);
}

static void *run(void *arg) {
    struct pin *p = arg;
    pthread_setname_np(pthread_self(), "pin");
    pin_realtime_begin(&p->o);
    take_snapshot(p);
    pin_pass(p, false);
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
    int r = -pthread_create(&p->thread, NULL, run, p);
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

/* The nodes that have memory; false when the kernel does not list them. */
static bool nodes_with_memory(int dir, struct cpuset *ret) {
    char text[1024];
    AUTO_FD int fd = openat(dir, "has_memory", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : 0;
    return n > 0 && cpuset_parse(text, (size_t)n, ret) == 0;
}

static int read_nodes(struct pin *p) {
    if (!p->o.mems_follow)
        return 0;
    AUTO_FD int dir = open(p->o.node_root ? p->o.node_root : "/sys/devices/system/node",
                           O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return 0; /* no NUMA: there is nothing to follow */
    p->node_cpus = calloc(PIN_NODES_MAX, sizeof(*p->node_cpus));
    if (!p->node_cpus)
        return -ENOMEM;
    struct cpuset memory;
    bool listed = nodes_with_memory(dir, &memory);
    for (unsigned i = 0; i < PIN_NODES_MAX; i++) {
        char name[64];
        if (listed && !cpuset_has(&memory, i))
            continue;
        snprintf(name, sizeof(name), "node%u/cpulist", i);
        AUTO_FD int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd >= 0 ? read(fd, p->scratch, sizeof(p->scratch)) : 0;
        /* A node without CPUs reads blank and stays empty. */
        if (n > 0 && cpuset_parse(p->scratch, (size_t)n, &p->node_cpus[i]) == 0)
            p->nodes_n = i + 1;
    }
    return 0;
}

static int start(struct pin *p) {
    int r = loop_new(&p->loop);
    if (r < 0)
        return r;
    p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->wake_fd < 0)
        return -errno;
    r = loop_watch_add(p->loop, p->wake_fd, EPOLLIN, on_wake, p, &p->wake_watch);
    if (r == 0)
        r = pin_watch_start(p);
    if (r == 0)
        r = loop_timer_new(p->loop, on_tick, p, &p->tick);
    if (r == 0)
        r = loop_timer_new(p->loop, on_retry, p, &p->retry);
    if (r == 0)
        r = pin_unit_start(p);
    if (r < 0)
        return r;
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
    p->wake_fd = p->inotify_fd = p->fanotify_fd = -EBADF;
    p->notes_last = &p->notes;
    p->cgroup_root = strdup(o->cgroup_root ? o->cgroup_root : "");
    p->bus_address = o->bus ? strdup(o->bus) : NULL;
    int r = p->cgroup_root && (p->bus_address || !o->bus) ? 0 : -ENOMEM;
    if (r == 0)
        r = read_nodes(p);
    if (r == 0) {
        find_reason(p);
        r = p->reason[0] ? 0 : start(p);
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
        pin_unit_stop(p);
        pin_watch_stop(p);
        pin_writer_stop(p);
        loop_watch_del(p->wake_watch);
        loop_timer_del(p->tick);
        loop_timer_del(p->retry);
        loop_free(p->loop);
    }
    fd_close(p->wake_fd);
    cgroup_file_close(&p->online);
    free(p->node_cpus);
    free(p->cgroup_root);
    free(p->bus_address);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void pin_wake(struct pin *p) {
    uint64_t one = 1;
    int keep = errno;
    if (p && p->wake_fd >= 0 && write(p->wake_fd, &one, sizeof(one)) < 0)
        errno = keep; /* full: it is readable anyway */
}

const char *pin_disabled_reason(const struct pin *p) {
    return p->reason;
}
