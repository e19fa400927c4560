#pragma once
/* Dangling containers: they carry our label, but belong to no known task. The label names driver,
 * machine and Nomad client, so that two clients or two drivers on one dockerd never touch each
 * other's containers. */
#include "paddock/docker.h"
#include "paddock/strv.h"

struct docker_dangling_rule {
    const char *owner; /* value of our label; only containers that carry it are looked at */
    int64_t now_s;     /* since 1970 */
    int64_t grace_s;   /* younger ones may be in the making */
    bool (*tracked)(void *ctx, const char *container_id);
    /* The container was stopped but could not be removed: no later search finds it, because it does
     * not run any more. NULL allowed. */
    void (*left)(void *ctx, const char *container_id);
    void *ctx;
};

/** The ids out of @list (GET /containers/json) that are to be removed. Owner: caller, strv_done.
 * Returns 0; -ENOMEM. Pure but for tracked(). */
int docker_dangling_decide(const json_t *list, const struct docker_dangling_rule *rule,
                           struct strv *ret) MUST_CHECK;

/** Lists the running ones, decides, stops (10 s, then SIGKILL) and removes them; @dry_run: logs
 * only. Returns how many were (or would be) removed, -errno when Docker gave no list. */
int docker_dangling_run(struct docker *d, const struct call *call,
                        const struct docker_dangling_rule *rule, bool dry_run,
                        struct err *err) MUST_CHECK;
