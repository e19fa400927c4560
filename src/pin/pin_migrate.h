/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Writes one cpuset.mems in a thread of its own. The kernel migrates the memory within the write,
 * which takes minutes for a large process. The code does not know to which task the file belongs.
 * The pin thread calls all of these functions; no lock is needed. */
#include "paddock/cgroup.h"

struct pin_migrate_job;

struct pin_migrator {
    int done_fd;                 /* eventfd: readable when a migration has ended */
    struct pin_migrate_job *job; /* in flight; NULL = none */
};

/** Opens done_fd. Returns 0; -errno. */
int pin_migrate_begin(struct pin_migrator *m) MUST_CHECK;
/** Does not wait for a migration in flight. The migration continues, and its result is dropped. */
void pin_migrate_end(struct pin_migrator *m);

/** Starts writing @set to @f, and duplicates the file's descriptor for it. No other migration is in
 * flight. Returns 0; -errno when no thread could be started. */
int pin_migrate_start(struct pin_migrator *m, const struct cgroup_file *f,
                      const struct cpuset *set) MUST_CHECK;
/** Call it when done_fd is readable. Returns 1 when the migration in flight has ended, with the
 * write's result (0 or -errno) in *ret_r; else 0. */
int pin_migrate_finish(struct pin_migrator *m, int *ret_r) MUST_CHECK;
