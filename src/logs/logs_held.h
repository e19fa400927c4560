/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The tasks that the plugin has given to the log pump. Each has what its request contains
 * and the write ends of its FIFOs.
 *
 * While a write end is open here, logmon sees no end of file, whatever happens to the pump. All
 * functions: any thread; none waits. */
#include "paddock/logpump.h"
#include "paddock/strv.h"

struct logs_held;

/** Returns 0; -ENOMEM. Owner: caller, logs_held_free(). */
int logs_held_new(struct logs_held **ret) MUST_CHECK;
/** Closes all FIFOs. NULL allowed. */
void logs_held_free(struct logs_held *l);

/** Opens the FIFOs and keeps what the request contains. Replaces an existing hold of the same task.
 * The end of the task cannot be asked for until logs_held_asked(). Returns 0; -errno with @err. */
int logs_held_add(struct logs_held *l, const struct logpump_task *t, struct err *err) MUST_CHECK;
/** Closes the FIFOs and forgets the request. @number: the number of the hold, because the task may
 * be held again by now; 0: any hold of the task. */
void logs_held_remove(struct logs_held *l, const char *task_id, unsigned long number);

/** Makes the request `carry` (pump_proto.h). Later requests say that the task is not new.
 * @runs: this request and later ones say that its container runs. *@ret's owner: caller. Returns 0;
 * -ENOENT when the task is not held; -ENOMEM. */
int logs_held_request(struct logs_held *l, const char *task_id, bool runs, json_t **ret) MUST_CHECK;
/** Returns true when the task is held. */
bool logs_held_has(struct logs_held *l, const char *task_id);
/** Notes that the process @pump has answered the request. */
void logs_held_asked(struct logs_held *l, const char *task_id, pid_t pump);
/** Adds to @ret the tasks whose request was last sent to another process than @pump. Leaves out a
 * task whose request is not answered yet. Returns 0; -ENOMEM. */
int logs_held_others(struct logs_held *l, pid_t pump, struct strv *ret) MUST_CHECK;
/** Returns true when @task_id is held and its request was last sent to another process
 * than @pump. */
bool logs_held_is_others(struct logs_held *l, const char *task_id, pid_t pump);
/** Notes that the task's request was sent to the process @pump. Does nothing while another request
 * of the task is not answered. */
void logs_held_sent(struct logs_held *l, const char *task_id, pid_t pump);
/** Returns the number of the hold when its end can be asked for, or 0. */
unsigned long logs_held_to_end(struct logs_held *l, const char *task_id);
/** Returns true when any task is held. */
bool logs_held_any(struct logs_held *l);
