/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* One task: its creation and removal, and its files. The pin thread calls all of these functions,
 * with the lock held. */
#include "paddock/pin_plan.h"

struct pin;
struct pin_task;

/** Creates a task from @take. On success it takes ownership of the strings and zeroes @take.
 * Nothing is opened yet. Returns 0; -ENOMEM. */
int pin_task_new(struct pin *p, struct pin_coord *take, struct pin_task **ret) MUST_CHECK;
void pin_task_free(struct pin *p, struct pin_task *t);

/** Reads the container's files. @effective: reads its effective set too. Opens the files when they
 * are not open, or when the cgroup was replaced. Returns 1 when something has changed; 0 when
 * nothing has; -errno when opening fails (-ESRCH: the container has ended). */
int pin_task_read(struct pin *p, struct pin_task *t, bool effective) MUST_CHECK;
/** Closes the container's files. */
void pin_task_close(struct pin *p, struct pin_task *t);
/** Reads the source's files, and opens them first when they are not open. Returns true when they
 * have changed. */
bool pin_task_read_source(struct pin *p, struct pin_task *t);
/** Adds the missing watches. @at_tick: also the watch of a contested task. */
void pin_task_watch(struct pin *p, struct pin_task *t, bool at_tick);

/** Returns the state to show, which includes that of the unit. */
enum pin_state pin_task_state(const struct pin_task *t);
