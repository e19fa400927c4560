/* SPDX-License-Identifier: MPL-2.0 */
/* The logs of a StartTask: FIFOs that are missing, a log driver that Docker cannot read, and a log
 * pump that dies during the start. */
#include "fake/start_world.h"

#include <string.h>
#include <unistd.h>

#define SYSLOG_JOB "{\"image\":\"busybox\",\"command\":\"sleep\",\"logging\":{\"type\":\"syslog\"}}"

static void test_start__no_fifo__recoverable_and_undone(void **state) {
    struct world_web *x = *state;
    struct err err;
    assert_int_equal(unlink(x->task.stdout_path), 0);
    start_world_fails(x, &err);
    assert_int_equal(err.cls, ERR_RECOVERABLE);
    assert_int_equal(world_containers(&x->w), 0);
    assert_int_equal(fake_images_held(), 0);
}

static void test_start__log_driver_unreadable__runs_without_logs(void **state) {
    struct world_web *x = *state;
    struct task_config task = TAKE_STRUCT(x->task);
    world_task(&x->w, &x->task, "web", SYSLOG_JOB);
    task_config_done(&task);
    fake_rules(&x->w.fake,
               "GET /containers/*/logs status=501 body={\"message\":\"configured logging driver "
               "does not support reading\"}\n");
    world_run(&x->w, &x->task, NULL);
    assert_false(world_look(&x->w, x->task.id).logs);
    world_until_let_go(&x->task);
}

/* the container that is created as the Nth */

/* The FIFOs are checked before the container runs. The pump is made ready during the start. */
static void test_start__docker_starts_slowly__pump_is_ready(void **state) {
    struct world_web *x = *state;
    struct start_attempt a;
    fake_rules(&x->w.fake, "POST /containers/*/start hang\n");
    start_world_begin(&a, x, &x->task);
    world_until_positions(&x->w, 1);
    assert_int_equal(fake_count(&x->w.fake, "GET " WORLD_CONTAINER("1") "/logs"), 0);
    cancel_fire(&a.cancel);
    assert_true(start_world_end(&a) < 0);
    start_world_undone(x, 0);
}

/* The container's log driver writes files that can be read. A start does not wait until their
 * stream is open, and an error of that stream does not fail it. */
static void test_start__logs_hang__runs_and_they_come_later(void **state) {
    struct world_web *x = *state;
    struct reader out;
    reader_start(&out, x->task.stdout_path);
    fake_rules(&x->w.fake, "GET /containers/*/logs times=1 status=500 delay=300\n");
    world_run(&x->w, &x->task, NULL);
    assert_true(world_look(&x->w, x->task.id).logs);
    fake_control(&x->w.fake, "POST", "print/web-a1", "hello\n", NULL, 0);
    reader_until(&out, "hello\n");
    reader_done(&out);
}

/* The pump was made ready, and is dead when the container runs. */
static void test_start__pump_dies_while_inspected__logs_whole(void **state) {
    struct world_web *x = *state;
    struct task_config two;
    struct start_attempt a;
    struct reader out = {0};
    world_run(&x->w, &x->task, NULL);
    world_task(&x->w, &two, "two", WORLD_WEB_JOB);
    reader_start(&out, two.stdout_path);
    fake_rules(&x->w.fake, "GET " WORLD_CONTAINER("2") "/json times=1 delay=500\n");
    start_world_begin(&a, x, &two);
    world_until_count(&x->w, "GET " WORLD_CONTAINER("2") "/json", 1);
    world_pump_kill(&x->w);
    fake_control(&x->w.fake, "POST", "print/two-a1", "hello\n", NULL, 0);
    assert_int_equal(start_world_end(&a), 0);
    world_exit(&x->w, &two, 0);
    world_wait(&x->w, two.id);
    reader_until_eof(&out);
    size_t len;
    AUTO_FREE char *text = reader_text(&out, &len);
    assert_string_equal(text, "hello\n");
    reader_done(&out);
    task_config_done(&two);
}

/* With the plugin's disable_log_collection, or with /dev/null as both outputs, the FIFOs are not
 * opened. */
static void test_start__no_log_collection__fifos_left_alone(void **state) {
    struct world_web *x = *state;
    for (int null = 0; null < 2; null++) {
        world_driver_free(&x->w);
        world_driver_new(&x->w, null ? "{}" : "{\"disable_log_collection\":true}");
        struct task_config task = TAKE_STRUCT(x->task);
        world_task(&x->w, &x->task, null ? "null" : "silent", WORLD_WEB_JOB);
        task_config_done(&task);
        AUTO_FREE char *fifo = strdup(x->task.stdout_path);
        if (null)
            assert_true(str_set(&x->task.stdout_path, "/dev/null") == 0 &&
                        str_set(&x->task.stderr_path, "/dev/null") == 0);
        world_run(&x->w, &x->task, NULL);
        assert_false(world_look(&x->w, x->task.id).logs);
        assert_true(world_is_let_go(fifo));
    }
    assert_int_equal(world_pump(&x->w), 0);
}

static const struct CMUnitTest tests[] = {
    START_WORLD_T(test_start__no_fifo__recoverable_and_undone),
    START_WORLD_T(test_start__log_driver_unreadable__runs_without_logs),
    START_WORLD_T(test_start__logs_hang__runs_and_they_come_later),
    START_WORLD_T(test_start__docker_starts_slowly__pump_is_ready),
    START_WORLD_T(test_start__pump_dies_while_inspected__logs_whole),
    START_WORLD_T(test_start__no_log_collection__fifos_left_alone),
};
WORLD_MAIN(tests)
