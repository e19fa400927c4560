/* SPDX-License-Identifier: MPL-2.0 */
/* Counts the calls and streams of a server.
 *
 * rpc_base.c counts each call twice: as open until gRPC has returned its last event, and as alive
 * until its memory is freed, which users of the call may delay. rpc_server.c waits for both counts
 * before it frees objects that calls use. */
#include "plugin/rpc_life.h"
#include "paddock/clock.h"

#include <time.h>

void rpc_life_init(struct rpc_life *l, void (*stop)(void *ctx), void *ctx) {
    pthread_condattr_t attr;
    *l = (struct rpc_life){.stop = stop, .ctx = ctx};
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->changed, &attr);
    pthread_condattr_destroy(&attr);
}

void rpc_life_done(struct rpc_life *l) {
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
}

void rpc_life_born(struct rpc_life *l) {
    l->open++;
    pthread_mutex_lock(&l->lock);
    l->alive++;
    pthread_mutex_unlock(&l->lock);
}

void rpc_life_released(struct rpc_life *l) {
    l->open--;
}

void rpc_life_died(struct rpc_life *l) {
    pthread_mutex_lock(&l->lock);
    l->alive--;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

unsigned rpc_life_wait(struct rpc_life *l, uint64_t until_us) {
    struct timespec until = {.tv_sec = (time_t)(until_us / US_PER_SEC),
                             .tv_nsec = (long)(until_us % US_PER_SEC * 1000)};
    int r = 0;
    pthread_mutex_lock(&l->lock);
    while (l->alive > 0 && r == 0)
        r = pthread_cond_timedwait(&l->changed, &l->lock, &until);
    unsigned left = l->alive;
    pthread_mutex_unlock(&l->lock);
    return left;
}
