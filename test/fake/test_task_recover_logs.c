/* SPDX-License-Identifier: MPL-2.0 */
/* Recoveries that fail only for the logs: the task is recovered, and its logs follow later. The 10
 * s between two attempts last half a second here. */
#include "fake/task_world.h"
#include "paddock/loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FASTER 20
#define RETRY_S 10

void __real_loop_timer_at(struct loop_timer *t, uint64_t at_us);
void __wrap_loop_timer_at(struct loop_timer *t, uint64_t at_us);
void __wrap_loop_timer_at(struct loop_timer *t, uint64_t at_us) {
    uint64_t now = clock_now_us(), wait_us = at_us > now ? at_us - now : 0;
    if ((wait_us + US_PER_SEC - 1) / US_PER_SEC == RETRY_S)
        at_us = now + wait_us / FASTER;
    __real_loop_timer_at(t, at_us);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char events[4096];
/* While the event is reported: whether this FIFO has no writer. Nomad's logmon would stop reading.
 */
static char *watched_fifo;
static bool was_let_go;

static void on_event(void *ctx, const struct driver_event *e) {
    (void)ctx;
    pthread_mutex_lock(&lock);
    if (watched_fifo)
        was_let_go |= world_is_let_go(watched_fifo);
    size_t n = strlen(events);
    snprintf(events + n, sizeof(events) - n, "%s\n", e->message);
    pthread_mutex_unlock(&lock);
}

static bool was_reported(void *ctx) {
    pthread_mutex_lock(&lock);
    bool is = strstr(events, ctx);
    pthread_mutex_unlock(&lock);
    return is;
}

static int setup(void **state) {
    events[0] = '\0';
    watched_fifo = NULL;
    was_let_go = false;
    return world_web_setup(state, "{}", 0, true);
}

/* Makes a new plugin; no pump runs. */
static void restart(struct world_web *x, struct driver_sub **ret_sub) {
    world_driver_free(&x->w);
    world_pump_kill(&x->w);
    world_driver_new(&x->w, "{}");
    assert_int_equal(driver_task_events(x->w.d, on_event, NULL, ret_sub, NULL), 0);
}

static void recovers(struct world_web *x) {
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct err err = {0};
    if (task_recover(x->w.d, &call, &x->task, x->started.state, x->started.state_len, &err) < 0)
        fail_msg("RecoverTask: %s", err.text);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    world_until(was_reported, (void *)(uintptr_t) "logs cannot be collected now", "the task event");
}

static void logs_come_back(struct world_web *x) {
    struct reader r;
    world_until(was_reported, (void *)(uintptr_t) "collected again", "the second task event");
    /* A later event must not read from the FIFO: that would take a byte of the output. */
    pthread_mutex_lock(&lock);
    watched_fifo = NULL;
    pthread_mutex_unlock(&lock);
    reader_start(&r, x->task.stdout_path);
    fake_control(&x->w.fake, "POST", "print/web-a1", "later\n", NULL, 0);
    reader_until(&r, "later\n");
    world_exit(&x->w, &x->task, 3);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 3);
    reader_until_eof(&r);
    reader_done(&r);
}

static void test_recover__no_fifo__runs_and_logs_follow(void **state) {
    struct world_web *x = *state;
    struct driver_sub *sub;
    restart(x, &sub);
    assert_int_equal(unlink(x->task.stdout_path), 0);
    recovers(x);
    assert_int_equal(fake_images_held(), 1);
    assert_int_equal(mkfifo(x->task.stdout_path, 0600), 0);
    logs_come_back(x);
    fan_unsubscribe(sub);
}

/* The first attempt opens stdout's FIFO and fails at the other one. */
static void test_recover__one_fifo_missing__the_other_is_held(void **state) {
    struct world_web *x = *state;
    struct driver_sub *sub;
    restart(x, &sub);
    assert_int_equal(unlink(x->task.stderr_path), 0);
    watched_fifo = x->task.stdout_path;
    recovers(x);
    assert_false(was_let_go);
    assert_int_equal(mkfifo(x->task.stderr_path, 0600), 0);
    logs_come_back(x);
    assert_false(was_let_go);
    fan_unsubscribe(sub);
}

/* The pump's folder cannot be made, as on a full /run. */
static void test_recover__no_run_folder__runs_and_logs_follow(void **state) {
    struct world_web *x = *state;
    struct driver_sub *sub;
    char aside[128];
    restart(x, &sub);
    snprintf(aside, sizeof(aside), "%s.aside", x->w.run_dir);
    assert_int_equal(rename(x->w.run_dir, aside), 0);
    AUTO_FD int fd = open(x->w.run_dir, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    recovers(x);
    assert_int_equal(unlink(x->w.run_dir), 0);
    assert_int_equal(rename(aside, x->w.run_dir), 0);
    logs_come_back(x);
    fan_unsubscribe(sub);
}

/* A start needs its logs: Nomad may place the task elsewhere. */
static void test_start__no_run_folder__recoverable_and_undone(void **state) {
    struct world_web *x = *state;
    struct driver_started started = {0};
    struct task_config other;
    struct driver_sub *sub;
    struct call call = fake_call();
    struct err err = {0};
    char aside[128];
    restart(x, &sub);
    world_task(&x->w, &other, "other", WORLD_WEB_JOB);
    snprintf(aside, sizeof(aside), "%s.aside", x->w.run_dir);
    assert_int_equal(rename(x->w.run_dir, aside), 0);
    AUTO_FD int fd = open(x->w.run_dir, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_true(task_start(x->w.d, &call, &other, &started, &err) < 0);
    assert_int_equal(err.cls, ERR_RECOVERABLE);
    assert_int_equal(world_containers(&x->w), 1);
    assert_int_equal(unlink(x->w.run_dir), 0);
    assert_int_equal(rename(aside, x->w.run_dir), 0);
    fan_unsubscribe(sub);
    task_config_done(&other);
}

/* The attempts end with the task, and with the plugin. */
static void test_recover__destroyed_without_logs__nothing_left(void **state) {
    struct world_web *x = *state;
    struct driver_sub *sub;
    struct call call = fake_call();
    restart(x, &sub);
    assert_int_equal(unlink(x->task.stdout_path), 0);
    recovers(x);
    assert_int_equal(task_destroy(x->w.d, &call, x->task.id, true, NULL), 0);
    assert_int_equal(world_containers(&x->w), 0);
    world_until(world_is_let_go, x->task.stderr_path, "stderr's FIFO let go");
    fan_unsubscribe(sub);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, world_web_teardown)
static const struct CMUnitTest tests[] = {
    T(test_recover__no_fifo__runs_and_logs_follow),
    T(test_recover__one_fifo_missing__the_other_is_held),
    T(test_recover__no_run_folder__runs_and_logs_follow),
    T(test_start__no_run_folder__recoverable_and_undone),
    T(test_recover__destroyed_without_logs__nothing_left),
};
WORLD_MAIN(tests)
