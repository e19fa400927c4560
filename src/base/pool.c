/* SPDX-License-Identifier: MPL-2.0 */
/* A pool of threads that starts and ends its threads as needed.
 *
 * The driver, the fingerprint and the gRPC workers each have one. Threads are detached: pool_free()
 * waits for a counter instead of joining them. */
#include "paddock/pool.h"

#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#define POOL_IDLE_SEC 5
/* Docker calls need only the depth of curl and jansson. 1,000 tasks must not cost 8 MiB stacks. */
#define POOL_STACK_BYTES ((size_t)256 << 10)

struct pool_item {
    void (*work)(void *ctx);
    void *ctx;
    struct pool_item *next;
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work, ended; /* work: CLOCK_MONOTONIC */
    struct pool_item *first, **last;
    unsigned max, threads, idle, queued;
    bool stop;
};

int pool_new(unsigned max_threads, struct pool **ret) {
    struct pool *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->max = max_threads;
    p->last = &p->first;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->work, &attr);
    pthread_cond_init(&p->ended, NULL);
    pthread_condattr_destroy(&attr);
    *ret = p;
    return 0;
}

void pool_free(struct pool *p) {
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->work);
    while (p->threads > 0)
        pthread_cond_wait(&p->ended, &p->lock);
    pthread_mutex_unlock(&p->lock);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->ended);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* Waits for work. Under the lock. Returns NULL when the thread should end. */
static struct pool_item *pool_next(struct pool *p) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += POOL_IDLE_SEC;
    p->idle++;
    int r = 0;
    while (!p->first && !p->stop && r == 0)
        r = pthread_cond_timedwait(&p->work, &p->lock, &until);
    p->idle--;
    struct pool_item *item = p->first;
    if (item) {
        p->queued--;
        p->first = item->next;
        if (!p->first)
            p->last = &p->first;
    }
    return item;
}

static void *pool_thread(void *arg) {
    struct pool *p = arg;
    pthread_mutex_lock(&p->lock);
    for (struct pool_item *item; (item = pool_next(p));) {
        pthread_mutex_unlock(&p->lock);
        item->work(item->ctx);
        free(item);
        pthread_mutex_lock(&p->lock);
    }
    bool last = --p->threads == 0 && !p->stop;
    pthread_cond_broadcast(&p->ended);
    pthread_mutex_unlock(&p->lock);
    /* Returns the memory of a busy time to the kernel. Without this, a hundred starts and stops
     * sometimes leave half a MiB between the pieces that are in use. */
    if (last)
        (void)malloc_trim(0);
    return NULL;
}

static int pool_spawn(struct pool *p) {
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, POOL_STACK_BYTES);
    int r = pthread_create(&thread, &attr, pool_thread, p);
    pthread_attr_destroy(&attr);
    return -r;
}

int pool_run(struct pool *p, void (*work)(void *ctx), void *ctx) {
    struct pool_item *item = malloc(sizeof(*item));
    if (!item)
        return -ENOMEM;
    *item = (struct pool_item){.work = work, .ctx = ctx};
    int r = 0;
    pthread_mutex_lock(&p->lock);
    /* An idle thread that was woken for earlier work counts as idle until it runs, so compare with
     * the number of queued items. */
    if (p->queued >= p->idle && p->threads < p->max) {
        p->threads++; /* counted before it runs, so that pool_free waits for it */
        r = pool_spawn(p);
        if (r < 0)
            p->threads--;
    }
    if (p->threads == 0) {
        free(item);
    } else {
        r = 0;
        *p->last = item;
        p->last = &item->next;
        p->queued++;
        pthread_cond_signal(&p->work);
    }
    pthread_mutex_unlock(&p->lock);
    return r;
}
