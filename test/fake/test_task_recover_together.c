/* SPDX-License-Identifier: MPL-2.0 */
/* Several RecoverTask calls for one task at the same time. One of them recovers the task. The
 * others wait for its end and get its result. */
#include "fake/task_world.h"

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
    world_driver_restart(&x->w);
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

static void recover_together(struct world_web *x, struct caller *callers, int n) {
    for (int i = 0; i < n; i++) {
        callers[i] = (struct caller){.x = x};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, recovers, &callers[i]), 0);
    }
    for (int i = 0; i < n; i++)
        pthread_join(callers[i].thread, NULL);
}

static int inspects(struct world_web *x) {
    return fake_count(&x->w.fake, "GET " WORLD_CONTAINER("1") "/json");
}

static void test_recover__twice_together__both_succeed(void **state) {
    struct world_web *x = *state;
    struct caller callers[2];
    fake_rules(&x->w.fake, "GET /containers/*/json delay=100\n");
    recover_together(x, callers, 2);
    assert_int_equal(callers[0].result, 0);
    assert_int_equal(callers[1].result, 0);
    assert_int_equal(fake_images_held(), 1);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

/* Both get the failure. A caller that got a success would wait for an unknown task. */
static void test_recover__twice_together_and_removed__both_fail(void **state) {
    struct world_web *x = *state;
    struct caller callers[2];
    fake_rules(&x->w.fake, "GET /containers/*/json delay=300 status=404 body={}\n");
    recover_together(x, callers, 2);
    assert_int_equal(callers[0].result, -ENOENT);
    assert_int_equal(callers[1].result, -ENOENT);
    assert_int_equal(fake_images_held(), 0);
}

static void test_recover__many_together__all_succeed(void **state) {
    struct world_web *x = *state;
    struct caller callers[CALLS];
    fake_rules(&x->w.fake, INSPECT " times=1 delay=200\n");
    recover_together(x, callers, CALLS);
    for (int i = 0; i < CALLS; i++)
        assert_int_equal(callers[i].result, 0);
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

/* The caller that waits gives up. The first caller and a later one are not affected. */
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
    pthread_join(first.thread, NULL); /* assumes that the task runs, as Docker did not answer */
    pthread_join(later.thread, NULL);
    assert_int_equal(first.result, 0);
    assert_int_equal(later.result, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, world_web_teardown)
static const struct CMUnitTest tests[] = {
    T(test_recover__twice_together__both_succeed),
    T(test_recover__twice_together_and_removed__both_fail),
    T(test_recover__many_together__all_succeed),
    T(test_recover__another_lasts_longer_than_the_call__error),
};
WORLD_MAIN(tests)
