/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* A note about the agent's Nomad client, for the agent's next plugin process; see remember.c. */
#include "paddock/cleanup.h"

/** The path of the note's file for the agent that started this process. Owner: caller, free().
 * Returns NULL when the agent is not known or when out of memory. Call it early: a process whose
 * agent has died has another parent. */
char *remember_path(const char *run_dir, const char *driver_name);
/** Writes the client's folder of allocations to the file. Returns 0; -errno. */
int remember_write(const char *path, const char *allocs) MUST_CHECK;
/** The folder in the note. Owner: caller, free(). Returns NULL when there is no valid note. */
char *remember_read(const char *path);
