/* SPDX-License-Identifier: MPL-2.0 */
/* A list of subscribers that all get what one module publishes; see fan.h for the rules. The
 * fingerprint, the task events and the stats use it. fan_unsubscribe() is here, too: it ends a
 * subscription of any of them through its `close` callback. */
#include "src/task/fan.h"
#include "paddock/held.h"

void fan_init(struct fan *f) {
    f->first = NULL;
    pthread_mutex_init(&f->lock, NULL);
}

void fan_done(struct fan *f) {
    pthread_mutex_destroy(&f->lock);
}

static void sub_close(struct driver_sub *sub) {
    fan_remove(sub);
    free(sub);
}

struct driver_sub *fan_sub_new(struct fan *f, void (*call)(struct driver_sub *, const void *),
                               void (*on)(void), void *ctx) {
    struct driver_sub *sub = calloc(1, sizeof(*sub));
    if (sub)
        *sub =
            (struct driver_sub){.close = sub_close, .fan = f, .call = call, .on = on, .ctx = ctx};
    return sub;
}

void fan_add_locked(struct fan *f, struct driver_sub *sub) {
    HELD_ASSERT(&f->lock);
    sub->next = f->first;
    f->first = sub;
}

void fan_remove(struct driver_sub *sub) {
    pthread_mutex_lock(&sub->fan->lock);
    for (struct driver_sub **at = &sub->fan->first; *at; at = &(*at)->next) {
        if (*at == sub) {
            *at = sub->next;
            break;
        }
    }
    pthread_mutex_unlock(&sub->fan->lock);
}

void fan_tell_locked(struct fan *f, const void *what) {
    HELD_ASSERT(&f->lock);
    for (struct driver_sub *sub = f->first; sub; sub = sub->next)
        sub->call(sub, what);
}

void fan_unsubscribe(struct driver_sub *sub) {
    if (sub)
        sub->close(sub);
}
