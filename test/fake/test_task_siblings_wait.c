/* SPDX-License-Identifier: MPL-2.0 */
/* The waits of siblings.h, called directly: which sibling waits for which, what wakes a waiter, and
 * the turns of starts whose images are not proven. */
#include "fake/siblings_world.h"

#include "src/task/driver_priv.h"
#include "src/task/siblings.h"

#include "paddock/create.h"

/* Two siblings reach the folder, both exposed. One of them is covered, and the start waits for
 * the other one. */
static void test_siblings_reach__two_exposed__one_holds(void **state) {
    struct pair *p = *state;
    struct driver *d = siblings_world_of(state)->d;
    struct sibling a = SIBLING(&p->x.task), b = SIBLING(&p->evil);
    struct call soon = call_within(NULL, 20 * US_PER_MS), call = fake_call();
    struct err err = {0};
    assert_int_equal(driver_activate(d, &err), 0);
    assert_int_equal(siblings_expose(d, &a), 0);
    assert_int_equal(siblings_expose(d, &b), 0);
    assert_int_equal(siblings_reach(d, &a, &soon, &err), -ETIMEDOUT); /* waits for b */
    assert_int_equal(siblings_reach(d, &b, &call, NULL), 1);
    assert_int_equal(siblings_reach(d, &a, &call, NULL), 0);
    soon = call_within(NULL, 20 * US_PER_MS);
    assert_int_equal(siblings_reach(d, &b, &soon, NULL), -ETIMEDOUT); /* a is still exposed */
    siblings_leave(d, &a);
    assert_int_equal(siblings_reach(d, &b, &call, NULL), 0);
    assert_int_equal(siblings_expose(d, &a), CREATE_OWN_ALL);
    siblings_leave(d, &b);
    siblings_leave(d, &b);
    assert_int_equal(siblings_expose(d, &a), 0);
    siblings_leave(d, &a);
}

/* ---- Waiting ---- */

struct waiter {
    struct driver *d;
    struct sibling s;
    bool for_turn;
    int r;
};

static void *wait_thread(void *arg) {
    struct waiter *b = arg;
    struct call call = fake_call();
    b->r = b->for_turn ? siblings_take_turn(b->d, &b->s, true, &call, NULL)
                       : siblings_reach(b->d, &b->s, &call, NULL);
    return NULL;
}

static bool is_waiting(void *ctx) {
    struct waiter *b = ctx;
    pthread_mutex_lock(&b->d->lock);
    bool is = b->s.wake_fd >= 0;
    pthread_mutex_unlock(&b->d->lock);
    return is;
}

static void expose_again(struct driver *d, struct sibling *a) {
    assert_int_equal(siblings_expose(d, a), CREATE_OWN_ALL);
}

static void reach_too(struct driver *d, struct sibling *a) {
    struct call call = fake_call();
    assert_int_equal(siblings_reach(d, a, &call, NULL), 1);
}

/* Every change that lets a waiting start continue wakes it. */
static void test_siblings__other_changes__waiter_continues(void **state) {
    static const struct {
        void (*change)(struct driver *d, struct sibling *a);
        bool for_turn;
        int want;
    } rows[] = {
        {siblings_cover, false, 0}, {siblings_leave, false, 0}, {expose_again, false, 0},
        {reach_too, false, 0},      {siblings_pass, true, 1},   {siblings_leave, true, 1},
    };
    struct pair *p = *state;
    struct driver *d = siblings_world_of(state)->d;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sibling a = SIBLING(&p->x.task);
        struct waiter b = {.d = d, .s = SIBLING(&p->evil), .for_turn = rows[i].for_turn};
        struct call call = fake_call();
        pthread_t thread;
        assert_int_equal(siblings_expose(d, &a), 0);
        assert_int_equal(siblings_expose(d, &b.s), 0);
        if (b.for_turn)
            assert_int_equal(siblings_take_turn(d, &a, true, &call, NULL), 0);
        assert_int_equal(pthread_create(&thread, NULL, wait_thread, &b), 0);
        world_until(is_waiting, &b, "a start that waits");
        rows[i].change(d, &a);
        pthread_join(thread, NULL);
        if (b.r != rows[i].want)
            fail_msg("row %zu: %d, want %d", i, b.r, rows[i].want);
        siblings_leave(d, &a);
        siblings_leave(d, &b.s);
    }
}

static int turn_within_20_ms(struct driver *d, struct sibling *s, bool unproven) {
    struct call soon = call_within(NULL, 20 * US_PER_MS);
    return siblings_take_turn(d, s, unproven, &soon, NULL);
}

static void test_siblings_take_turn__unproven__shared_with_no_other(void **state) {
    struct pair *p = *state;
    struct driver *d = siblings_world_of(state)->d;
    struct sibling a = SIBLING(&p->x.task), b = SIBLING(&p->evil);
    assert_int_equal(siblings_expose(d, &a), 0);
    assert_int_equal(siblings_expose(d, &b), 0);
    assert_int_equal(turn_within_20_ms(d, &a, false), 0);
    assert_int_equal(turn_within_20_ms(d, &b, false), 0); /* two images that are proven */
    siblings_pass(d, &b);
    assert_int_equal(turn_within_20_ms(d, &b, true), -ETIMEDOUT);
    siblings_pass(d, &a);
    assert_int_equal(turn_within_20_ms(d, &b, true), 0);
    assert_int_equal(turn_within_20_ms(d, &a, false), -ETIMEDOUT);
    assert_int_equal(turn_within_20_ms(d, &a, true), -ETIMEDOUT);
    siblings_leave(d, &b);
    assert_int_equal(turn_within_20_ms(d, &a, false), 0);
    siblings_leave(d, &a);
}

static const struct CMUnitTest tests[] = {
    SIBLINGS_TEST(test_siblings_reach__two_exposed__one_holds),
    SIBLINGS_TEST(test_siblings__other_changes__waiter_continues),
    SIBLINGS_TEST(test_siblings_take_turn__unproven__shared_with_no_other),
};
WORLD_MAIN(tests)
