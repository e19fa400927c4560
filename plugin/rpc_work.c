/* SPDX-License-Identifier: MPL-2.0 */
/* The workers: one pool, and a gate before it for each lane.
 *
 * rpc_base.c queues each call's handler here. A lane has at most its number of workers. While all
 * of them are busy, further handlers queue at the gate, and a worker that is done takes the next
 * one. The workers that no lane can use serve RPC_QUICK. */
#include "plugin/rpc_work.h"
#include "paddock/cleanup.h"
#include "paddock/pool.h"

#include <pthread.h>

struct gate {
    unsigned running;
    struct rpc_job *first, **last; /* the queue */
};

struct rpc_work {
    struct pool *pool;
    pthread_mutex_t lock;
    struct gate gates[RPC_LANES]; /* RPC_QUICK and RPC_INLINE use none */
};

static const unsigned limits[RPC_LANES] = {
    [RPC_IMAGES] = RPC_WORKERS_IMAGES,
    [RPC_EXECS] = RPC_WORKERS_EXECS,
};

int rpc_work_new(struct rpc_work **ret) {
    AUTO_FREE struct rpc_work *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    int r = pool_new(RPC_WORKERS, &w->pool);
    if (r < 0)
        return r;
    pthread_mutex_init(&w->lock, NULL);
    for (size_t i = 0; i < RPC_LANES; i++)
        w->gates[i].last = &w->gates[i].first;
    *ret = TAKE_PTR(w);
    return 0;
}

void rpc_work_free(struct rpc_work *w) {
    if (!w)
        return;
    pool_free(w->pool);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static void work_quick(void *ctx) {
    struct rpc_job *j = ctx;
    j->run(j);
}

/* Returns the next handler in the queue of the lane. NULL: the lane now has one worker less. */
static struct rpc_job *work_next(struct rpc_work *w, enum rpc_lane lane) {
    struct gate *g = &w->gates[lane];
    pthread_mutex_lock(&w->lock);
    struct rpc_job *j = g->first;
    if (j) {
        g->first = j->next;
        if (!g->first)
            g->last = &g->first;
    } else {
        g->running--;
    }
    pthread_mutex_unlock(&w->lock);
    return j;
}

static void work_in_lane(void *ctx) {
    struct rpc_job *j = ctx;
    struct rpc_work *w = j->work;
    enum rpc_lane lane = j->lane;
    do
        j->run(j);
    while ((j = work_next(w, lane)));
}

/* Queues @j when its lane is full and returns true. Otherwise counts a worker for it
 * and returns false. */
static bool work_queue(struct rpc_work *w, struct rpc_job *j) {
    struct gate *g = &w->gates[j->lane];
    pthread_mutex_lock(&w->lock);
    bool wait = g->running >= limits[j->lane];
    if (wait) {
        j->next = NULL;
        *g->last = j;
        g->last = &j->next;
    } else {
        g->running++;
    }
    pthread_mutex_unlock(&w->lock);
    return wait;
}

int rpc_work_run(struct rpc_work *w, struct rpc_job *j) {
    enum rpc_lane lane = j->lane;
    if (lane == RPC_INLINE) {
        j->run(j);
        return 0;
    }
    if (lane == RPC_QUICK)
        return pool_run(w->pool, work_quick, j);
    j->work = w;
    if (work_queue(w, j))
        return 0;
    int r = pool_run(w->pool, work_in_lane, j);
    if (r < 0) {
        pthread_mutex_lock(&w->lock);
        w->gates[lane].running--;
        pthread_mutex_unlock(&w->lock);
    }
    return r;
}
