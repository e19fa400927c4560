/* SPDX-License-Identifier: MPL-2.0 */
/* Starts the created container and inspects it.
 *
 * While Docker starts it, the log pump is made ready for its output. A start that failed and may
 * succeed the next time is repeated with a new container. Docker reports some failures only in what
 * an inspection shows: a container that is still "created", or one without its networks. See
 * docs/internals/docker.md, Create and start. */
#include "src/task/task_start.h"

#include "paddock/docker_refusal.h"
#include "paddock/log.h"

#include <string.h>

#define START_LOGS_US (2 * US_PER_SEC) /* the container runs by then and must be inspected */

/* Waits for the answer to the start. Sets *@ret_again when another container may start. */
static int wait_started(struct start *s, struct docker_begun *asked, bool *ret_again,
                        struct err *err) {
    struct call call = start_slow_call(s);
    struct err failed = {0};
    int r = asked ? docker_container_start_end(asked, &call, &failed)
                  : docker_container_start(s->d->docker, &call, s->container_id, &failed);
    *ret_again = r < 0 && task_start_container_may_pass(r, &failed);
    if (r == 0)
        return 0;
    return err_set(err, r == -ETIMEDOUT || *ret_again ? ERR_RECOVERABLE : ERR_PLAIN, -r,
                   "Failed to start container %s: %s", s->container_id, failed.text);
}

/* Starts the container. While Docker does so, the log pump is made ready for its output. */
static int ask_for_start(struct start *s, bool *ret_again, struct err *err) {
    struct docker_begun *asked = docker_container_start_begin(s->d->docker, s->container_id);
    struct call soon = call_within(s->call, START_LOGS_US);
    s->prepared = logs_prepare(s->d, &soon, s->task, false);
    return wait_started(s, asked, ret_again, err);
}

/* A dockerd that runs without a bridge (--bridge=none) has no network "bridge". Its containers
 * start without one. A running dockerd never gets a bridge, so the fingerprint's answer holds. */
static bool lacks_network(const struct start *s) {
    struct call call = call_within(s->call, s->d->timeout_us);
    const char *wanted = create_compare_wanted_network(s->body);
    if (strcmp(wanted, "bridge") == 0 && fingerprint_lacks_bridge(s->d->fingerprint))
        return true;
    return docker_system_has_network(s->d->docker, &call, wanted, NULL) == 0;
}

/* A container that still is "created" does not run and will never end. A running one must have the
 * networks and ports of the request. */
static int check_started(struct start *s, struct err *err) {
    struct err failed = {0};
    if (strcmp(s->state.status, "created") == 0)
        return err_set(err, docker_refusal_is_final(s->state.error) ? ERR_PLAIN : ERR_RECOVERABLE,
                       ESRCH, "Failed to start container %s: it was not started%s%s",
                       s->container_id, s->state.error[0] ? ": " : "", s->state.error);
    int r = s->state.running ? create_compare_ports(s->body, s->inspect, &failed) : 0;
    if (r == 0 || (r == -ENETUNREACH && lacks_network(s)))
        return 0;
    return err_set(err, failed.cls, -r, "Failed to start container %s: %s", s->container_id,
                   failed.text);
}

static int inspect_container(struct start *s, bool *ret_again, struct err *err) {
    struct call call = call_within(s->call, s->d->timeout_us);
    int r =
        docker_container_inspect(s->d->docker, &call, s->container_id, &s->state, &s->inspect, err);
    *ret_again = false;
    if (r < 0) {
        err_reclass(err, r, ERR_RECOVERABLE);
        return err_wrap(err, r, "Failed to inspect container %s", s->container_id);
    }
    r = check_started(s, err);
    *ret_again = r < 0 && err->cls == ERR_RECOVERABLE;
    if (r < 0)
        return r;
    /* From here on the container is pinned, however long the rest takes. */
    exit_task_runs(s->d, s->task, &s->state);
    if (!s->state.running) /* a short task: its die event may not have come yet */
        r = exit_check(s->d, s->task, s->state.exit_code);
    return r < 0
               ? err_set(err, ERR_RECOVERABLE, -r, "container %s does not answer", s->container_id)
               : 0;
}

static bool wants_logs(const struct start *s) {
    return !s->plugin->disable_log_collection &&
           !(strcmp(s->config->stdout_path, "/dev/null") == 0 &&
             strcmp(s->config->stderr_path, "/dev/null") == 0);
}

/* Keeps the FIFOs open until the start has ended, because Nomad's logmon stops reading when the
 * last writer closes. logs_follow() reports a FIFO that cannot be opened. */
static void hold_fifos(struct start *s) {
    if (store_look(s->task).logs && s->fifos[0] < 0 &&
        (pump_fifo_open(s->task->stdout_path, &s->fifos[0]) < 0 ||
         pump_fifo_open(s->task->stderr_path, &s->fifos[1]) < 0))
        log_debug("start", LOG_KV("task_id", s->task->id), "log FIFOs are not there");
}

/* Replaces the container whose start failed. It is not started again, because Docker 29 would then
 * omit its networks. */
static int replace_container(struct start *s, struct err *err) {
    hold_fifos(s);
    logs_drop(s->d, s->task);
    if (s->d->pump)
        logpump_forget(s->d->pump, s->container_id);
    json_decref(TAKE_PTR(s->inspect));
    int r = task_start_container_remove(s, "after a failed start", err);
    return r < 0 ? r : task_start_container_create(s, err);
}

int task_start_run(struct start *s, struct err *err) {
    uint64_t backoff = START_BACKOFF_US;
    for (unsigned tries = 1;; tries++) {
        struct err failed = {0};
        bool again;
        /* The store knows the container's id before the container runs, so that an immediate end
         * finds its task. */
        store_set_container(s->task, s->container_id, s->image.id, s->job.tty, wants_logs(s));
        task_start_cpuset_refresh(s);
        int r = ask_for_start(s, &again, &failed);
        if (r == 0)
            r = inspect_container(s, &again, &failed);
        if (r == 0)
            return 0;
        backoff *= 2;
        if (!again || tries >= START_TRANSIENT_TRIES || call_sleep(s->call, backoff) < 0)
            return err_set(err, failed.cls, -r, "%s", failed.text);
        log_info("start", LOG_KV("task_id", s->config->id, "error", failed.text),
                 "the container is created again, retrying");
        r = replace_container(s, err);
        if (r < 0)
            return r;
    }
}
