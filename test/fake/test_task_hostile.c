/* Labels that a job or an image chose to harm its neighbours, or to lie about its own end: whatever
 * they are, each task's end is learnt, with the code that its process had. */
#include "fake/task_world.h"

#include <stdio.h>
#include <string.h>

static int setup(void **state) {
    world_web_setup(state, "{}", 0, false);
    return 0;
}

/* Runs x->task with @labels ("\"a\":\"b\""). */
static void run_with(struct world_web *x, const char *labels) {
    size_t size = strlen(labels) + 256;
    AUTO_FREE char *job = malloc(size);
    assert_non_null(job);
    snprintf(job, size, "{\"image\":\"busybox\",\"command\":\"sleep\",\"labels\":{%s}}", labels);
    task_config_done(&x->task);
    world_task(&x->w, &x->task, "web", job);
    world_run(&x->w, &x->task, &x->started);
    world_until_count(&x->w, "GET /events", 1);
}

static void other_task(struct world_web *x, struct task_config *c) {
    world_task(&x->w, c, "other", WORLD_WEB_JOB);
    world_run(&x->w, c, NULL);
}

/* Each of its events is longer than what is read of one. */
static void test_hostile__endless_label__both_ends_learnt_and_counted(void **state) {
    struct world_web *x = *state;
    struct task_config other;
    size_t n = 700000; /* quotes, two bytes each in JSON */
    AUTO_FREE char *label = malloc(2 * n + 8);
    assert_non_null(label);
    memcpy(label, "\"a\":\"", 5);
    for (size_t i = 0; i < n; i++)
        memcpy(label + 5 + 2 * i, "\\\"", 2);
    memcpy(label + 5 + 2 * n, "\"", 2);
    run_with(x, label);
    other_task(x, &other);
    world_exit(&x->w, &x->task, 3);
    world_exit(&x->w, &other, 4);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 3);
    assert_int_equal(world_wait(&x->w, other.id).code, 4);
    assert_int_equal(fake_count(&x->w.fake, "GET /events"), 1); /* the stream was not lost */

    AUTO_FREE char *metrics = driver_metrics(x->w.d);
    const char *at = strstr(metrics, "paddock_docker_skipped_total{kind=\"event\"} ");
    assert_non_null(at);
    assert_true(strtol(strchr(at, '}') + 1, NULL, 10) > 0);
    assert_non_null(strstr(metrics, "paddock_cpuset_tasks"));
    task_config_done(&other);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, world_web_teardown)

static const struct CMUnitTest tests[] = {
    CASE(test_hostile__endless_label__both_ends_learnt_and_counted),
};
WORLD_MAIN(tests)
