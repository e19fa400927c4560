/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The workers that run handlers. rpc.h describes the lanes. */
#include "plugin/rpc.h"

struct rpc_work;

/* One piece of work: a part of the call that it belongs to. */
struct rpc_job {
    void (*run)(struct rpc_job *j); /* may free the job */
    enum rpc_lane lane;
    /* ---- private to rpc_work.c ---- */
    struct rpc_work *work;
    struct rpc_job *next;
};

/** Makes the workers. No thread is started yet. Returns 0 or -ENOMEM. */
int rpc_work_new(struct rpc_work **ret) MUST_CHECK;
/** Waits for all work, then frees. NULL allowed. */
void rpc_work_free(struct rpc_work *w);

/** Runs @j on a worker, or on this thread for RPC_INLINE. Call it on the rpc thread,
 * without the lock of a call. Returns 0, or -ENOMEM or -EAGAIN when there is no worker;
 * then @j does not run. */
int rpc_work_run(struct rpc_work *w, struct rpc_job *j) MUST_CHECK;
