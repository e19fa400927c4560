#pragma once
/* The memory nodes of `cores` tasks follow their CPUs. Called by the pin thread with the lock held.
 */
#include "paddock/cgroup.h"

struct pin;
struct pin_task;

/* Of one task. */
struct pin_mems {
    struct cgroup_file file; /* cpuset.mems; not open = the nodes are left alone */
    bool pending;            /* other nodes are to be written */
    uint64_t retry_us;       /* not before */
    uint64_t backoff_us;     /* 0 = the last migration did not fail */
};

/** Checks the nodes of @t, whose CPUs are right. What is to be migrated becomes pending. */
void pin_mems_check(struct pin *p, struct pin_task *t);
/** Closes the file, and forgets a migration in flight. */
void pin_mems_close(struct pin *p, struct pin_task *t);
/** Starts the next migration that is due, unless one is in flight. */
void pin_mems_next(struct pin *p, uint64_t now_us);
/** A migration may have ended: notes its result. */
void pin_mems_finish(struct pin *p);
/** When the next migration of @t is due; 0 = none is pending, or one of any task is in flight,
 * whose end leads to the next one. */
uint64_t pin_mems_next_us(const struct pin *p, const struct pin_task *t);
