/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The rules of `paddock check`: a function gets the values that were read and returns a verdict.
 * Pure except where noted; any thread. */
#include <stdbool.h>
#include <stddef.h>

#define CHECK_TEXT_MAX 14000 /* three sets of 4095 characters and the words between them */

enum check_verdict { CHECK_OK, CHECK_WARNING, CHECK_FAILURE };

/** Judges Nomad's slices (cgroup v2, client >= 1.7). @pool: the shared pool. @cores: the
 * reserved cores. @online: the CPUs of the machine. All three are list texts as read; "" = no
 * such file, or blank.
 *  @ret: what was found, and what to do. */
enum check_verdict check_rules_cores(const char *pool, const char *cores, const char *online,
                                     char ret[static CHECK_TEXT_MAX]);

/** Judges CPUs that the boot line isolates (isolcpus) and that Nomad hands out. @isolated:
 * /sys/devices/system/cpu/isolated. @pool, @cores: as for check_rules_cores(). All are list texts.
 *  @ret: what was found, and what to do. */
enum check_verdict check_rules_isolated(const char *isolated, const char *pool, const char *cores,
                                        char ret[static CHECK_TEXT_MAX]);

/** Reads the pool of a client up to 1.6. Such a client has no share.slice: it writes the pool, and
 * a task's own cores, to each task's scope under @cgroup_root/nomad.slice. Reads these files.
 *  @ret: all of them together as list text; "" = no such file, or the text does not fit. */
void check_rules_scopes(const char *cgroup_root, char *ret, size_t size);

/** Judges inotify. @r: result of inotify_init1(), 0 or -errno. @instances, @watches: the texts
 * of the user limits. */
enum check_verdict check_rules_inotify(int r, const char *instances, const char *watches,
                                       char ret[static CHECK_TEXT_MAX]);

/** True when @comm is the name of a process that is known to write cpusets, too. */
bool check_rules_sets_cpus(const char *comm);

/** Returns the exit status: 0 when all is well, 1 with a failure, 3 with warnings only. */
int check_rules_status(unsigned failures, unsigned warnings);
