/* SPDX-License-Identifier: MPL-2.0 */
/* TaskStats. One timer of the streams thread serves all open streams. It reads the containers'
 * cgroup files through file descriptors that stay open; the time of a sample is the time of the
 * read. Docker's one-shot request is used only where the files cannot be read (Docker on another
 * machine), by a thread of the pool.
 *
 * Percent is relative to one core (two busy cores: 200), as the built-in driver reports it. Ticks
 * are the MHz used. */
#include "src/task/driver_priv.h"

#include "paddock/cgroup_stats.h"
#include "paddock/clock.h"

#include <stdio.h>
#include <string.h>

#define STATS_INTERVAL_MIN_US (100 * US_PER_MS)

struct stats_list {
    struct driver *d;
    struct fan fan; /* its lock guards the streams; its subscriptions are struct stats_stream */
    struct loop_timer *timer;
    bool asking;         /* docker_work() runs; under the fan's lock */
    double mhz_per_core; /* 0 = not looked up yet */
};

struct stats_stream {
    struct driver_sub sub; /* must be the first field */
    struct task *task;
    uint64_t interval_us, next_us;
    bool open, ended;
    uint64_t asked_us; /* has waited for Docker's answer since then; 0 = does not wait */
    pid_t pid;         /* of `files` */
    struct cgroup_stats files;
    /* the previous sample */
    bool has_last;
    uint64_t last_us;
    struct cgroup_usage last;
};

int task_stats_list_new(struct driver *d, struct stats_list **ret) {
    struct stats_list *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->d = d;
    fan_init(&s->fan);
    *ret = s;
    return 0;
}

void task_stats_list_free(struct stats_list *s) {
    if (!s)
        return;
    loop_timer_del(s->timer);
    fan_done(&s->fan);
    free(s);
}

/* ---- MHz of one core ---- */

/* The maximum of cpufreq, or the first "cpu MHz" of /proc/cpuinfo, or 1000. Nomad clients up to 1.6
 * do not send the node's frequency. */
static double read_core_mhz(void) {
    char line[256];
    double mhz = 0;
    FILE *f = fopen("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "re");
    if (f) {
        if (fgets(line, sizeof(line), f))
            mhz = strtod(line, NULL) / 1000;
        fclose(f);
    }
    f = mhz > 0 ? NULL : fopen("/proc/cpuinfo", "re");
    while (f && fgets(line, sizeof(line), f) && mhz <= 0)
        if (strncmp(line, "cpu MHz", 7) == 0 && strchr(line, ':'))
            mhz = strtod(strchr(line, ':') + 1, NULL);
    if (f)
        fclose(f);
    return mhz > 0 ? mhz : 1000;
}

static double core_mhz(struct stats_list *s) {
    AUTO_CONFIG struct config_snapshot *c = client_config_get(s->d);
    if (c && c->c.node_total_compute_mhz && c->c.node_cores)
        return (double)c->c.node_total_compute_mhz / c->c.node_cores;
    if (s->mhz_per_core <= 0)
        s->mhz_per_core = read_core_mhz();
    return s->mhz_per_core;
}

/* ---- from two samples to figures (pure) ---- */

static double percent_of(uint64_t now, uint64_t before, uint64_t elapsed_us) {
    if (now <= before || elapsed_us == 0)
        return 0;
    return (double)(now - before) / ((double)elapsed_us * 1000) * 100;
}

static void fill_stats(const struct cgroup_usage *u, const struct cgroup_usage *last,
                       uint64_t elapsed_us, double mhz, struct driver_stats *ret) {
    *ret = (struct driver_stats){
        .throttled_periods = u->throttled_periods,
        .throttled_time_ns = u->throttled_ns,
        .rss = u->rss,
        .cache = u->cache,
        .swap = u->swap,
        .usage = u->usage,
        .max_usage = u->max_usage,
        .kernel_usage = u->kernel,
        .has_max_usage = u->has_max_usage,
        .has_kernel = u->has_kernel,
    };
    if (last) {
        ret->percent = percent_of(u->cpu_ns, last->cpu_ns, elapsed_us);
        ret->user_percent = percent_of(u->user_ns, last->user_ns, elapsed_us);
        ret->system_percent = percent_of(u->system_ns, last->system_ns, elapsed_us);
        ret->total_ticks = ret->percent / 100 * mhz;
    }
}

/* ---- one stream ---- */

static void publish_sample(struct stats_stream *x, const struct driver_stats *s) {
    ((void (*)(void *, const struct driver_stats *))x->sub.on)(x->sub.ctx, s);
}

static void close_files(struct stats_stream *x) {
    if (x->open)
        cgroup_stats_close(&x->files);
    x->open = false;
}

static void end_stream(struct stats_stream *x) {
    if (x->ended)
        return;
    x->ended = true;
    x->asked_us = 0;
    close_files(x);
    publish_sample(x, NULL);
}

static void take_sample(struct stats_list *s, struct stats_stream *x,
                        const struct cgroup_usage *u) {
    struct driver_stats out;
    uint64_t now = clock_now_us();
    fill_stats(u, x->has_last ? &x->last : NULL, now - x->last_us, core_mhz(s), &out);
    out.time_ns = clock_wall_ns();
    x->last = *u;
    x->last_us = now;
    x->has_last = true;
    publish_sample(x, &out);
}

/* Opens the files of the container's current cgroup. A restarted container has a new cgroup. */
static bool open_files(struct stats_list *s, struct stats_stream *x, const struct task_look *now) {
    if (x->open && x->pid == now->pid)
        return true;
    close_files(x);
    x->pid = now->pid;
    x->open =
        now->pid > 0 && cgroup_stats_open(s->d->proc_fd, s->d->cgroup_root_fd, s->d->cgroup_v2,
                                          now->pid, now->container_id, &x->files) == 0;
    return x->open;
}

/* ---- Docker's one-shot call, where files cannot be read ---- */

static uint64_t number_at(const json_t *j, const char *a, const char *b, const char *c) {
    j = json_object_get(json_object_get(j, a), b);
    if (c)
        j = json_object_get(j, c);
    double v = json_number_value(j);
    return v > 0 ? (uint64_t)v : 0;
}

static void usage_from_docker(const json_t *j, struct cgroup_usage *u) {
    *u = (struct cgroup_usage){
        .cpu_ns = number_at(j, "cpu_stats", "cpu_usage", "total_usage"),
        .user_ns = number_at(j, "cpu_stats", "cpu_usage", "usage_in_usermode"),
        .system_ns = number_at(j, "cpu_stats", "cpu_usage", "usage_in_kernelmode"),
        .throttled_periods = number_at(j, "cpu_stats", "throttling_data", "throttled_periods"),
        .throttled_ns = number_at(j, "cpu_stats", "throttling_data", "throttled_time"),
        .rss = number_at(j, "memory_stats", "stats", "rss"),
        .cache = number_at(j, "memory_stats", "stats", "cache"),
        .swap = number_at(j, "memory_stats", "stats", "swap"),
        .usage = number_at(j, "memory_stats", "usage", NULL),
        .max_usage = number_at(j, "memory_stats", "max_usage", NULL),
    };
    if (!u->rss)
        u->rss = number_at(j, "memory_stats", "stats", "anon");
    if (!u->cache)
        u->cache = number_at(j, "memory_stats", "stats", "file");
    u->has_max_usage = u->max_usage > 0;
}

/* The stream that has waited longest for Docker's answer; NULL when none waits. The caller holds
 * the lock. */
static struct stats_stream *next_asked(struct stats_list *s) {
    struct stats_stream *first = NULL;
    for (struct driver_sub *sub = s->fan.first; sub; sub = sub->next) {
        struct stats_stream *x = (struct stats_stream *)sub;
        if (x->asked_us && (!first || x->asked_us < first->asked_us))
            first = x;
    }
    return first;
}

/* Gives Docker's answer to all streams of the task that wait for it. @u: NULL = Docker did
 * not answer. */
static void take_answer(struct stats_list *s, const struct task *t, const struct cgroup_usage *u) {
    for (struct driver_sub *sub = s->fan.first; sub; sub = sub->next) {
        struct stats_stream *x = (struct stats_stream *)sub;
        if (!x->asked_us || x->task != t)
            continue;
        x->asked_us = 0;
        if (u && !x->ended)
            take_sample(s, x, u);
    }
}

/* Asks Docker for one task after the other, on one thread of the pool. A slow Docker then only
 * makes samples late, and takes no thread from the inspections of containers that have ended. */
static void docker_work(void *arg) {
    struct stats_list *s = arg;
    struct stats_stream *x;
    pthread_mutex_lock(&s->fan.lock);
    while ((x = next_asked(s)) && !atomic_load(&s->d->ending)) {
        AUTO_TASK struct task *t =
            store_task_ref(x->task); /* the stream may close during the request */
        pthread_mutex_unlock(&s->fan.lock);
        const struct task_look now = store_look(t);
        struct call call = call_within(NULL, s->d->timeout_us);
        call.cancel = &s->d->ended;
        AUTO_JSON json_t *j = NULL;
        struct cgroup_usage u;
        bool ok = docker_container_stats(s->d->docker, &call, now.container_id, &j, NULL) == 0;
        if (ok)
            usage_from_docker(j, &u);
        pthread_mutex_lock(&s->fan.lock);
        take_answer(s, t, ok ? &u : NULL);
    }
    s->asking = false;
    pthread_mutex_unlock(&s->fan.lock);
}

/* Asks Docker for a sample. A stream that still waits for an answer keeps its place. */
static void ask_docker(struct stats_list *s, struct stats_stream *x, uint64_t now_us) {
    if (!x->asked_us)
        x->asked_us = now_us;
    if (!s->asking)
        s->asking = pool_run(s->d->pool, docker_work, s) == 0;
}

static void serve_stream(struct stats_list *s, struct stats_stream *x, uint64_t now_us) {
    struct task_look now = store_look(x->task);
    struct cgroup_usage u;
    if (now.phase == TASK_EXITED)
        end_stream(x);
    else if (open_files(s, x, &now) && cgroup_stats_read(&x->files, &u) == 0)
        take_sample(s, x, &u);
    else if (now.phase == TASK_RUNNING)
        ask_docker(s, x, now_us);
}

static void on_timer(void *arg) {
    struct stats_list *s = arg;
    uint64_t now = clock_now_us(), next = 0;
    pthread_mutex_lock(&s->fan.lock);
    for (struct driver_sub *sub = s->fan.first; sub; sub = sub->next) {
        struct stats_stream *x = (struct stats_stream *)sub;
        if (x->ended)
            continue;
        if (x->next_us <= now) {
            serve_stream(s, x, now);
            /* Multiples of the interval, so that streams with the same interval share a wake-up. */
            x->next_us = (now / x->interval_us + 1) * x->interval_us;
        }
        if (!next || x->next_us < next)
            next = x->next_us;
    }
    pthread_mutex_unlock(&s->fan.lock);
    loop_timer_at(s->timer, next);
}

/* A new stream may be due before the time that the timer is set to. Context: the streams thread. */
static void set_timer(void *arg) {
    struct stats_list *s = arg;
    if (!s->timer && loop_timer_new(s->d->loop, on_timer, s, &s->timer) < 0)
        return;
    on_timer(s);
}

static void close_stream(struct driver_sub *sub) {
    struct stats_stream *x = (struct stats_stream *)sub;
    fan_remove(sub);
    close_files(x);
    store_task_unref(x->task);
    free(x);
}

int task_stats(struct driver *d, const char *task_id, int64_t interval_us,
               void (*on)(void *ctx, const struct driver_stats *s), void *ctx,
               struct driver_sub **ret, struct err *err) {
    struct task *t = store_get(d->store, task_id);
    if (!t)
        return client_not_found(err);
    struct stats_stream *x = calloc(1, sizeof(*x));
    if (!x) {
        store_task_unref(t);
        return err_oom(err);
    }
    uint64_t interval = interval_us > 0 ? (uint64_t)interval_us : US_PER_SEC;
    if (interval < STATS_INTERVAL_MIN_US)
        interval = STATS_INTERVAL_MIN_US;
    *x = (struct stats_stream){.task = t, .interval_us = interval};
    x->sub = (struct driver_sub){
        .close = close_stream, .fan = &d->stats->fan, .on = (void (*)(void))on, .ctx = ctx};
    pthread_mutex_lock(&d->stats->fan.lock);
    fan_add_locked(&d->stats->fan, &x->sub);
    pthread_mutex_unlock(&d->stats->fan.lock);
    if (loop_post(d->loop, set_timer, d->stats) < 0) {
        close_stream(&x->sub);
        return err_oom(err);
    }
    *ret = &x->sub;
    return 0;
}

void task_stats_ended(struct stats_list *s, const char *task_id) {
    pthread_mutex_lock(&s->fan.lock);
    for (struct driver_sub *sub = s->fan.first; sub; sub = sub->next) {
        struct stats_stream *x = (struct stats_stream *)sub;
        if (strcmp(x->task->id, task_id) == 0)
            end_stream(x);
    }
    pthread_mutex_unlock(&s->fan.lock);
}
