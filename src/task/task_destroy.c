/* SPDX-License-Identifier: MPL-2.0 */
/* DestroyTask.
 *
 * It ends the container when it runs (only with force), delivers the last log lines,
 * removes the container, and drops everything that the driver knows of the task. An unknown task is
 * success, because Nomad sends DestroyTask after each end. A container that cannot be removed is no
 * error, because Nomad could not do anything about it; removals.c removes it later. What a client
 * expects of the call is in docs/internals/nomad-host.md, Life of a task. */
#include "src/task/driver_priv.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include <string.h>

/* DestroyTask waits for the last log lines to reach Nomad's FIFOs. It waits this long for a reader
 * that takes nothing. When Docker has not sent the lines, it waits as long as for any answer of
 * Docker: a dockerd that was just started reads its whole files again. */
#define DESTROY_READER_US (3 * US_PER_SEC)

static int end_by_force(struct driver *d, const struct call *call, struct task *t,
                        struct err *err) {
    struct call within = call_within(call, d->timeout_slow_us);
    const struct task_look now = store_look(t);
    int r = docker_container_kill(d->docker, &within, now.container_id, "SIGKILL", err);
    if (r == -ENOENT || r == -EEXIST) { /* removed, or not running */
        err_clear(err);
        r = 0;
    }
    if (r < 0)
        return err_wrap(err, r, "Failed to kill container %s", now.container_id);
    if (exit_check(d, t, -1) < 0)
        log_debug("destroy", LOG_KV("task_id", t->id), "the exit code is not known, ignoring");
    return 0;
}

/* Removes or, when it is to be kept, stops the container. Docker may have started it again after
 * its end, by hand or by a restart policy that somebody set. Returns whether the container has to
 * be removed later, because it cannot be removed now: Nomad could do nothing about an error. */
static bool clean_up(struct driver *d, const struct call *call, struct task *t, bool remove) {
    struct call within = call_within(call, d->timeout_slow_us);
    const struct task_look now = store_look(t);
    struct err err = {0};
    int r = remove ? docker_container_remove(d->docker, &within, now.container_id, true, &err)
                   : docker_container_stop(d->docker, &within, now.container_id, 0, &err);
    /* 404: removed; 409: being removed */
    if (r == 0 || r == -ENOENT || (r == -EEXIST && !remove))
        return false;
    if (r != -EEXIST)
        log_warn("destroy", LOG_KV("task_id", t->id, "error", err.text),
                 remove ? "the container could not be removed, retrying"
                        : "the container could not be stopped, ignoring");
    return remove;
}

int task_destroy(struct driver *d, const struct call *call, const char *task_id, bool force,
                 struct err *err) {
    AUTO_TASK struct task *t = store_get(d->store, task_id);
    if (!t)
        return 0;
    AUTO_CONFIG struct config_snapshot *c = client_config_get(d);
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
    /* The logs are delivered before the container, and its log with it, is removed. */
    struct call drain =
        call_within(NULL, d->timeout_us > DESTROY_READER_US ? d->timeout_us : DESTROY_READER_US);
    if (now.logs && d->pump &&
        logpump_finish(d->pump, &drain, DESTROY_READER_US, task_id, NULL) < 0)
        log_debug("destroy", LOG_KV("task_id", task_id), "logs did not end in time");
    if (now.container_id[0] && d->pump)
        logpump_forget(d->pump, now.container_id);
    bool left = now.container_id[0] && clean_up(d, call, t, c->c.gc_container);
    if (c->c.gc_container || !now.container_id[0])
        sources_leave(d, t); /* a kept container can be started by hand and needs its mounts */
    if (now.image_id[0])
        image_users_release(d->images, now.image_id, task_id);
    task_stats_ended(d->stats, task_id);
    exit_task_leaves(d, t);
    if (left) /* it belongs to no task now */
        removals_add(d->removals, now.container_id);
    return 0;
}
