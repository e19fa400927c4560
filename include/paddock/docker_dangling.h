/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Dangling containers: they have our label, but belong to no known task. The label names the
 * driver, the machine and the Nomad client. Two clients, or two drivers, on one dockerd therefore
 * never touch each other's containers. */
#include "paddock/docker.h"
#include "paddock/strv.h"

struct docker_dangling_rule {
    const char *owner; /* value of our label; other containers are ignored */
    int64_t now_s;     /* since 1970 */
    int64_t grace_s;   /* a younger container may belong to a start that is running */
    bool (*tracked)(void *ctx, const char *container_id);
    /* Called for a container that could not be removed. When it was stopped, no later search finds
     * it, because it does not run any more. NULL allowed. */
    void (*left)(void *ctx, const char *container_id);
    void *ctx;
};

/** Selects the ids of the containers in @list (GET /containers/json) that are to be removed.
 * Returns 0; -ENOMEM. Owner: caller, strv_done(). Pure, except for the calls of tracked(). */
int docker_dangling_decide(const json_t *list, const struct docker_dangling_rule *rule,
                           struct strv *ret) MUST_CHECK;

/** Lists the running containers, selects the dangling ones, stops each (10 s, then SIGKILL) and
 * removes it. @dry_run: only logs them. Returns how many were removed, or would be with @dry_run;
 * -errno when Docker did not return a list. */
int docker_dangling_run(struct docker *d, const struct call *call,
                        const struct docker_dangling_rule *rule, bool dry_run,
                        struct err *err) MUST_CHECK;
