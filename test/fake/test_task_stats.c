/* SPDX-License-Identifier: MPL-2.0 */
/* TaskStats: streams of samples with different intervals, their end with the task, and a dockerd
 * that does not answer. */
#include "fake/task_world.h"

#include <stdio.h>

struct fixture {
    struct world w;
    struct task_config task;
    struct driver_sub *sub[2];
    pthread_mutex_t lock; /* for the fields below */
    unsigned samples[2], ends[2];
    struct driver_stats last;
};

static int setup(void **state) {
    struct fixture *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    pthread_mutex_init(&x->lock, NULL);
    world_start(&x->w, "{}", 0);
    world_task(&x->w, &x->task, "web", WORLD_WEB_JOB);
    world_run(&x->w, &x->task, NULL);
    world_until_count(&x->w, "GET /events", 1);
    *state = x;
    return 0;
}

static int teardown(void **state) {
    struct fixture *x = *state;
    for (int i = 0; i < 2; i++)
        fan_unsubscribe(x->sub[i]);
    world_done(&x->w);
    task_config_done(&x->task);
    pthread_mutex_destroy(&x->lock);
    free(x);
    return 0;
}

static void take(struct fixture *x, int i, const struct driver_stats *s) {
    pthread_mutex_lock(&x->lock);
    if (s) {
        assert_int_equal(x->ends[i], 0); /* nothing after the end */
        x->samples[i]++;
        x->last = *s;
    } else {
        x->ends[i]++;
    }
    pthread_mutex_unlock(&x->lock);
}

static void on_stats0(void *ctx, const struct driver_stats *s) {
    take(ctx, 0, s);
}

static void on_stats1(void *ctx, const struct driver_stats *s) {
    take(ctx, 1, s);
}

static bool both_sampled(void *ctx) {
    struct fixture *x = ctx;
    pthread_mutex_lock(&x->lock);
    bool yes = x->samples[0] >= 10 && x->samples[1] >= 1;
    pthread_mutex_unlock(&x->lock);
    return yes;
}

static bool both_ended(void *ctx) {
    struct fixture *x = ctx;
    pthread_mutex_lock(&x->lock);
    bool yes = x->ends[0] == 1 && x->ends[1] == 1;
    pthread_mutex_unlock(&x->lock);
    return yes;
}

/* The fake's pid belongs to no process, so that no cgroup file can be read. Docker's one-shot
 * call is used. */
static void test_stats__two_intervals__each_its_own_end_with_the_task(void **state) {
    struct fixture *x = *state;
    struct err err = {0};
    assert_int_equal(
        task_stats(x->w.d, x->task.id, 100 * US_PER_MS, on_stats0, x, &x->sub[0], &err), 0);
    assert_int_equal(task_stats(x->w.d, x->task.id, 2 * US_PER_SEC, on_stats1, x, &x->sub[1], &err),
                     0);
    world_until(both_sampled, x, "samples");
    pthread_mutex_lock(&x->lock);
    unsigned fast = x->samples[0], slow = x->samples[1];
    pthread_mutex_unlock(&x->lock);
    assert_true(fast >= 2 * slow);
    assert_int_equal(x->last.usage, 4096);
    assert_true(x->last.time_ns > 0);
    world_exit(&x->w, &x->task, 0);
    world_until(both_ended, x, "the streams' ends");
    /* a subscription that comes late ends, too */
    fan_unsubscribe(TAKE_PTR(x->sub[0]));
    x->ends[0] = 0;
    x->samples[0] = 0;
    assert_int_equal(
        task_stats(x->w.d, x->task.id, 100 * US_PER_MS, on_stats0, x, &x->sub[0], &err), 0);
    world_until(both_ended, x, "the late stream's end");
    assert_int_equal(x->samples[0], 0);
}

static void test_stats__unsubscribed__silent(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->w.fake, "GET /containers/*/stats delay=150\n");
    assert_int_equal(
        task_stats(x->w.d, x->task.id, 100 * US_PER_MS, on_stats0, x, &x->sub[0], NULL), 0);
    char request[128];
    snprintf(request, sizeof(request), "GET /containers/%s/stats",
             world_look(&x->w, x->task.id).container_id);
    world_until_count(&x->w, request, 1);
    fan_unsubscribe(TAKE_PTR(x->sub[0]));
    unsigned samples = x->samples[0];
    world_until_count(&x->w, request, 1);
    world_driver_free(&x->w); /* waits for the call in flight */
    assert_int_equal(x->samples[0], samples);
    world_driver_new(&x->w, "{}");
}

static int stats_asked(struct fixture *x, const struct task_config *tasks, size_t n) {
    char request[128];
    int sum = 0;
    for (size_t i = 0; i < n; i++) {
        snprintf(request, sizeof(request), "GET /containers/%s/stats",
                 world_look(&x->w, tasks[i].id).container_id);
        sum += fake_count(&x->w.fake, request);
    }
    return sum;
}

/* A dockerd that does not answer stats uses one thread, not all those that inspect containers.
 * After SIGKILL, an end is reported only after an inspect. The streams are opened when all tasks
 * run, because they ask from then on. */
static void test_stats__docker_hangs__ends_are_reported(void **state) {
    struct fixture *x = *state;
    struct task_config tasks[20];
    struct driver_sub *subs[ARRAY_LEN(tasks)];
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++) {
        char name[16];
        snprintf(name, sizeof(name), "s%zu", i);
        world_task(&x->w, &tasks[i], name, WORLD_WEB_JOB);
        world_run(&x->w, &tasks[i], NULL);
    }
    fake_rules(&x->w.fake, "GET /containers/*/stats hang\n");
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++)
        assert_int_equal(
            task_stats(x->w.d, tasks[i].id, 100 * US_PER_MS, on_stats0, x, &subs[i], NULL), 0);
    uint64_t deadline = clock_now_us() + WORLD_WAIT_US;
    while (stats_asked(x, tasks, ARRAY_LEN(tasks)) == 0)
        assert_true(clock_now_us() < deadline);
    world_exit(&x->w, &tasks[0], 137);
    assert_int_equal(world_wait(&x->w, tasks[0].id).code, 137);
    /* the next one is asked when Docker's time for the first answer is over */
    assert_in_range(stats_asked(x, tasks, ARRAY_LEN(tasks)), 1, 2);
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++) {
        fan_unsubscribe(subs[i]);
        task_config_done(&tasks[i]);
    }
    world_driver_ends_soon(&x->w); /* the request that hangs is cancelled */
}

static void test_stats__unknown_task__not_found(void **state) {
    struct fixture *x = *state;
    struct driver_sub *sub = NULL;
    assert_int_equal(task_stats(x->w.d, "unknown", US_PER_SEC, on_stats0, x, &sub, NULL), -ENOENT);
    assert_null(sub);
}

static bool has_new_pid(void *ctx) {
    struct fixture *x = ctx;
    return world_look(&x->w, x->task.id).pid == 1000000000;
}

/* A restart by Docker is not an end. The pid changes. */
static void test_restart_by_docker__new_pid_still_running(void **state) {
    struct fixture *x = *state;
    fake_control(&x->w.fake, "POST", "restart/web-a1?lost=1", "", NULL, 0);
    world_until(has_new_pid, x, "the new pid");
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static const struct CMUnitTest tests[] = {
    T(test_stats__two_intervals__each_its_own_end_with_the_task),
    T(test_stats__unsubscribed__silent),
    T(test_stats__docker_hangs__ends_are_reported),
    T(test_stats__unknown_task__not_found),
    T(test_restart_by_docker__new_pid_still_running),
};
WORLD_MAIN(tests)
