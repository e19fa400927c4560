/* SPDX-License-Identifier: MPL-2.0 */
/* DestroyTask: a task that has ended, one that runs, and one whose container was removed or cannot
 * be removed. A destroyed task leaves nothing, and its last lines are delivered before. */
#include "fake/task_world.h"

#include <stdio.h>
#include <string.h>

static int setup(void **state) {
    return world_web_setup(state, "{}", 0, true);
}

static int setup_hasty(void **state) {
    return world_web_setup(state, "{}", WORLD_HASTY_MS, true);
}

static int setup_keep(void **state) {
    return world_web_setup(state, "{\"gc\":{\"container\":false}}", 0, true);
}

static int destroy(struct world_web *x, bool force, struct err *err) {
    struct call call = fake_call();
    if (err)
        *err = (struct err){0};
    return task_destroy(x->w.d, &call, x->task.id, force, err);
}

static bool container_is_there(struct world_web *x) {
    struct docker *docker = fake_docker(&x->w.fake);
    struct call call = fake_call();
    struct docker_state s;
    int r = docker_container_inspect(docker, &call, world_name(&x->task), &s, NULL, NULL);
    docker_free(docker);
    assert_true(r == 0 || r == -ENOENT);
    return r == 0;
}

static void test_destroy__running_without_force__refused(void **state) {
    struct world_web *x = *state;
    struct err err;
    assert_true(destroy(x, false, &err) < 0);
    assert_string_equal(
        err.text, "must call StopTask for the given task before Destroy or set force to true");
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    assert_true(container_is_there(x));
}

static void on_end(void *ctx, const struct task_exit *exit) {
    atomic_int *code = ctx;
    atomic_store(code, exit->code);
}

static void test_destroy__running_with_force__removed_and_waiters_called(void **state) {
    struct world_web *x = *state;
    atomic_int code = -1;
    struct task_waiter w = {.done = on_end, .ctx = &code};
    AUTO_TASK struct task *t = NULL;
    assert_int_equal(exit_wait(x->w.d, x->task.id, &w, &t, NULL), 0);
    assert_int_equal(destroy(x, true, NULL), 0);
    assert_int_equal(atomic_load(&code), 137);
    assert_false(container_is_there(x));
    assert_int_equal(fake_images_held(), 0);
    assert_int_equal(task_inspect(x->w.d, x->task.id, &(struct driver_inspect){0}, NULL), -ENOENT);
    assert_int_equal(destroy(x, true, NULL), 0); /* unknown by now */
}

/* The last output is delivered before the container and its log are removed. */
static void destroy_with_slow_logs(struct world_web *x, const char *rule) {
    struct reader r;
    fake_rules(&x->w.fake, rule);
    world_pump_kill(&x->w); /* the next pump's stream is late */
    fake_control(&x->w.fake, "POST", "print/web-a1", "last words\n", NULL, 0);
    reader_start(&r, x->task.stdout_path);
    assert_int_equal(destroy(x, true, NULL), 0);
    reader_until_eof(&r);
    reader_until(&r, "last words\n");
    reader_done(&r);
}

static void test_destroy__running_with_force__last_lines_delivered(void **state) {
    destroy_with_slow_logs(*state, "GET /containers/*/logs times=1 delay=400\n");
}

/* Longer than the plugin waits for a reader that does not read. */
static void test_destroy__docker_slow_with_logs__last_lines_delivered(void **state) {
    destroy_with_slow_logs(*state, "GET /containers/*/logs delay=4000\n");
}

static void test_destroy__ended__container_removed(void **state) {
    struct world_web *x = *state;
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    assert_int_equal(destroy(x, false, NULL), 0);
    assert_false(container_is_there(x));
    assert_int_equal(fake_images_held(), 0);
}

static void test_destroy__removed_by_hand__success(void **state) {
    struct world_web *x = *state;
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    fake_rules(&x->w.fake,
               "DELETE /containers/* status=404 body={\"message\":\"No such container\"}\n");
    assert_int_equal(destroy(x, false, NULL), 0);
    assert_int_equal(fake_images_held(), 0);
}

static void test_destroy__ended_and_remove_fails__forgotten(void **state) {
    struct world_web *x = *state;
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    fake_rules(&x->w.fake, "DELETE /containers/* status=500 body={\"message\":\"busy\"}\n");
    assert_int_equal(destroy(x, false, NULL), 0);
    assert_int_equal(task_inspect(x->w.d, x->task.id, &(struct driver_inspect){0}, NULL), -ENOENT);
}

static void test_destroy__cannot_kill__error_and_kept(void **state) {
    struct world_web *x = *state;
    struct err err;
    fake_rules(&x->w.fake, "DELETE /containers/* status=500 body={\"message\":\"D state\"}\n"
                           "POST /containers/*/kill status=500 body={\"message\":\"D state\"}\n");
    assert_true(destroy(x, true, &err) < 0);
    assert_non_null(strstr(err.text, "D state"));
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    assert_int_equal(fake_images_held(), 1);
}

static void test_destroy__hangs__deadline(void **state) {
    struct world_web *x = *state;
    struct err err;
    uint64_t before = clock_now_us();
    fake_rules(&x->w.fake, "* /containers/* hang\n");
    assert_int_equal(destroy(x, true, &err), -ETIMEDOUT);
    assert_int_equal(err.cls, ERR_DEADLINE);
    assert_true(clock_now_us() - before < 10 * US_PER_SEC);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

static void test_destroy__gc_off_ended__container_stays(void **state) {
    struct world_web *x = *state;
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    assert_int_equal(destroy(x, false, NULL), 0);
    assert_true(container_is_there(x));
    assert_int_equal(fake_images_held(), 0);
}

static void test_destroy__gc_off_running_force__killed_and_stays(void **state) {
    struct world_web *x = *state;
    struct docker *docker = fake_docker(&x->w.fake);
    struct call call = fake_call();
    struct docker_state now;
    assert_int_equal(destroy(x, true, NULL), 0);
    assert_int_equal(
        docker_container_inspect(docker, &call, world_name(&x->task), &now, NULL, NULL), 0);
    assert_string_equal(now.status, "exited");
    assert_int_equal(now.exit_code, 137);
    docker_free(docker);
}

/* After a `docker restart` by hand, the end that was reported stays. The new process is not left
 * running. */
static void test_destroy__gc_off_started_again_by_hand__stopped(void **state) {
    struct world_web *x = *state;
    struct docker *docker = fake_docker(&x->w.fake);
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct docker_state now;
    world_exit(&x->w, &x->task, 143);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 143);
    assert_int_equal(docker_container_start(docker, &call, "web-a1", NULL), 0);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 143);
    assert_int_equal(destroy(x, true, NULL), 0);
    assert_int_equal(docker_container_inspect(docker, &call, "web-a1", &now, NULL, NULL), 0);
    assert_false(now.running);
    docker_free(docker);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, world_web_teardown)
#define HASTY(f) cmocka_unit_test_setup_teardown(f, setup_hasty, world_web_teardown)
#define KEEP(f) cmocka_unit_test_setup_teardown(f, setup_keep, world_web_teardown)
static const struct CMUnitTest tests[] = {
    T(test_destroy__running_without_force__refused),
    T(test_destroy__running_with_force__removed_and_waiters_called),
    T(test_destroy__running_with_force__last_lines_delivered),
    T(test_destroy__docker_slow_with_logs__last_lines_delivered),
    T(test_destroy__ended__container_removed),
    T(test_destroy__removed_by_hand__success),
    T(test_destroy__ended_and_remove_fails__forgotten),
    T(test_destroy__cannot_kill__error_and_kept),
    HASTY(test_destroy__hangs__deadline),
    KEEP(test_destroy__gc_off_ended__container_stays),
    KEEP(test_destroy__gc_off_started_again_by_hand__stopped),
    KEEP(test_destroy__gc_off_running_force__killed_and_stays),
};
WORLD_MAIN(tests)
