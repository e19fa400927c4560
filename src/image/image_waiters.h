#pragma once
#include "paddock/call.h"

#include <pthread.h>

struct image_waiter;
struct image_waiters {
    struct image_waiter *first;
};

/** Unlocks @lock, which guards @w, waits for image_waiters_wake(), @call's deadline or its cancel,
 * and locks it again. Returns 0 (the caller checks again what it waits for); -ETIMEDOUT;
 * -ECANCELED; -errno (no more fds). */
int image_waiters_wait(struct image_waiters *w, pthread_mutex_t *lock,
                       const struct call *call) MUST_CHECK;
/** Under the lock: a pull or a removal has ended. */
void image_waiters_wake(struct image_waiters *w);
