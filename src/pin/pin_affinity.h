#pragma once
/* Keeps the plugin's own threads off reserved cores. */
#include "paddock/cpuset.h"

struct pin;

/** Where the plugin's threads may run: those CPUs of @initial that are online and not reserved, or
 * @initial when none is left. Pure. */
void pin_affinity_wanted(const struct cpuset *initial, const struct cpuset *online,
                         const struct cpuset *reserved, struct cpuset *ret);
/** Sets it when it has changed. Pin thread, no lock held. */
void pin_affinity_follow(struct pin *p);
