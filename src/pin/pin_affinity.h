/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Keeps the plugin's own threads off reserved cores. */
#include "paddock/affinity.h"
#include "paddock/cpuset.h"

struct pin;

/** Sets @ret to the CPUs on which the plugin's threads may run: the CPUs of @initial that are
 * online and not reserved, or @initial when none of them is left. Pure. */
void pin_affinity_wanted(const struct cpuset *initial, const struct cpuset *online,
                         const struct cpuset *reserved, struct cpuset *ret);
/** Adds all CPUs to @initial when it contains every CPU of @online. Such a mask was not restricted:
 * the kernel leaves offline CPUs out of the mask that it reports. Pure. */
void pin_affinity_widen(struct affinity *initial, const struct cpuset *online);
/** Sets the mask of the threads when it has changed, and reports it to the owner of the reconciler.
 * Pin thread, no lock held. */
void pin_affinity_follow(struct pin *p);
