/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The node's cores as a map of letters, for `paddock status`. Pure; any thread. */
#include "paddock/buf.h"
#include <jansson.h>

/** Appends the map. Siblings of a core stand together, and each NUMA node begins a line. A
 * letter is the task that holds the CPU alone; "." shared, "-" in no task's set, "x"
 * offline, "!" a task runs there against its set. Appends nothing when @doc (a status
 * document) has no CPUs or no tasks.
 *  @columns: of the terminal; 0 = no limit. Returns 0; -ENOMEM or -EMSGSIZE of @out. */
int status_map_put(struct buf *out, const json_t *doc, size_t columns) MUST_CHECK;
