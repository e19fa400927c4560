/* SPDX-License-Identifier: MPL-2.0 */
/* Threads that wait until a pull or a removal of an image has ended.
 *
 * image_share.c, image_users.c and images.c call it. A condition variable would not do, because a
 * waiter must also end when its call is cancelled. So each waiter has an eventfd for poll(). */
#include "src/image/image_waiters.h"

#include <poll.h>

struct image_waiter { /* on the waiter's stack */
    struct cancel woken;
    struct image_waiter *next;
};

int image_waiters_wait(struct image_waiters *w, pthread_mutex_t *lock, const struct call *call) {
    struct image_waiter me = {.next = w->first};
    int r = cancel_init(&me.woken);
    if (r < 0)
        return r;
    w->first = &me;
    pthread_mutex_unlock(lock);
    r = call_wait_fd(call, me.woken.fd, POLLIN);
    pthread_mutex_lock(lock);
    struct image_waiter **at = &w->first;
    while (*at != &me)
        at = &(*at)->next;
    *at = me.next;
    cancel_done(&me.woken);
    return r;
}

void image_waiters_wake(struct image_waiters *w) {
    for (struct image_waiter *one = w->first; one; one = one->next)
        cancel_fire(&one->woken);
}
