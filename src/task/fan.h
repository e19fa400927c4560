#pragma once
/* A list of listeners. Callbacks run under the fan's own mutex, so that after fan_remove has
 * returned none comes any more; they must not block and must not call back into the fan. */
#include "paddock/driver.h"

#include <pthread.h>

struct fan {
    pthread_mutex_t lock;
    struct driver_sub *first;
};

/* A subscription; modules that need more put it first in a struct of theirs. */
struct driver_sub {
    void (*close)(struct driver_sub *sub); /* takes it out of its list and releases it */
    struct fan *fan;
    void (*call)(struct driver_sub *sub, const void *what);
    void (*on)(void); /* the listener's callback, cast back by call */
    void *ctx;
    struct driver_sub *next;
};

void fan_init(struct fan *f);
void fan_done(struct fan *f);

/** A plain subscription, not in the list yet. NULL without memory. */
struct driver_sub *fan_sub_new(struct fan *f, void (*call)(struct driver_sub *, const void *),
                               void (*on)(void), void *ctx);
/** Puts it in; the fan's lock is held by the caller, so that it can tell it something first. */
void fan_add_locked(struct fan *f, struct driver_sub *sub);
/** Takes it out of the list, under the lock. */
void fan_remove(struct driver_sub *sub);
/** Tells all; the fan's lock is held by the caller. */
void fan_tell_locked(struct fan *f, const void *what);
