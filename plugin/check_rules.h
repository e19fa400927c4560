#pragma once
/* What `paddock check` makes of what it read. Pure but where it says so; any thread. */
#include <stdbool.h>
#include <stddef.h>

#define CHECK_TEXT_MAX 14000 /* three sets of 4095 characters and the words between them */

enum check_verdict { CHECK_OK, CHECK_WARNING, CHECK_FAILURE };

/** @text: words with single blanks between them. */
bool check_rules_has_word(const char *text, const char *word);

/** Nomad's slices (cgroup v2, client >= 1.7): @pool the shared pool, @cores the reserved cores,
 * @online the CPUs that the machine has; list texts as read, "" = no such file or blank. @ret: what
 * is so, and what to do. */
enum check_verdict check_rules_cores(const char *pool, const char *cores, const char *online,
                                     char ret[static CHECK_TEXT_MAX]);

/** CPUs that the boot line isolates (isolcpus) and that Nomad hands out. @isolated:
 * /sys/devices/system/cpu/isolated; @pool, @cores as for check_rules_cores; list texts. @ret: what
 * is so, and what to do. */
enum check_verdict check_rules_isolated(const char *isolated, const char *pool, const char *cores,
                                        char ret[static CHECK_TEXT_MAX]);

/** The pool of a client up to 1.6, which has no share.slice: it writes the pool, and a task's own
 * cores, to each task's scope under @cgroup_root/nomad.slice. Reads these files. @ret: all of them
 * together as list text, "" = there is none, or it does not fit. */
void check_rules_scopes(const char *cgroup_root, char *ret, size_t size);

/** @r: of inotify_init1, 0 or -errno. @instances, @watches: the user limits' texts. */
enum check_verdict check_rules_inotify(int r, const char *instances, const char *watches,
                                       char ret[static CHECK_TEXT_MAX]);

/** @comm: a process that is known to write cpusets too. */
bool check_rules_sets_cpus(const char *comm);

/** The exit status: 0 fit, 1 a failure, 3 warnings alone. */
int check_rules_status(unsigned failures, unsigned warnings);
