#pragma once
/* How many calls there are, and the order to stop: what the server shares with its calls, so that
 * they need not know the server. */
#include <pthread.h>
#include <stdint.h>

struct rpc_life {
    void (*stop)(void *ctx); /* stops the server: any thread, any number of times */
    void *ctx;
    unsigned open; /* calls that gRPC still owes events; the rpc thread's */
    /* ---- under the lock ---- */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* CLOCK_MONOTONIC */
    unsigned alive;         /* calls and streams that somebody still refers to */
};

void rpc_life_init(struct rpc_life *l, void (*stop)(void *ctx), void *ctx);
void rpc_life_done(struct rpc_life *l);

/** The rpc thread: a call came. */
void rpc_life_born(struct rpc_life *l);
/** The rpc thread: gRPC has given back all events of a call. */
void rpc_life_released(struct rpc_life *l);
/** Any thread: the memory of a call is freed. */
void rpc_life_died(struct rpc_life *l);

/** Waits until no call is alive. @until_us: clock_now_us() time. Returns how many are left. */
unsigned rpc_life_wait(struct rpc_life *l, uint64_t until_us);
