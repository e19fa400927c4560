/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The number of calls, and a function that stops the server. The server shares these with its
 * calls, so that the calls need not know the server. */
#include <pthread.h>
#include <stdint.h>

struct rpc_life {
    void (*stop)(void *ctx); /* stops the server: any thread, any number of times */
    void *ctx;
    unsigned open; /* calls for which gRPC still owes events; rpc thread only */
    /* ---- under the lock ---- */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* CLOCK_MONOTONIC */
    unsigned alive;         /* calls and streams that are still referred to */
};

/** @stop: see the struct. Call rpc_life_done() only when no call is alive. */
void rpc_life_init(struct rpc_life *l, void (*stop)(void *ctx), void *ctx);
void rpc_life_done(struct rpc_life *l);

/** On the rpc thread: a call has arrived. */
void rpc_life_born(struct rpc_life *l);
/** On the rpc thread: gRPC has returned all events of a call. */
void rpc_life_released(struct rpc_life *l);
/** Any thread: the memory of a call was freed. */
void rpc_life_died(struct rpc_life *l);

/** Waits until no call is alive. @until_us: clock_now_us() time. Returns how many are left. */
unsigned rpc_life_wait(struct rpc_life *l, uint64_t until_us);
