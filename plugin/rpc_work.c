/* The workers: one pool, and a gate in front of it for slow methods (the rule is in rpc.h). */
#include "plugin/rpc_priv.h"
#include "paddock/pool.h"

struct rpc_work {
    struct pool *pool;
    pthread_mutex_t lock;
    unsigned slow; /* workers that run slow methods */
    struct rpc_base *first, **last;
};

int rpc_work_new(struct rpc_work **ret) {
    AUTO_FREE struct rpc_work *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    int r = pool_new(RPC_WORKERS, &w->pool);
    if (r < 0)
        return r;
    pthread_mutex_init(&w->lock, NULL);
    w->last = &w->first;
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

/* The next slow one that waits; NULL: this worker is no slow one any more. */
static struct rpc_base *work_next_slow(struct rpc_work *w) {
    pthread_mutex_lock(&w->lock);
    struct rpc_base *b = w->first;
    if (b) {
        w->first = b->next_slow;
        if (!w->first)
            w->last = &w->first;
    } else {
        w->slow--;
    }
    pthread_mutex_unlock(&w->lock);
    return b;
}

static void work_slow(void *ctx) {
    struct rpc_base *b = ctx;
    struct rpc_work *w = rpc_server_work(b->server);
    do
        b->ops->run(b);
    while ((b = work_next_slow(w)));
}

/* True: @b waits in the queue. Otherwise a worker is counted for it. */
static bool work_queue_slow(struct rpc_work *w, struct rpc_base *b) {
    pthread_mutex_lock(&w->lock);
    bool wait = w->slow >= RPC_WORKERS_SLOW;
    if (wait) {
        b->next_slow = NULL;
        *w->last = b;
        w->last = &b->next_slow;
    } else {
        w->slow++;
    }
    pthread_mutex_unlock(&w->lock);
    return wait;
}

int rpc_work_run(struct rpc_base *b) {
    struct rpc_work *w = rpc_server_work(b->server);
    rpc_base_ref(b);
    if (b->method->slow && work_queue_slow(w, b))
        return 0;
    int r = pool_run(w->pool, b->method->slow ? work_slow : work_quick, b);
    if (r < 0 && b->method->slow) {
        pthread_mutex_lock(&w->lock);
        w->slow--;
        pthread_mutex_unlock(&w->lock);
    }
    if (r < 0)
        rpc_base_unref(b);
    return r;
}
