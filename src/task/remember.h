#pragma once
/* Which Nomad client an agent was, for its next plugin process; see remember.c. */
#include "paddock/cleanup.h"

/** The path of the file for the agent that started this process; free(). NULL when the agent is not
 * known, or when out of memory. Call it early: a process whose agent has died has another parent.
 */
char *remember_path(const char *run_dir, const char *driver_name);
/** Notes the client's folder of allocations. Returns 0; -errno. */
int remember_write(const char *path, const char *allocs) MUST_CHECK;
/** The noted folder; free(). NULL: none. */
char *remember_read(const char *path);
