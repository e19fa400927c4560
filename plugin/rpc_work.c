/* The workers: one pool, and a gate in front of it for each lane (the rule is in rpc.h). */
#include "plugin/rpc_priv.h"
#include "paddock/pool.h"

struct gate {
    unsigned running;
    struct rpc_base *first, **last; /* who waits */
};

struct rpc_work {
    struct pool *pool;
    pthread_mutex_t lock;
    struct gate gates[RPC_LANES]; /* RPC_QUICK and RPC_INLINE do not use theirs */
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
    struct rpc_base *b = ctx;
    b->ops->run(b);
}

/* The next one that waits; NULL: the lane has a worker less. */
static struct rpc_base *work_next(struct rpc_work *w, enum rpc_lane lane) {
    struct gate *g = &w->gates[lane];
    pthread_mutex_lock(&w->lock);
    struct rpc_base *b = g->first;
    if (b) {
        g->first = b->next_in_lane;
        if (!g->first)
            g->last = &g->first;
    } else {
        g->running--;
    }
    pthread_mutex_unlock(&w->lock);
    return b;
}

static void work_in_lane(void *ctx) {
    struct rpc_base *b = ctx;
    struct rpc_work *w = rpc_server_work(b->server);
    enum rpc_lane lane = b->method->lane;
    do
        b->ops->run(b);
    while ((b = work_next(w, lane)));
}

/* True: @b waits in its lane. Otherwise a worker is counted for it. */
static bool work_queue(struct rpc_work *w, struct rpc_base *b) {
    struct gate *g = &w->gates[b->method->lane];
    pthread_mutex_lock(&w->lock);
    bool wait = g->running >= limits[b->method->lane];
    if (wait) {
        b->next_in_lane = NULL;
        *g->last = b;
        g->last = &b->next_in_lane;
    } else {
        g->running++;
    }
    pthread_mutex_unlock(&w->lock);
    return wait;
}

int rpc_work_run(struct rpc_base *b) {
    struct rpc_work *w = rpc_server_work(b->server);
    enum rpc_lane lane = b->method->lane;
    rpc_base_ref(b);
    if (lane == RPC_INLINE) {
        b->ops->run(b);
        return 0;
    }
    if (lane != RPC_QUICK && work_queue(w, b))
        return 0;
    int r = pool_run(w->pool, lane != RPC_QUICK ? work_in_lane : work_quick, b);
    if (r < 0 && lane != RPC_QUICK) {
        pthread_mutex_lock(&w->lock);
        w->gates[lane].running--;
        pthread_mutex_unlock(&w->lock);
    }
    if (r < 0)
        rpc_base_unref(b);
    return r;
}
