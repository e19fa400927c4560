#pragma once
/* One task: its life, and its files. Called by the pin thread with the lock held. */
#include "paddock/pin_plan.h"

struct pin;
struct pin_task;

/** Makes a task of @take, which is emptied on success. Nothing is opened yet. Returns 0; -ENOMEM.
 */
int pin_task_new(struct pin *p, struct pin_coord *take, struct pin_task **ret) MUST_CHECK;
void pin_task_free(struct pin *p, struct pin_task *t);

/** Reads the container's files. @effective: its effective set, too. Opens them when they are not
 * open, or when the cgroup was replaced. Returns 1 when something has changed; 0; -errno of opening
 * (-ESRCH: the container has ended). */
int pin_task_read(struct pin *p, struct pin_task *t, bool effective) MUST_CHECK;
/** Closes the container's files. */
void pin_task_close(struct pin *p, struct pin_task *t);
/** Reads the source's files, opens them when they are not open. Returns whether they changed. */
bool pin_task_read_source(struct pin *p, struct pin_task *t);
/** Adds the watches that are missing. @at_tick: also the one of a contested task. */
void pin_task_watch(struct pin *p, struct pin_task *t, bool at_tick);

/** What is shown: the state with the unit's in it. */
enum pin_state pin_task_state(const struct pin_task *t);
