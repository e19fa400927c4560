#pragma once
/* The connection to the pump that stays: it breaks when the pump ends, and it carries reports. */
#include "paddock/loop.h"
#include "paddock/pool.h"

#include "logs_process.h"

#include <sys/types.h>

struct logs_watch;

struct logs_watch_options {
    struct logs_process *process;
    struct loop *loop;
    struct pool *pool;
    /* Are there tasks, so that a pump is needed? Any thread. */
    bool (*needed)(void *ctx);
    /* A pump is there, the process @pid: another one than before has to be sent its tasks. Returns
     * 0; -errno when it was not sent all of them: called again some seconds later. On the pool. */
    int (*met)(void *ctx, pid_t pid);
    /* A sentence about a task. On the loop's thread; must not block. */
    void (*report)(void *ctx, const char *task_id, const char *text);
    void *ctx;
};

int logs_watch_new(const struct logs_watch_options *o, struct logs_watch **ret) MUST_CHECK;
/** After loop and pool have ended. NULL allowed. */
void logs_watch_free(struct logs_watch *w);
/** From now on a pump is watched, and started again while it is needed. Any thread, any number of
 * times; does not block. */
void logs_watch_start(struct logs_watch *w);
