/* SPDX-License-Identifier: MPL-2.0 */
/* Creates and removes the container of a start.
 *
 * A failed create is repeated when it may succeed the next time. A container that already has the
 * name is adopted when it is this task's own from before a crash of the plugin; otherwise it is
 * removed. What Docker answers to these calls is in docs/internals/docker.md, Create and start. */
#include "src/task/task_start.h"

#include "paddock/docker_refusal.h"
#include "paddock/log.h"

#include <stdio.h>
#include <string.h>

#define START_LEFTOVER_S 10 /* for an unknown kill_timeout: Docker's default */

/* True when an immediate retry makes sense. After a timeout it does not; Nomad's restart policy
 * will retry. */
static bool is_transient(int r) {
    return r == -EIO || r == -ENOTCONN || r == -EPROTO;
}

bool task_start_container_may_pass(int r, const struct err *failed) {
    return is_transient(r) && !(r == -EIO && docker_refusal_is_final(failed->text));
}

/* Ends a leftover container. A running one gets its stop signal first. Its kill_timeout is not
 * known, so Docker's default is used. */
static int stop_leftover(struct start *s, const struct docker_state *state, struct err *err) {
    struct call call = start_slow_call(s);
    int r = state->running
                ? docker_container_stop(s->d->docker, &call, state->id, START_LEFTOVER_S, err)
                : 0;
    if (r == 0)
        r = docker_container_remove(s->d->docker, &call, state->id, true, err);
    if (r == -ENOENT || r == -EEXIST) { /* removed already, or being removed */
        err_clear(err);
        r = 0;
    }
    return r;
}

/* The container name is in use. A running container with the same task id is ours from before
 * a crash: it is adopted. Any other container of this name is a leftover of this very task
 * and allocation: it is stopped and removed. Returns 1 when adopted; 0 when the name is free
 * now; -errno. */
static int resolve_conflict(struct start *s, struct err *err) {
    struct call call = start_slow_call(s);
    struct docker_state state;
    AUTO_JSON json_t *inspect = NULL;
    int r = docker_container_inspect(s->d->docker, &call, s->name, &state, &inspect, err);
    if (r == -ENOENT) {
        err_clear(err);
        return 0;
    }
    if (r < 0)
        return r;
    json_t *labels = json_object_get(json_object_get(inspect, "Config"), "Labels");
    const char *id = json_string_value(json_object_get(labels, LABEL_TASK_ID));
    if (state.running && id && strcmp(id, s->config->id) == 0) {
        snprintf(s->container_id, sizeof(s->container_id), "%s", state.id);
        return 1;
    }
    log_info("start", LOG_KV("task_id", s->config->id, "container_id", state.id),
             "removing a leftover container of the same name");
    return stop_leftover(s, &state, err);
}

/* Returns whether Nomad's restart policy may try again, as in the built-in driver. A 5xx that stays
 * after our own attempts is final, because the same request would always fail. */
static bool create_is_recoverable(int r, const struct err *err) {
    if (image_pull_lacks_platform(err->text))
        return false;
    return r == -ENOENT || r == -ETIMEDOUT || r == -ENOTCONN || r == -EPROTO ||
           strstr(err->text, "duplicate mount point");
}

int task_start_container_create(struct start *s, struct err *err) {
    unsigned conflicts = 0, transients = 0;
    uint64_t backoff = START_BACKOFF_US;
    s->adopted = false;
    for (;;) {
        struct call call = start_slow_call(s);
        struct err failed = {0};
        int r = docker_container_create(s->d->docker, &call, s->name, s->body, s->container_id,
                                        &failed);
        /* A 500 does not prove that nothing was created: curl repeats a request by itself when a
         * kept-alive connection breaks. */
        s->unanswered |= r == -ETIMEDOUT || r == -ECANCELED || is_transient(r);
        if (r == 0)
            return 0;
        bool retry = false;
        if (r == -EEXIST && ++conflicts <= s->plugin->container_exists_attempts) {
            err_clear(&failed);
            int c = resolve_conflict(s, &failed);
            s->adopted = c > 0;
            if (c > 0)
                return 0;
            retry = c == 0;
            r = c < 0 ? c : r;
        } else if (task_start_container_may_pass(r, &failed) &&
                   ++transients < START_TRANSIENT_TRIES) {
            retry = true;
        }
        if (!retry)
            return err_set(err, create_is_recoverable(r, &failed) ? ERR_RECOVERABLE : ERR_PLAIN, -r,
                           "Failed to create container: %s", failed.text);
        backoff *= 2;
        r = call_sleep(s->call, backoff);
        if (r < 0)
            return err_set(err, ERR_PLAIN, -r, "Failed to create container: %s", failed.text);
    }
}

int task_start_container_discard(const struct start *s, const struct call *call,
                                 const char *container, struct err *err) {
    struct err failed = {0};
    if (s->adopted &&
        docker_container_stop(s->d->docker, call, container, START_LEFTOVER_S, &failed) < 0)
        log_debug("start", LOG_KV("container", container, "error", failed.text),
                  "an adopted container could not be stopped in order, ignoring");
    return docker_container_remove(s->d->docker, call, container, true, err);
}

int task_start_container_remove(struct start *s, const char *why, struct err *err) {
    struct call call = start_slow_call(s);
    int r = task_start_container_discard(s, &call, s->container_id, err);
    if (r == -ENOENT || r == -EEXIST) { /* removed, or being removed: the name is checked next */
        err_clear(err);
        r = 0;
    }
    if (r < 0)
        return err_wrap(err, r, "Failed to remove container %s %s", s->container_id, why);
    s->container_id[0] = '\0';
    return 0;
}
