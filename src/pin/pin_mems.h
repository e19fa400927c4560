/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Keeps the memory nodes of `cores` tasks next to their CPUs. The pin thread calls all of these
 * functions, with the lock held. */
#include "paddock/cgroup.h"

struct pin;
struct pin_task;

/* The state of one task. */
struct pin_mems {
    struct cgroup_file file; /* cpuset.mems; not open = the nodes are left alone */
    bool pending;            /* different nodes must be written */
    uint64_t retry_us;       /* the earliest time of the next attempt */
    uint64_t backoff_us;     /* 0 = the last migration did not fail */
};

/** Checks the nodes of @t, whose CPUs are right. When they are wrong, a migration
 * becomes pending. */
void pin_mems_check(struct pin *p, struct pin_task *t);
/** Closes the file, and forgets a migration in flight. */
void pin_mems_close(struct pin *p, struct pin_task *t);
/** Starts the next migration that is due, unless one is in flight. */
void pin_mems_next(struct pin *p, uint64_t now_us);
/** Notes the result of a migration that has ended. Does nothing when none has. */
void pin_mems_finish(struct pin *p);
/** Returns when the next migration of @t is due; 0 when none is pending, or while a migration of
 * any task is in flight. The end of that migration starts the next one. */
uint64_t pin_mems_next_us(const struct pin *p, const struct pin_task *t);
