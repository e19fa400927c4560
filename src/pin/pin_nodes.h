/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Which memory nodes belong to a set of CPUs. */
#include "paddock/cpuset.h"

struct pin_nodes {
    struct cpuset *cpus; /* of node i; empty for a node without CPUs or memory. NULL without NUMA */
    unsigned n;
};

/** Reads the nodes from @root (NULL = "/sys/devices/system/node"). A host without NUMA has none.
 *  Returns 0; -ENOMEM. */
int pin_nodes_read(struct pin_nodes *ret, const char *root) MUST_CHECK;
void pin_nodes_done(struct pin_nodes *nodes);

/** Sets @ret to the nodes that have memory and a CPU of @cpus; empty when none is known. Pure. */
void pin_nodes_of(const struct pin_nodes *nodes, const struct cpuset *cpus, struct cpuset *ret);
