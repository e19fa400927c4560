/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* What the tests of the fingerprint share: a world, and all fingerprints that its driver has sent.
 * Every function fails the test itself. */
#include "fake/task_world.h"

struct fingerprint_world {
    struct world w;
    struct driver_sub *sub;
    pthread_mutex_t lock; /* for the fields below */
    struct driver_fingerprint all[64];
    size_t n;
};

/** A world without a subscription. @timeout_ms: of Docker calls. Owner: cmocka's @state, freed by
 * fingerprint_world_teardown(). */
struct fingerprint_world *fingerprint_world_setup(void **state, unsigned timeout_ms);
/** Subscribes to the driver's fingerprints. */
void fingerprint_world_subscribe(struct fingerprint_world *x);
/** How many fingerprints have come. */
size_t fingerprint_world_n(struct fingerprint_world *x);
/** cmocka's teardown. */
int fingerprint_world_teardown(void **state);
