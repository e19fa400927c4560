/* SPDX-License-Identifier: MPL-2.0 */
/* The driver as a whole: which parts it has, when they start and in which order they end.
 *
 * plugin/ calls the functions of driver.h. The only order that is not obvious is the one of
 * driver_free(); see there. */
#include "src/task/driver_priv.h"
#include "src/task/remember.h"

#include "paddock/clock.h"
#include "paddock/docker_multi.h"
#include "paddock/log.h"
#include "paddock/parse.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <string.h>
#include <sys/statfs.h>

#define POOL_THREADS_MAX 16

static unsigned count_cpus(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        return (unsigned)CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}

/* PADDOCK_DOCKER_TIMEOUT_MS shortens every wait for Docker, for tests with a daemon that hangs. */
static void read_timeouts(struct driver *d) {
    d->timeout_us = DRIVER_TIMEOUT_US;
    d->timeout_slow_us = DRIVER_TIMEOUT_SLOW_US;
    const char *text = getenv("PADDOCK_DOCKER_TIMEOUT_MS");
    uint64_t ms;
    if (text && parse_u64(text, 3600000, &ms) == 0 && ms > 0)
        d->timeout_us = d->timeout_slow_us = ms * US_PER_MS;
}

static void open_cgroup_root(struct driver *d) {
    struct statfs fs;
    d->cgroup_root_fd = open(d->cgroup_root, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    d->cgroup_v2 = d->cgroup_root_fd >= 0 && fstatfs(d->cgroup_root_fd, &fs) == 0 &&
                   (unsigned long)fs.f_type == CGROUP2_SUPER_MAGIC;
}

int driver_new(const struct driver_options *o, struct driver **ret, struct err *err) {
    struct driver *d = calloc(1, sizeof(*d));
    if (!d)
        return err_oom(err);
    int r = 0;
    d->name = str_dup(o->name, &r);
    d->program = str_dup(o->program, &r);
    d->cgroup_root = str_dup(o->cgroup_root, &r);
    d->run_dir = str_dup(o->run_dir, &r);
    d->remembered = r == 0 ? remember_path(d->run_dir, d->name) : NULL;
    d->unfit = str_dup(o->unfit ? o->unfit : "", &r);
    d->cgroup_root_fd = d->proc_fd = d->ended.fd = -EBADF;
    d->activated = o->activated;
    d->broken = o->broken;
    d->activated_ctx = o->ctx;
    pthread_mutex_init(&d->lock, NULL);
    pthread_mutex_init(&d->pump_lock, NULL);
    task_events_init(&d->events);
    read_timeouts(d);
    d->num_cpu = count_cpus();
    if (r == 0)
        r = cancel_init(&d->ended);
    if (r == 0)
        r = docker_global_init();
    if (r == 0)
        r = store_new(&d->store);
    if (r == 0)
        r = fingerprint_new(d, &d->fingerprint);
    if (r == 0)
        r = task_stats_list_new(d, &d->stats);
    if (r == 0)
        r = task_exec_stream_list_new(d, &d->execs);
    if (r == 0)
        r = task_stop_list_new(d, &d->stops);
    if (r == 0)
        r = drains_new(d, &d->drains);
    if (r == 0)
        r = logs_retry_new(d, &d->logs_retry);
    if (r == 0)
        r = removals_new(d, &d->removals);
    if (r < 0) {
        driver_free(d);
        return err_oom(err);
    }
    open_cgroup_root(d);
    *ret = d;
    return 0;
}

/* The parts that may still call others end first: the streams thread, and then the pool, whose work
 * uses the reconciler, Docker, the images and the store. Functions that are posted to the loop pass
 * work to the pool, and the pool's work posts functions. So posted functions are run before and
 * after the pool ends, while everything that they use still exists. */
void driver_free(struct driver *d) {
    if (!d)
        return;
    atomic_store(&d->ending, true);
    cancel_fire(&d->ended);
    if (d->loop_runs) {
        loop_stop(d->loop);
        pthread_join(d->loop_thread, NULL);
        loop_run_posted(d->loop);
    }
    pool_free(d->pool);
    fingerprint_stop(d->fingerprint);
    if (d->loop)
        loop_run_posted(d->loop);
    pin_free(d->pin); /* the pool's work calls it */
    networks_free(d->networks);
    roll_call_free(d->roll_call);
    task_exec_stream_list_free(d->execs);
    task_stop_list_free(d->stops);
    drains_free(d->drains);
    logs_retry_free(d->logs_retry);
    removals_free(d->removals);
    task_stats_list_free(d->stats);
    oom_free(d->oom);
    docker_multi_free(d->requests);
    docker_events_free(d->docker_events);
    fingerprint_free(d->fingerprint);
    images_free(d->images);
    logpump_free(d->pump);
    sources_free(d->sources);
    claim_free(d->claim);
    loop_free(d->loop);
    docker_free(d->docker);
    store_free(d->store);
    client_config_put(d->config);
    task_events_done(&d->events);
    pthread_mutex_destroy(&d->lock);
    pthread_mutex_destroy(&d->pump_lock);
    fd_close(d->cgroup_root_fd);
    fd_close(d->proc_fd);
    cancel_done(&d->ended);
    free(d->owner);
    free(d->client_dir);
    free(d->allocs);
    free(d->remembered);
    free(d->name);
    strv_done(&d->plain_images);
    free(d->program);
    free(d->cgroup_root);
    free(d->run_dir);
    free(d->affinity);
    free(d->unfit);
    free(d);
}

/* ---- configuration ---- */

int driver_set_config(struct driver *d, const void *msgpack, size_t len, bool agent,
                      uint64_t total_compute_mhz, unsigned cores, struct err *err) {
    AUTO_CONFIG struct config_snapshot *c = calloc(1, sizeof(*c));
    if (!c)
        return err_oom(err);
    atomic_init(&c->refs, 1);
    int r = config_plugin_decode(msgpack, len, &c->c, err);
    if (r < 0)
        return r;
    c->c.node_total_compute_mhz = total_compute_mhz;
    c->c.node_cores = cores;
    /* An invalid endpoint is an error of the configuration. Whether Docker answers there is
     * reported by the fingerprint. */
    struct docker *probe = NULL;
    struct docker_options o = {.endpoint = c->c.endpoint,
                               .tls_cert = c->c.tls_cert,
                               .tls_key = c->c.tls_key,
                               .tls_ca = c->c.tls_ca};
    r = docker_new(&o, &probe, err);
    docker_free(probe);
    if (r < 0)
        return r;

    pthread_mutex_lock(&d->lock);
    struct config_snapshot *old = d->config;
    d->config = TAKE_PTR(c);
    pthread_mutex_unlock(&d->lock);
    client_config_put(old);
    return agent ? driver_activate(d, err) : 0;
}

/* ---- activation ---- */

static void *streams_thread(void *arg) {
    struct driver *d = arg;
    int r = loop_run(d->loop);
    if (r < 0)
        log_error("streams", LOG_KV("errno", strerror(-r)), "the event loop has ended");
    return NULL;
}

static void pin_reported(void *ctx, const struct pin_event *e) {
    struct driver *d = ctx;
    task_events_tell_pin(&d->events, e);
}

static void pin_affinity(void *ctx, const struct affinity *a) {
    client_follow_affinity(ctx, a);
}

static void pin_ended(void *ctx, int r) {
    struct driver *d = ctx;
    if (d->broken)
        d->broken(d->activated_ctx, strerror(-r));
}

static int start_docker(struct driver *d, const struct plugin_config *c, struct err *err) {
    struct docker_options o = {.endpoint = c->endpoint,
                               .tls_cert = c->tls_cert,
                               .tls_key = c->tls_key,
                               .tls_ca = c->tls_ca,
                               .timeout_us = d->timeout_us};
    int r = d->docker ? 0 : docker_new(&o, &d->docker, err);
    if (r < 0 || d->images)
        return r;
    struct images_options io = {.docker = d->docker,
                                .loop = d->loop,
                                .pool = d->pool,
                                .timeout_us = d->timeout_us,
                                .gc = c->gc_image,
                                .gc_delay_us = (uint64_t)c->gc_image_delay_us,
                                .activity_timeout_us = (uint64_t)c->pull_activity_timeout_us,
                                .auth_config = c->auth_config,
                                .auth_helper = c->auth_helper};
    r = images_new(&io, &d->images);
    return r < 0 ? err_set(err, ERR_PLAIN, -r, "images: %s", strerror(-r)) : 0;
}

/* The reconciler has one context for all its callbacks, the driver. The coordinates come from
 * the store. */
static int pin_snapshot(void *ctx, struct pin_coord **ret, size_t *ret_n) {
    struct driver *d = ctx;
    return store_snapshot(d->store, ret, ret_n);
}

static int start_pin(struct driver *d, const struct plugin_config *c) {
    if (d->proc_fd < 0)
        d->proc_fd = open("/proc", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    struct pin_options o = {.cgroup_root_fd = d->cgroup_v2 ? d->cgroup_root_fd : -EBADF,
                            .cgroup_root = d->cgroup_root,
                            .proc_fd = d->proc_fd,
                            .interval_us = (uint64_t)c->cpuset_interval_us,
                            .enabled = c->cpuset_enabled,
                            .systemd = c->cpuset_systemd,
                            .realtime = c->cpuset_realtime,
                            .own_affinity = true,
                            .mems_follow = c->cpuset_mems == CPUSET_MEMS_FOLLOW,
                            .snapshot = pin_snapshot,
                            .event = pin_reported,
                            .affinity = pin_affinity,
                            .ended = pin_ended,
                            .ctx = d};
    return pin_new(&o, &d->pin);
}

static void oom_reported(void *ctx, const char *container_id) {
    struct driver *d = ctx;
    AUTO_TASK struct task *t = store_get_container(d->store, container_id);
    if (t)
        exit_oom(d, t, container_id, clock_wall_ns());
}

/* Starts to watch memory.events. Without it Docker's own report of OOM kills is used. */
static void start_oom(struct driver *d) {
    int r = d->cgroup_v2 ? oom_new(d->loop, d->proc_fd, d->cgroup_root_fd, d->cgroup_root,
                                   oom_reported, d, &d->oom)
                         : 0;
    if (r < 0)
        log_warn("exit", LOG_KV("errno", strerror(-r)),
                 "memory.events cannot be watched: Docker tells of OOM kills, ignoring");
}

static int start_loop(struct driver *d) {
    int r = d->loop ? 0 : loop_new(&d->loop);
    if (r == 0 && !d->pool)
        r = pool_new(POOL_THREADS_MAX, &d->pool);
    return r;
}

/* Writes one line to the agent's log for each start of the plugin: what is on and what is off. */
static void log_what_is_on(const struct driver *d, const struct plugin_config *c) {
    const char *why = d->pin ? pin_disabled_reason(d->pin) : "not started";
    bool kept = !why[0];
    log_info("plugin",
             LOG_KV("driver", d->name, "version", PADDOCK_VERSION, "cgroup",
                    d->cgroup_v2 ? "v2" : "v1", "cpusets", kept ? "kept" : why, "systemd",
                    kept && c->cpuset_systemd ? "on" : "off", "realtime",
                    kept && c->cpuset_realtime ? "on" : "off", "mems",
                    kept && c->cpuset_mems == CPUSET_MEMS_FOLLOW ? "follow" : "off", "logs",
                    c->disable_log_collection ? "off" : "on", "metrics",
                    c->metrics_listen && c->metrics_listen[0] ? c->metrics_listen : "off"),
             "the driver is at work");
}

static int start_streams(struct driver *d, const struct plugin_config *c) {
    int r = 0;
    if (!d->networks)
        r = networks_new(d, &d->networks);
    if (r == 0 && !d->roll_call)
        r = roll_call_new(d, &d->roll_call);
    if (r == 0 && !d->requests)
        r = docker_multi_new(d->docker, d->loop, &d->requests);
    if (r == 0 && !d->docker_events)
        r = docker_events_new(d->docker, d->loop, &exit_events_ops, d, &d->docker_events);
    if (r < 0)
        return r;
    fingerprint_start(d->fingerprint);
    networks_start(d->networks, c);
    log_what_is_on(d, c);
    if (d->activated)
        d->activated(d->activated_ctx, d->loop, c->metrics_listen ? c->metrics_listen : "");
    d->activated = NULL; /* called only once */
    r = -pthread_create(&d->loop_thread, NULL, streams_thread, d);
    d->loop_runs = r == 0;
    return r;
}

/* Each part is created once. After an error in the middle, the next attempt continues there. */
int driver_activate(struct driver *d, struct err *err) {
    AUTO_CONFIG struct config_snapshot *c = client_config_get(d);
    if (!c)
        return err_set(err, ERR_PLAIN, ENOTCONN,
                       "the driver has not been configured yet (SetConfig)");
    pthread_mutex_lock(&d->lock);
    int r = 0;
    if (!d->active) {
        r = start_loop(d);
        if (r == 0)
            r = start_docker(d, &c->c, err);
        if (r == 0 && !d->pin)
            r = start_pin(d, &c->c); /* before the threads that call it */
        if (r == 0 && !d->oom)
            start_oom(d);
        if (r == 0)
            r = start_streams(d, &c->c);
        d->active = r == 0;
    }
    pthread_mutex_unlock(&d->lock);
    return r < 0 ? err_set(err, ERR_PLAIN, -r, "the driver cannot start: %s", strerror(-r)) : 0;
}

int driver_init(struct driver *d, struct err *err) {
    return driver_activate(d, err);
}

bool driver_disables_log_collection(struct driver *d) {
    AUTO_CONFIG struct config_snapshot *c = client_config_get(d);
    return c && c->c.disable_log_collection;
}

/* ---- task events ---- */

int driver_task_events(struct driver *d, void (*on)(void *ctx, const struct driver_event *e),
                       void *ctx, struct driver_sub **ret, struct err *err) {
    int r = task_events_listen(&d->events, on, ctx, ret);
    return r < 0 ? err_oom(err) : 0;
}
