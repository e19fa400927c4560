/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The pump as a process: finds or starts it, reports its end, and passes its log lines on. */
#include "paddock/affinity.h"
#include "paddock/call.h"
#include "paddock/err.h"
#include "paddock/loop.h"

#include <jansson.h>

struct logs_process;

/** @settings: what the pump is started with (`hello` in pump_proto.h); taken over.
 * @affinity: the CPUs that the pump may use, copied; NULL: the CPUs of the thread that
 * starts it. @loop: passes the pump's log lines on. Returns 0; -ENOMEM; another -errno.
 * Owner: caller, logs_process_free(). */
int logs_process_new(const char *program, const char *run_dir, json_t *settings,
                     const struct affinity *affinity, struct loop *loop,
                     struct logs_process **ret) MUST_CHECK;
/** Releases @p; the pump process continues. Call it after the loop has ended. NULL allowed. */
void logs_process_free(struct logs_process *p);

/** Connects to a running pump. Starts a pump when none is running. Once in the life of @p it also
 * starts one in place of a pump of another version or with other settings. Any thread; blocks up to
 * the call's deadline. Returns the descriptor (owner: caller); -errno with @err. */
int logs_process_reach(struct logs_process *p, const struct call *call, struct err *err) MUST_CHECK;
/** Gives the connected pump @pid the CPUs that were set last. Any thread. */
void logs_process_met(struct logs_process *p, pid_t pid);
/** Sets the CPUs that the pump may use from now on, and each pump that is started or met later.
 * @a is copied. Any thread; does not block. */
void logs_process_set_affinity(struct logs_process *p, const struct affinity *a);
/** Reaps the pumps that this plugin started and that have ended, and logs each end. Any thread. */
void logs_process_reap(struct logs_process *p);
/** Returns the write end of the pipe for the pump's log lines; borrowed. */
int logs_process_log_fd(const struct logs_process *p);
/** Returns how many pumps were started. Any thread. */
unsigned logs_process_starts(struct logs_process *p);
