/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The state of each CPU of the node, from a status document: which task holds it, whether it is
 * shared or offline, and whether a task runs on it against its set. `paddock status` and the page
 * for the browser draw it. Pure; any thread. */
#include "paddock/cpuset.h"
#include <jansson.h>

struct core_map {
    struct cpuset online, present, isolated;
    struct cpuset shared;  /* in the set of a task without cores of its own, or of several tasks */
    struct cpuset foreign; /* a task has it and should not */
    const json_t *tasks;   /* from the document */
    /* 1 + the index of the only task that has it; 0 = none */
    unsigned short owner[CPUSET_MAX_CPUS];
};

/** @doc must outlive the result. Returns NULL when out of memory. */
struct core_map *core_map_new(const json_t *doc);
/** NULL allowed. */
void core_map_free(struct core_map *m);

/** True when @task has cores of its own. */
bool core_map_holds_cores(const json_t *task);

/** Calls @put for each NUMA node, in order, with its CPUs and the document's cores. @id is -1 on a
 * machine with one node, and for CPUs that no node lists (offline ones). @machine: the document's
 * part of that name. Stops at the first error of @put and returns it. */
int core_map_nodes(const struct core_map *m, const json_t *machine,
                   int (*put)(void *ctx, int id, const struct cpuset *cpus, const json_t *cores),
                   void *ctx) MUST_CHECK;

/** Calls @put for each core that has CPUs in @cpus, with these CPUs. The kernel names no
 * siblings of an offline CPU, so each offline CPU counts as a core. Stops at the first error of
 * @put and returns it. */
int core_map_cores(const struct core_map *m, const struct cpuset *cpus, const json_t *cores,
                   int (*put)(void *ctx, const struct cpuset *core), void *ctx) MUST_CHECK;
