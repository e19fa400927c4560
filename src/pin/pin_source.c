/* SPDX-License-Identifier: MPL-2.0 */
/* Converts the contents of a source's files into the input of the rule (pin_plan.h).
 *
 * The pin thread calls it for running containers, and pin_wanted.c for containers that are about to
 * be created. The cores of others are those of the known tasks and of reserve.slice, without the
 * task's own cores. */
#include "src/pin/pin_source.h"

enum pin_hold pin_source_want(const struct pin_parent *x, const struct cgroup_file *cpus,
                              const struct cgroup_file *effective, bool has_path,
                              const struct cpuset *own, struct cpuset *others, struct cpuset *ret) {
    struct pin_source s = {.has_path = has_path,
                           .own = own,
                           .others = others,
                           .cpus_r = cpus->r,
                           .cpus = &cpus->set,
                           .effective_r = effective->r,
                           .effective = &effective->set,
                           .pool_r = -ENOENT};
    if (x) {
        s.in_share = x->in_share;
        s.in_reserve = x->in_reserve;
        s.pool_r = x->cpus.file.r;
        s.pool = &x->cpus.file.set;
        cpuset_union(others, &x->reserve.file.set);
    }
    if (own)
        cpuset_subtract(others, own);
    return pin_plan_source_wanted(&s, ret);
}
