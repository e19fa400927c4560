/* SPDX-License-Identifier: MPL-2.0 */
/* The fixture of the fingerprint's tests (fingerprint_world.h). It keeps the fingerprints that the
 * driver sends, in order. The array is written by the driver's threads, under the fixture's lock.
 */
#include "fake/fingerprint_world.h"

static void on_fingerprint(void *ctx, const struct driver_fingerprint *f) {
    struct fingerprint_world *x = ctx;
    pthread_mutex_lock(&x->lock);
    if (x->n < ARRAY_LEN(x->all))
        x->all[x->n++] = *f;
    pthread_mutex_unlock(&x->lock);
}

struct fingerprint_world *fingerprint_world_setup(void **state, unsigned timeout_ms) {
    struct fingerprint_world *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    pthread_mutex_init(&x->lock, NULL);
    world_start(&x->w, "{}", timeout_ms);
    *state = x;
    return x;
}

void fingerprint_world_subscribe(struct fingerprint_world *x) {
    struct err err = {0};
    assert_int_equal(fingerprint_subscribe(x->w.d, on_fingerprint, x, &x->sub, &err), 0);
}

size_t fingerprint_world_n(struct fingerprint_world *x) {
    pthread_mutex_lock(&x->lock);
    size_t n = x->n;
    pthread_mutex_unlock(&x->lock);
    return n;
}

int fingerprint_world_teardown(void **state) {
    struct fingerprint_world *x = *state;
    fan_unsubscribe(x->sub);
    world_done(&x->w);
    pthread_mutex_destroy(&x->lock);
    free(x);
    return 0;
}
