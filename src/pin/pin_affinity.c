/* SPDX-License-Identifier: MPL-2.0 */
/* Keeps the plugin's own threads off the cores that tasks have reserved.
 *
 * A thread wakes up on the CPU where it last ran, even when a task has reserved that core since
 * then. The pin thread calls this when the reserved cores or the online CPUs have changed. New
 * threads and processes inherit the affinity of the thread that creates them. The threads never
 * leave the agent's own mask (systemd's CPUAffinity=, isolcpus=). When all CPUs of that mask are
 * reserved, the threads use the whole mask. */
#include "src/pin/pin_affinity.h"
#include "src/pin/pin_priv.h"

#include "paddock/log.h"

#include <string.h>

_Static_assert(AFFINITY_MAX_CPUS == CPUSET_MAX_CPUS, "a mask holds any set");

static void to_set(const struct affinity *a, struct cpuset *ret) {
    *ret = (struct cpuset){{0}};
    for (unsigned cpu = 0; cpu < CPUSET_MAX_CPUS; cpu++)
        if (a->mask[cpu / AFFINITY_WORD_BITS] >> (cpu % AFFINITY_WORD_BITS) & 1)
            cpuset_add(ret, cpu);
}

static void to_mask(const struct cpuset *set, struct affinity *ret) {
    *ret = (struct affinity){0};
    for (unsigned cpu = 0; cpu < CPUSET_MAX_CPUS; cpu++)
        if (cpuset_has(set, cpu))
            ret->mask[cpu / AFFINITY_WORD_BITS] |= 1ul << (cpu % AFFINITY_WORD_BITS);
}

void pin_affinity_widen(struct affinity *initial, const struct cpuset *online) {
    struct cpuset set;
    to_set(initial, &set);
    if (cpuset_contains(&set, online))
        memset(initial, 0xff, sizeof(*initial));
}

void pin_affinity_wanted(const struct cpuset *initial, const struct cpuset *online,
                         const struct cpuset *reserved, struct cpuset *ret) {
    *ret = *initial;
    cpuset_intersect(ret, online);
    cpuset_subtract(ret, reserved);
    if (cpuset_is_empty(ret))
        *ret = *initial;
}

const struct affinity *pin_affinity_initial(const struct pin *p) {
    return p && p->initial_r == 0 ? &p->initial : NULL;
}

/* The reserved cores of all tasks: tasks that we know, and tasks in reserve.slice. */
static void all_reserved(const struct pin *p, struct cpuset *ret) {
    *ret = p->reserved;
    for (const struct pin_parent *x = p->parents; x; x = x->next)
        cpuset_union(ret, &x->reserve.file.set);
}

void pin_affinity_follow(struct pin *p) {
    struct cpuset initial, reserved, want;
    if (!p->o.own_affinity || p->initial_r < 0 || p->online.r != 0)
        return;
    all_reserved(p, &reserved);
    to_set(&p->initial, &initial);
    pin_affinity_wanted(&initial, &p->online.set, &reserved, &want);
    uint64_t hash = cpuset_hash(&want);
    /* Nothing to do until the first core is reserved. An affinity that was set for the agent from
     * outside stays until then. */
    if (hash == p->affinity_hash || (!p->affinity_hash && cpuset_is_empty(&reserved)))
        return;
    struct affinity mask;
    to_mask(&want, &mask);
    int r = affinity_set_all(0, &mask);
    if (r < 0)
        log_debug("pin", LOG_KV("errno", strerror(-r)), "a thread's affinity was not set");
    p->affinity_hash = hash;
    if (p->o.affinity)
        p->o.affinity(p->o.ctx, &mask);
}
