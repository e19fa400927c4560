/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
#include "paddock/call.h"

#include <pthread.h>

struct image_waiter;
struct image_waiters {
    struct image_waiter *first;
};

/** Unlocks @lock, which guards @w, waits for image_waiters_wake(), for @call's deadline or for its
 * cancel, and locks it again. Returns 0 (the caller must check its condition again); -ETIMEDOUT;
 * -ECANCELED; -errno (no more fds). */
int image_waiters_wait(struct image_waiters *w, pthread_mutex_t *lock,
                       const struct call *call) MUST_CHECK;
/** Wakes all waiters because a pull or a removal has ended. The caller holds the lock. */
void image_waiters_wake(struct image_waiters *w);
