/* SPDX-License-Identifier: MPL-2.0 */
/* Finds and removes dangling containers: they have our label, but belong to no known task.
 *
 * A timer of src/task/networks.c calls it on the pool. docker_dangling_decide() is pure. Docker's
 * list is a picture of one moment, so a container is young or tracked at the time of the decision
 * only: the grace period covers the time in which StartTask has not yet stored its container. */
#include "paddock/docker_dangling.h"

#include "paddock/labels.h"
#include "paddock/log.h"

#include <string.h>

#define STOP_SEC 10 /* Docker's default: the task's kill_timeout is not known */

int docker_dangling_decide(const json_t *list, const struct docker_dangling_rule *rule,
                           struct strv *ret) {
    AUTO_STRV struct strv ids = {0};
    size_t i;
    json_t *c;
    json_array_foreach((json_t *)list, i, c) {
        const char *id = json_string_value(json_object_get(c, "Id"));
        const char *owner =
            json_string_value(json_object_get(json_object_get(c, "Labels"), LABEL_OWNER));
        const json_t *created = json_object_get(c, "Created");
        if (!id || !owner || !owner[0] || strcmp(owner, rule->owner) != 0 ||
            !json_is_integer(created) ||
            json_integer_value(created) > rule->now_s - rule->grace_s ||
            rule->tracked(rule->ctx, id))
            continue;
        int r = strv_add(&ids, id);
        if (r < 0)
            return r;
    }
    *ret = TAKE_STRUCT(ids);
    return 0;
}

/* Sends the stop signal before it removes the container, which may contain somebody's work. */
static int end_container(struct docker *d, const struct call *call, const char *id,
                         struct err *err) {
    int r = docker_container_stop(d, call, id, STOP_SEC, err);
    if (r == -ENOENT)
        return r;
    err_clear(err); /* a container that cannot be stopped is removed nevertheless */
    return docker_container_remove(d, call, id, true, err);
}

int docker_dangling_run(struct docker *d, const struct call *call,
                        const struct docker_dangling_rule *rule, bool dry_run, struct err *err) {
    AUTO_JSON json_t *filters = json_pack("{s:[s]}", "label", LABEL_OWNER);
    AUTO_JSON json_t *list = NULL;
    AUTO_STRV struct strv ids = {0};
    size_t skipped = 0;
    int r = docker_container_list(d, call, false, filters, &list, &skipped, err);
    if (r == 0)
        r = docker_dangling_decide(list, rule, &ids);
    if (skipped > 0)
        log_warn("dangling", NULL,
                 "%zu containers in Docker's list cannot be read and are not removed, ignoring",
                 skipped);
    if (r < 0)
        return r;
    int count = 0;
    for (size_t i = 0; i < ids.n; i++) {
        struct err failed = {0};
        if (rule->tracked(rule->ctx, ids.v[i])) /* tracked since: each removal takes time */
            continue;
        if (dry_run) {
            log_info("dangling", LOG_KV("container_id", ids.v[i]), "would be removed (dry_run)");
        } else if (end_container(d, call, ids.v[i], &failed) < 0) {
            log_warn("dangling", LOG_KV("container_id", ids.v[i], "error", failed.text),
                     "dangling container not removed, retrying");
            if (rule->left)
                rule->left(rule->ctx, ids.v[i]);
            continue;
        } else {
            log_info("dangling", LOG_KV("container_id", ids.v[i]),
                     "removed a container of no known task");
        }
        count++;
    }
    return count;
}
