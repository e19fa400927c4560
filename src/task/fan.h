/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* A list of subscribers. One module publishes (fingerprint, task events, stats), and
 * plugin/ subscribes.
 *
 * Callbacks run while the fan's mutex is held. Therefore:
 * - A callback must not block, and must not call a function of this header.
 * - After fan_remove() returns, no callback of that subscription is running or will run. */
#include "paddock/driver.h"

#include <pthread.h>

struct fan {
    pthread_mutex_t lock;
    struct driver_sub *first;
};

/* A subscription. A module that needs more fields puts it first in a struct of its own. */
struct driver_sub {
    void (*close)(struct driver_sub *sub); /* removes it from its list and frees it */
    struct fan *fan;
    void (*call)(struct driver_sub *sub, const void *what);
    void (*on)(void); /* the subscriber's callback; `call` casts it back */
    void *ctx;
    struct driver_sub *next;
};

void fan_init(struct fan *f);
void fan_done(struct fan *f);

/** Allocates a subscription that is not in the list yet. Returns NULL when out of memory. Owner:
 * caller, sub->close(). */
struct driver_sub *fan_sub_new(struct fan *f, void (*call)(struct driver_sub *, const void *),
                               void (*on)(void), void *ctx);
/** Adds @sub. The caller holds the fan's mutex, so that it can send @sub a first value before
 * any other. */
void fan_add_locked(struct fan *f, struct driver_sub *sub);
/** Removes @sub. Takes the mutex, and so waits for a running callback. */
void fan_remove(struct driver_sub *sub);
/** Calls every subscriber with @what. The caller holds the fan's mutex. */
void fan_tell_locked(struct fan *f, const void *what);
