#pragma once
/* The workers that run handlers; the rule is in rpc.h. */
#include "plugin/rpc.h"

struct rpc_work;

/* One piece of work: part of the call that it belongs to. */
struct rpc_job {
    void (*run)(struct rpc_job *j); /* may free the job */
    enum rpc_lane lane;
    /* ---- rpc_work.c's ---- */
    struct rpc_work *work;
    struct rpc_job *next;
};

/** No thread is started yet. Returns 0; -ENOMEM. */
int rpc_work_new(struct rpc_work **ret) MUST_CHECK;
/** Waits for all work. NULL allowed. */
void rpc_work_free(struct rpc_work *w);

/** Runs @j on a worker, or on this thread for RPC_INLINE. Call it from the rpc thread, without the
 * lock of a call. Returns 0; -ENOMEM or -EAGAIN: there is no worker, and @j does not run. */
int rpc_work_run(struct rpc_work *w, struct rpc_job *j) MUST_CHECK;
