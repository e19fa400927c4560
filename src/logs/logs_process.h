#pragma once
/* The pump as a process: found or started, its end reported, its log lines passed on. */
#include "paddock/affinity.h"
#include "paddock/call.h"
#include "paddock/err.h"
#include "paddock/loop.h"

#include <jansson.h>

struct logs_process;

/** @settings: what the pump is started with (PUMP_PROTO's hello); taken over. @affinity: the CPUs
 * that the pump may use, copied; NULL = those of the thread that starts it. @loop: passes the
 * pump's log lines on. Returns 0; -ENOMEM; another -errno. */
int logs_process_new(const char *program, const char *run_dir, json_t *settings,
                     const struct affinity *affinity, struct loop *loop,
                     struct logs_process **ret) MUST_CHECK;
/** The process goes on. After the loop has ended. NULL allowed. */
void logs_process_free(struct logs_process *p);

/** A connection to a pump that lives. Starts one where there is none, and once in place of one of
 * another version or with other settings. Any thread; blocks up to the call's deadline. Returns the
 * fd; -errno with @err. */
int logs_process_reach(struct logs_process *p, const struct call *call, struct err *err) MUST_CHECK;
/** The pump @pid is connected: it may use the CPUs that were set last. Any thread. */
void logs_process_met(struct logs_process *p, pid_t pid);
/** The CPUs that the pump may use from now on, and each one that is started or met later. @a is
 * copied. Any thread; does not block. */
void logs_process_set_affinity(struct logs_process *p, const struct affinity *a);
/** Reports those of our pumps that have ended. Any thread. */
void logs_process_reap(struct logs_process *p);
/** The write end of the pipe for the pump's log lines; borrowed. */
int logs_process_log_fd(const struct logs_process *p);
/** How many were started. */
unsigned logs_process_starts(struct logs_process *p);
