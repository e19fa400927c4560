/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The machine's CPUs as a part of the status document. A map of the cores needs to know which CPUs
 * are online, which share a core and which share a NUMA node. */
#include "paddock/cleanup.h"
#include <jansson.h>

struct machine;

/** @sys_root: "/sys"; it must outlive the result. Returns NULL when out of memory. */
struct machine *machine_new(const char *sys_root);
/** NULL allowed. */
void machine_free(struct machine *m);

/** Returns {"online": "0-2", "present": "0-3", "isolated": "", "cores": ["0,2", "1"], "nodes":
 * [{"id": 0, "cpus": "0-3"}]}. A core lists the online CPUs that share it; cores are in the
 * order of their lowest CPU. A machine without NUMA has no nodes. A value that cannot be read
 * is "" or an empty list.
 *  The topology is read again only when the set of online CPUs has changed.
 *  Owner: caller, a new reference. One thread at a time. NULL when out of memory. */
json_t *machine_status(struct machine *m);
