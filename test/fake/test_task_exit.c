/* SPDX-License-Identifier: MPL-2.0 */
/* How the end of a task becomes known: with a lost event stream, after a removal by hand, and after
 * an OOM kill. Also the waiters for it, and output that is still to be delivered when it comes. */
#include "fake/task_world.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

static int setup(void **state) {
    return world_web_setup_live(state, 0);
}

static void test_exit__codes__as_docker_reports(void **state) {
    struct world_web *x = *state;
    world_exit(&x->w, &x->task, 3);
    struct task_exit e = world_wait(&x->w, x->task.id);
    assert_int_equal(e.code, 3);
    assert_int_equal(e.signal, 0);
    assert_false(e.oom);
    assert_string_equal(e.err, "Docker container exited with non-zero exit code: 3");
    /* Each later wait gets the same answer, until DestroyTask. */
    assert_int_equal(world_wait(&x->w, x->task.id).code, 3);
}

static void test_exit__oom__reported(void **state) {
    struct world_web *x = *state;
    fake_control(&x->w.fake, "POST", "exit/web-a1?code=137&oom=1", "", NULL, 0);
    struct task_exit e = world_wait(&x->w, x->task.id);
    assert_int_equal(e.code, 137);
    assert_true(e.oom);
    assert_string_equal(e.err, "OOM Killed");
}

/* The kernel kills a child of the task. The task continues, and fails later. */
static void test_exit__oom_of_a_child__reported(void **state) {
    struct world_web *x = *state;
    fake_control(&x->w.fake, "POST", "oom/web-a1", "", NULL, 0);
    world_exit(&x->w, &x->task, 1);
    struct task_exit e = world_wait(&x->w, x->task.id);
    assert_int_equal(e.code, 1);
    assert_true(e.oom);
}

/* The kernel kills a child of the task, or the command of an exec. The task itself succeeds. */
static void test_exit__oom_of_a_child_and_code_0__success(void **state) {
    struct world_web *x = *state;
    fake_control(&x->w.fake, "POST", "oom/web-a1", "", NULL, 0);
    world_exit(&x->w, &x->task, 0);
    struct task_exit e = world_wait(&x->w, x->task.id);
    assert_int_equal(e.code, 0);
    assert_false(e.oom);
    assert_string_equal(e.err, "");
}

static void test_exit__during_loss_of_the_stream__reported(void **state) {
    struct world_web *x = *state;
    fake_rules(&x->w.fake, "GET /events times=2 drop\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_exit(&x->w, &x->task, 4);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 4);
}

/* This Docker was restarted and does not repeat the events of the dropped stream. Only the check
 * of the container shows the end. */
static void test_exit__stream_back_without_history__reported(void **state) {
    struct world_web *x = *state;
    fake_rules(&x->w.fake, "GET /events status=200 type=application/json stall body=\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_exit(&x->w, &x->task, 5);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 5);
}

static void test_exit__stream_lost_and_back__still_running(void **state) {
    struct world_web *x = *state;
    int before = fake_count(&x->w.fake, "GET /events");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_until_count(&x->w, "GET /events", before + 1);
    char request[WORLD_REQUEST_SIZE];
    world_inspect_request(&x->w, x->task.id, request);
    world_until_count(&x->w, request, 2); /* StartTask's and the one after the reconnect */
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

static bool is_oom_seen(void *ctx) {
    struct world_web *x = ctx;
    return world_look(&x->w, x->task.id).oom_ns != 0;
}

/* The kernel kills a child of the task, and Docker does not repeat that event. It must be known
 * before the end, where nothing would show it any more. */
static void test_exit__oom_during_loss_of_the_stream__kept_for_the_end(void **state) {
    struct world_web *x = *state;
    fake_rules(&x->w.fake, "GET /events drop\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    fake_control(&x->w.fake, "POST", "oom/web-a1", "", NULL, 0);
    fake_rules(&x->w.fake, "GET /events status=200 type=application/json stall body=\n");
    world_until(is_oom_seen, x, "the OOM kill is known");
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

/* `docker restart` by hand: the die event is the end of the task. The new process does not
 * belong to it. */
static void test_exit__restarted_by_hand__ended(void **state) {
    struct world_web *x = *state;
    fake_control(&x->w.fake, "POST", "restart/web-a1", "", NULL, 0);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 143);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_EXITED);
}

static void test_exit__removed_by_hand__reported(void **state) {
    struct world_web *x = *state;
    struct docker *docker = fake_docker(&x->w.fake);
    struct call call = call_within(NULL, WORLD_WAIT_US);
    assert_int_equal(docker_container_remove(docker, &call, "web-a1", true, NULL), 0);
    docker_free(docker);
    struct task_exit e = world_wait(&x->w, x->task.id);
    assert_int_equal(e.code, 137);
}

static void test_exit__unknown_after_dockers_restart__reported(void **state) {
    struct world_web *x = *state;
    fake_stop(&x->w.fake);
    fake_start_again(&x->w.fake, NULL); /* without containers */
    struct task_exit e = world_wait(&x->w, x->task.id);
    assert_string_equal(e.err, "the container was removed outside of Nomad");
}

static bool fails_to_connect(void *ctx) {
    struct docker *docker = fake_docker(ctx);
    struct call call = call_within(NULL, US_PER_SEC);
    struct docker_version v;
    int r = docker_system_version(docker, &call, &v, NULL);
    docker_free(docker);
    return r < 0;
}

static void on_fingerprint(void *ctx, const struct driver_fingerprint *f) {
    atomic_store((atomic_int *)ctx, (int)f->health);
}

static bool is_unhealthy(void *ctx) {
    return atomic_load((atomic_int *)ctx) == DRIVER_UNHEALTHY;
}

static bool is_healthy(void *ctx) {
    return atomic_load((atomic_int *)ctx) == DRIVER_HEALTHY;
}

static void test_exit__docker_down__still_running_and_unhealthy(void **state) {
    struct world_web *x = *state;
    atomic_int health = -1;
    struct driver_sub *sub = NULL;
    assert_int_equal(fingerprint_subscribe(x->w.d, on_fingerprint, &health, &sub, NULL), 0);
    world_until(is_healthy, &health, "healthy");
    fake_stop(&x->w.fake);
    assert_true(fails_to_connect(&x->w.fake));
    world_until(is_unhealthy, &health, "unhealthy");
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    fan_unsubscribe(sub);
}

/* ---- Waiters ---- */

static atomic_int called;

static void on_end(void *ctx, const struct task_exit *exit) {
    (void)ctx;
    if (exit->code == 2)
        atomic_fetch_add(&called, 1);
}

static bool all_called(void *ctx) {
    return atomic_load(&called) == *(int *)ctx;
}

static void test_wait__thousand__each_called_once(void **state) {
    struct world_web *x = *state;
    enum { N = 1000 };
    static struct task_waiter w[N];
    struct task *t[N];
    int expected = N - 1;
    atomic_store(&called, 0);
    for (int i = 0; i < N; i++) {
        w[i] = (struct task_waiter){.done = on_end};
        assert_int_equal(exit_wait(x->w.d, x->task.id, &w[i], &t[i], NULL), 0);
    }
    assert_true(store_wait_cancel(t[500], &w[500]));
    world_exit(&x->w, &x->task, 2);
    world_until(all_called, &expected, "all waiters");
    assert_false(store_wait_cancel(t[0], &w[0]));
    for (int i = 0; i < N; i++)
        store_task_unref(t[i]);
    assert_int_equal(atomic_load(&called), expected);
}

static void test_wait__unknown__not_found(void **state) {
    struct world_web *x = *state;
    struct err err = {0};
    struct task *t = NULL;
    struct task_waiter w = {.done = on_end};
    assert_int_equal(exit_wait(x->w.d, "unknown", &w, &t, &err), -ENOENT);
    assert_string_equal(err.text, "task not found for given id");
    assert_null(t);
}

static unsigned threads(void) {
    DIR *dir = opendir("/proc/self/task");
    unsigned n = 0;
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static bool has_few_threads(void *ctx) {
    unsigned *most = ctx;
    return threads() <= *most;
}

/* The last lines of ended tasks whose readers read nothing wait without a thread. */
static void test_exit__stalled_readers__cost_no_thread(void **state) {
    struct world_web *x = *state;
    enum { N = 12 };
    static struct task_config more[N];
    for (int i = 0; i < N; i++) {
        world_run_unread(&x->w, &more[i], i);
        world_exit(&x->w, &more[i], 0);
        world_wait(&x->w, more[i].id);
    }
    /* ".", "..", this thread, the streams', the reconciler's and the last idle ones */
    unsigned most = 8;
    world_until(has_few_threads, &most, "few threads");
    for (int i = 0; i < N; i++) {
        assert_false(world_is_let_go(more[i].stdout_path));
        task_config_done(&more[i]);
    }
}

/* The pump is killed while the reader is slow. The next pump delivers the rest. */
static void test_exit__pump_dies_while_draining__rest_delivered(void **state) {
    struct world_web *x = *state;
    struct reader r;
    AUTO_FREE char *text = calloc(1, 300001);
    memset(text, 'y', 300000);
    reader_start(&r, x->task.stdout_path);
    reader_until_len(&r, 0);
    reader_pause(&r, true);
    fake_control(&x->w.fake, "POST", "print/web-a1", text, NULL, 0);
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    world_pump_kill(&x->w);
    reader_pause(&r, false);
    reader_until_eof(&r);
    reader_until_len(&r, 300000);
    reader_done(&r);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, world_web_teardown)
static const struct CMUnitTest tests[] = {
    T(test_exit__codes__as_docker_reports),
    T(test_exit__oom__reported),
    T(test_exit__oom_of_a_child__reported),
    T(test_exit__oom_of_a_child_and_code_0__success),
    T(test_exit__during_loss_of_the_stream__reported),
    T(test_exit__stream_back_without_history__reported),
    T(test_exit__stream_lost_and_back__still_running),
    T(test_exit__oom_during_loss_of_the_stream__kept_for_the_end),
    T(test_exit__restarted_by_hand__ended),
    T(test_exit__removed_by_hand__reported),
    T(test_exit__unknown_after_dockers_restart__reported),
    T(test_exit__docker_down__still_running_and_unhealthy),
    T(test_wait__thousand__each_called_once),
    T(test_wait__unknown__not_found),
    T(test_exit__stalled_readers__cost_no_thread),
    T(test_exit__pump_dies_while_draining__rest_delivered),
};
WORLD_MAIN(tests)
