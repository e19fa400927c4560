#pragma once
/* The tasks that the plugin has given to the log pump, each with its whole request and the write
 * ends of its FIFOs. While an end is open here, logmon sees no end of file, whatever happens to the
 * pump. All functions: any thread; none waits. */
#include "paddock/logpump.h"
#include "paddock/strv.h"

struct logs_held;

int logs_held_new(struct logs_held **ret) MUST_CHECK;
/** Closes all FIFOs. NULL allowed. */
void logs_held_free(struct logs_held *l);

/** Opens the FIFOs and keeps the request, instead of what there is of the same task. Its end cannot
 * be asked for until logs_held_asked. Returns 0; -errno with @err. */
int logs_held_add(struct logs_held *l, const struct logpump_task *t, struct err *err) MUST_CHECK;
/** The FIFOs close. @number: of the hold, for the task may be held anew by now; 0 = whichever there
 * is. */
void logs_held_remove(struct logs_held *l, const char *task_id, unsigned long number);

/** The request `carry` (pump_proto.h); NULL: not held. From now on it says that the task is not
 * new;
 * @runs: and that its container runs. Owner: caller. */
json_t *logs_held_request(struct logs_held *l, const char *task_id, bool runs);
/** The process @pump has answered it. */
void logs_held_asked(struct logs_held *l, const char *task_id, pid_t pump);
/** Adds the tasks whose request was sent to another process than @pump to @ret. Returns 0; -ENOMEM.
 */
int logs_held_others(struct logs_held *l, pid_t pump, struct strv *ret) MUST_CHECK;
/** The same of one task. */
bool logs_held_is_others(struct logs_held *l, const char *task_id, pid_t pump);
/** The task's request was sent to the process @pump. */
void logs_held_sent(struct logs_held *l, const char *task_id, pid_t pump);
/** The number of the hold whose end can be asked for; 0 = none. */
unsigned long logs_held_to_end(struct logs_held *l, const char *task_id);
bool logs_held_any(struct logs_held *l);
