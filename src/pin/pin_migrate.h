#pragma once
/* Writes one cpuset.mems in a thread of its own. The kernel migrates the memory within the write,
 * which takes minutes for a large process. Nothing here knows whose file it is.
 * The pin thread calls all of these functions; no lock is needed. */
#include "paddock/cgroup.h"

struct pin_migrate_job;

struct pin_migrator {
    int done_fd;                 /* eventfd: readable when a migration has ended */
    struct pin_migrate_job *job; /* in flight; NULL = none */
};

/** Opens done_fd. Returns 0; -errno. */
int pin_migrate_begin(struct pin_migrator *m) MUST_CHECK;
/** Does not wait for a migration in flight: it goes on, and its end is reported to nobody. */
void pin_migrate_end(struct pin_migrator *m);

/** Writes @set to @f, of which it keeps a copy. None is in flight. Returns 0; -errno (no thread).
 */
int pin_migrate_start(struct pin_migrator *m, const struct cgroup_file *f,
                      const struct cpuset *set) MUST_CHECK;
/** After done_fd became readable. Returns 1 and the write's result (0 or -errno) in *ret_r when the
 * migration in flight has ended, else 0. */
int pin_migrate_finish(struct pin_migrator *m, int *ret_r) MUST_CHECK;
