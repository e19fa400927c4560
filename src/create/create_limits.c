/* SPDX-License-Identifier: MPL-2.0 */
/* Memory, CPU, pids and ulimits of the container. create_build() calls the five steps.
 *
 * Memory (MB):  memory_max  memory_hard_limit   hard limit                    reservation
 *               -1          any                 none                          memory
 *               else        both <= 0           memory                        none
 *               else        one > 0             the greater of the two        memory
 * Swap: the hard limit is also the limit of memory and swap together, so no swap remains.
 *
 * CPU shares: Nomad's value (MHz), but at least 2, the kernel's minimum. On a node of 262144 MHz or
 * more the value could be above the kernel's range (2..262144). There it is scaled to
 * that range. */
#include "src/create/create_fail.h"
#include "src/create/create_json.h"
#include "src/create/create_steps.h"
#include "paddock/parse.h"

#include <string.h>

#define SHARES_MIN 2
#define SHARES_MAX 262144
#define CFS_PERIOD_MAX_US 1000000
#define MB (INT64_C(1) << 20)

/* ---- memory ---- */

static int64_t greater_of(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t hard_limit_mb(const struct create *c) {
    return greater_of(c->job->memory_hard_limit_mb, c->task->resources.memory_max_mb);
}

int create_limits_check_memory(struct create *c) {
    const struct task_resources *res = &c->task->resources;
    if (res->memory_mb < 0 || greater_of(res->memory_mb, hard_limit_mb(c)) > INT64_MAX / MB)
        return create_fail(c, EINVAL, "memory of %lld MB, at most %lld MB is out of range",
                           (long long)res->memory_mb, (long long)hard_limit_mb(c));
    /* The greater one of memory_max and the hard limit is the limit. Docker refuses a reservation
     * above it. */
    if (c->job->memory_hard_limit_mb > 0 && res->memory_max_mb != -1 &&
        res->memory_mb > hard_limit_mb(c))
        return create_fail(c, EINVAL,
                           "task memory requirements exceed driver hard limit of %lld MB",
                           (long long)c->job->memory_hard_limit_mb);
    return 0;
}

int create_limits_memory(struct create *c) {
    const struct task_resources *res = &c->task->resources;
    int64_t hard = hard_limit_mb(c);
    int64_t reservation = res->memory_mb;
    if (res->memory_max_mb == -1) {
        hard = 0;
    } else if (hard <= 0) {
        hard = res->memory_mb;
        reservation = 0;
    }
    create_json_set_int(c, c->host_config, "Memory", hard * MB);
    create_json_set_int(c, c->host_config, "MemorySwap", hard * MB);
    create_json_set_int(c, c->host_config, "MemoryReservation", reservation * MB);
    /* On cgroup v2 Docker ignores it with a warning. */
    if (!c->host->cgroup_v2 && c->host->swappiness)
        create_json_set_int(c, c->host_config, "MemorySwappiness", 0);
    return create_fail_code(c);
}

/* ---- CPU ---- */

static int64_t shares_of(int64_t shares, uint64_t total_mhz) {
    if (total_mhz >= SHARES_MAX)
        shares = (int64_t)((double)shares / (double)total_mhz * SHARES_MAX);
    if (shares > SHARES_MAX)
        return SHARES_MAX;
    return shares < SHARES_MIN ? SHARES_MIN : shares;
}

/* percent_ticks is a share of the time of all CPUs, but Docker's quota and period count the time of
 * one CPU. So the share of one period is multiplied by the number of CPUs. */
static int set_cfs_quota(struct create *c) {
    const struct task_resources *res = &c->task->resources;
    int64_t period = c->job->cpu_cfs_period;
    if (period < 0 || period > CFS_PERIOD_MAX_US)
        return create_fail(c, EINVAL, "invalid value for cpu_cfs_period: %lld", (long long)period);
    if (period == 0)
        period = res->cpu_period;
    double one_cpu = res->percent_ticks * (double)period;
    if (!(one_cpu >= 0 && one_cpu <= INT32_MAX))
        return create_fail(c, EINVAL, "cpu_hard_limit: a quota of %f of %lld us is out of range",
                           res->percent_ticks, (long long)period);
    create_json_set_int(c, c->host_config, "CpuPeriod", period);
    create_json_set_int(c, c->host_config, "CpuQuota",
                        (int64_t)one_cpu * (int64_t)c->host->num_cpu);
    return create_fail_code(c);
}

int create_limits_cpu(struct create *c) {
    const struct task_resources *res = &c->task->resources;
    if (res->linux_present)
        create_json_set_int(c, c->host_config, "CpuShares",
                            shares_of(res->cpu_shares, c->host->total_compute_mhz));
    create_json_set_text_if(c, c->host_config, "CpusetCpus", c->host->cpuset);
    create_json_set_text_if(c, c->host_config, "CpusetMems", c->host->mems);
    return c->job->cpu_hard_limit ? set_cfs_quota(c) : create_fail_code(c);
}

/* ---- pids ---- */

int create_limits_pids(struct create *c) {
    int64_t limit = c->plugin->pids_limit > 0 ? c->plugin->pids_limit : -1;
    const struct opt_int *own = &c->job->pids_limit;
    if (own->set && own->v > 0) {
        if (limit > 0 && own->v > limit)
            return create_fail(c, EINVAL,
                               "pids_limit cannot be greater than nomad plugin config pids_limit: "
                               "%lld",
                               (long long)limit);
        limit = own->v;
    }
    create_json_set_int(c, c->host_config, "PidsLimit", limit);
    return create_fail_code(c);
}

/* ---- ulimits ---- */

static int add_ulimit(struct create *c, const char *name, const char *text) {
    static const char prefix[] = "failed to parse ulimit configuration";
    if (text[0] == '\0')
        return create_fail(c, EINVAL,
                           "%s: Malformed ulimit specification %s: \"%s\", cannot be empty", prefix,
                           name, text);
    const char *colon = strchr(text, ':');
    AUTO_FREE char *soft_text = colon ? strndup(text, (size_t)(colon - text)) : strdup(text);
    if (!soft_text)
        return err_oom(c->err);
    const char *hard_text = colon ? colon + 1 : text;
    int64_t soft, hard;
    if (parse_i64(soft_text, &soft) < 0)
        return create_fail(c, EINVAL, "%s: Malformed soft ulimit %s: %s:%s", prefix, name,
                           soft_text, hard_text);
    if (parse_i64(hard_text, &hard) < 0)
        return create_fail(c, EINVAL, "%s: Malformed hard ulimit %s: %s:%s", prefix, name,
                           soft_text, hard_text);
    json_t *u = json_object();
    create_json_add(c, create_json_array(c, c->host_config, "Ulimits"), u);
    if (create_fail_code(c) < 0)
        return create_fail_code(c);
    create_json_set_text(c, u, "Name", name);
    create_json_set_int(c, u, "Soft", soft);
    create_json_set_int(c, u, "Hard", hard);
    return create_fail_code(c);
}

int create_limits_ulimits(struct create *c) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < c->job->ulimit.n; i++)
        r = add_ulimit(c, c->job->ulimit.v[i].key, c->job->ulimit.v[i].value);
    return r;
}
