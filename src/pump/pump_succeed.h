/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* A new pump succeeds older ones: it opens their FIFOs, ends them, and takes over their position
 * files. So each task's output continues after its last byte, and logmon never sees an end of file.
 * Called before the loop runs. */
#include "src/pump/pump_dir.h"

#include <jansson.h>
#include <stddef.h>

/* Write ends of FIFOs, held until the tasks have opened their own. */
struct pump_held {
    int *fds;
    size_t n;
};
/** Closes all descriptors and releases the list. */
void pump_succeed_held_done(struct pump_held *h);

/** Succeeds the pump that has the lock of the folder @dir. Returns 0 when it was of another kind
 * than @hello and has ended, so the lock is free; 1 when it is of the same kind, or does not listen
 * because it starts or ends; -errno. Blocks up to 15 s. */
int pump_succeed_here(const char *dir, const json_t *hello, struct pump_held *held) MUST_CHECK;

/** Takes over the tasks of pumps in other folders beside @own, for the Nomad client whose
 * allocations are below @allocs. Up to version 0.2 a folder's name depended on Docker's endpoint
 * and on the host's name. Failures are logged. Blocks up to 15 s for each pump. */
void pump_succeed_siblings(const struct pump_dir *own, const char *allocs, struct pump_held *held);
