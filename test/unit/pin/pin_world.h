/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* What the tests of the reconciler share: a tree with the shared pool "1-3" on a machine with CPUs
 * 0-3, and the reconciler on it. Include this header in one file of a binary. */
#include "paddock/clock.h"
#include "unit/cm.h"
#include "unit/pin/tree.h"

#include <stdio.h>
#include <string.h>

/** An interval in which no tick comes: only events make the reconciler run. */
#define PIN_WORLD_HOUR (3600 * US_PER_SEC)

static struct tree tree;
static struct pin *pin;

static inline int pin_world_setup(void **state) {
    (void)state;
    tree_init(&tree);
    tree_share(&tree, "1-3", "\n");
    pin = NULL;
    return 0;
}

static inline int pin_world_teardown(void **state) {
    (void)state;
    pin_free(pin);
    tree_done(&tree);
    return 0;
}

#define PIN_WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, pin_world_setup, pin_world_teardown)

/** Starts the reconciler with a tick each @interval_us. */
static inline void pin_world_start(uint64_t interval_us) {
    struct pin_options o = tree_options(&tree);
    o.interval_us = interval_us;
    assert_int_equal(pin_new(&o, &pin), 0);
    assert_string_equal(pin_disabled_reason(pin), "");
}

/** Waits until the container of @x has the set @set. */
static inline void pin_world_assert_set(const struct tree_task *x, const char *set) {
    assert_true(tree_wait(&tree, tree_cpus(x), set));
}

/** Waits until the @i-th task is in the state @want. Returns whether it reached it. */
static inline bool pin_world_wait_state(size_t i, const char *want) {
    return tree_wait_task(pin, i, "state", want);
}

/** Waits for @n more ticks. Returns whether they came. */
static inline bool pin_world_wait_ticks(json_int_t n) {
    return tree_wait_counter(pin, "ticks", tree_counter(pin, "ticks") + n);
}
