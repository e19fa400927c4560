#pragma once
/* Keeps the plugin's own threads off reserved cores. */
#include "paddock/affinity.h"
#include "paddock/cpuset.h"

struct pin;

/** Where the plugin's threads may run: those CPUs of @initial that are online and not reserved, or
 * @initial when none is left. Pure. */
void pin_affinity_wanted(const struct cpuset *initial, const struct cpuset *online,
                         const struct cpuset *reserved, struct cpuset *ret);
/** Makes @initial hold all CPUs when it holds every CPU of @online: nobody has chosen those CPUs
 * then, and the kernel leaves CPUs that are offline out of the mask that it reports. Pure. */
void pin_affinity_widen(struct affinity *initial, const struct cpuset *online);
/** Sets it when it has changed, and reports it to the owner of the reconciler. Pin thread, no lock
 * held. */
void pin_affinity_follow(struct pin *p);
