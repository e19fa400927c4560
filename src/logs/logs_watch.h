/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The lasting connection to the pump. It breaks when the pump ends, and it carries the
 * pump's reports. */
#include "paddock/loop.h"
#include "paddock/pool.h"

#include "src/logs/logs_process.h"

#include <sys/types.h>

struct logs_watch;

struct logs_watch_options {
    struct logs_process *process;
    struct loop *loop;
    struct pool *pool;
    /* Returns true when there are tasks, so that a pump is needed. Any thread. */
    bool (*needed)(void *ctx);
    /* Called when a pump is connected: the process @pid. A pump other than the one before has to be
     * sent its tasks. Returns 0; -errno when not all tasks were sent, then it is called again 5 s
     * later. Runs on the pool. */
    int (*met)(void *ctx, pid_t pid);
    /* Receives a sentence about a task. Runs on the loop's thread; must not block. */
    void (*report)(void *ctx, const char *task_id, const char *text);
    void *ctx;
};

/** @o is copied; what it points to is borrowed. Returns 0; -ENOMEM.
 * Owner: caller, logs_watch_free(). */
int logs_watch_new(const struct logs_watch_options *o, struct logs_watch **ret) MUST_CHECK;
/** Ends the watch; the pump continues. Call it after loop and pool have ended. NULL allowed. */
void logs_watch_free(struct logs_watch *w);
/** Starts watching a pump. From now on the pump is started again while it is needed. Can be called
 * any number of times. Any thread; does not block. */
void logs_watch_start(struct logs_watch *w);
