/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The wanted set of one task, from the files of its source. */
#include "paddock/pin_plan.h"
#include "src/pin/pin_parent.h"

/** Computes the wanted set from the files that were read in this pass.
 *  @x: NULL = the source is not below the root. @cpus, @effective: of the source's own folder.
 *  @own: the task's cores; NULL = shared task.
 *  @others: in: the cores of all known tasks; out: the cores that this task must not use.
 *  Returns as pin_plan_source_wanted(). Changes nothing but @others and @ret. */
enum pin_hold pin_source_want(const struct pin_parent *x, const struct cgroup_file *cpus,
                              const struct cgroup_file *effective, bool has_path,
                              const struct cpuset *own, struct cpuset *others, struct cpuset *ret);
