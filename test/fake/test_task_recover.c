/* SPDX-License-Identifier: MPL-2.0 */
/* Several RecoverTask calls for one task at the same time. One of them recovers the task; the
 * others wait for its end and find the task. */
#include "fake/task_world.h"

#include <stdio.h>
#include <string.h>

#define INSPECT "GET /containers/*/json"
#define CALLS 8

struct caller {
    struct world_web *x;
    pthread_t thread;
    int result;
};

static int setup(void **state) {
    int r = world_web_setup(state, "{}", 0, true);
    struct world_web *x = *state;
    world_driver_free(&x->w);
    world_driver_new(&x->w, "{}");
    return r;
}

static int recover_within(struct world_web *x, uint64_t us, struct err *err) {
    struct call call = call_within(NULL, us);
    return task_recover(x->w.d, &call, &x->task, x->started.state, x->started.state_len, err);
}

static void *recovers(void *arg) {
    struct caller *c = arg;
    c->result = recover_within(c->x, WORLD_WAIT_US, NULL);
    return NULL;
}

/* Of the fake's first container. */
static int inspects(struct world_web *x) {
    char request[160];
    snprintf(request, sizeof(request), "GET /containers/c0de%08x%052x/json", 1, 0xfeed);
    return fake_count(&x->w.fake, request);
}

static void test_recover__many_at_once__all_succeed(void **state) {
    struct world_web *x = *state;
    struct caller callers[CALLS];
    fake_rules(&x->w.fake, INSPECT " times=1 delay=200\n");
    for (int i = 0; i < CALLS; i++) {
        callers[i] = (struct caller){.x = x};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, recovers, &callers[i]), 0);
    }
    for (int i = 0; i < CALLS; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_int_equal(callers[i].result, 0);
    }
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    assert_int_equal(fake_images_held(), 1);
}

struct asked {
    struct world_web *x;
    int before;
};

static bool has_asked(void *ctx) {
    struct asked *a = ctx;
    return inspects(a->x) > a->before;
}

/* The one that waits gives up, and hinders neither the first nor a later one. */
static void test_recover__another_lasts_longer_than_the_call__error(void **state) {
    struct world_web *x = *state;
    struct caller first = {.x = x}, later = {.x = x};
    struct asked asked = {.x = x, .before = inspects(x)};
    struct err err = {0};
    fake_rules(&x->w.fake, INSPECT " hang\n");
    assert_int_equal(pthread_create(&first.thread, NULL, recovers, &first), 0);
    world_until(has_asked, &asked, "the first recovery");
    assert_int_equal(recover_within(x, 50 * US_PER_MS, &err), -ETIMEDOUT);
    assert_non_null(strstr(err.text, "another recovery of task"));
    assert_int_equal(pthread_create(&later.thread, NULL, recovers, &later), 0);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    pthread_join(first.thread, NULL); /* takes the task to run, as Docker did not answer */
    pthread_join(later.thread, NULL);
    assert_int_equal(first.result, 0);
    assert_int_equal(later.result, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, world_web_teardown)
static const struct CMUnitTest tests[] = {
    T(test_recover__many_at_once__all_succeed),
    T(test_recover__another_lasts_longer_than_the_call__error),
};
WORLD_MAIN(tests)
