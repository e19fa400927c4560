/* SPDX-License-Identifier: MPL-2.0 */
/* The ways in which a task is handed to the log pump: prepared before its container runs, begun,
 * followed, and given up. Also: which FIFOs are refused. */
#include "fake/pump_world.h"

#include "paddock/logpump.h"
#include "paddock/loop.h"
#include "paddock/pool.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct taking_up {
    struct logpump *pump;
    const struct task_config *task;
};

/* No pump runs, and none can be started. */
static void *follow_thread(void *arg) {
    struct taking_up *u = arg;
    struct call call = call_within(NULL, US_PER_SEC);
    struct logpump_task t = {.task_id = u->task->id,
                             .container_id = "c",
                             .stdout_path = u->task->stdout_path,
                             .stderr_path = u->task->stderr_path};
    return logpump_follow(u->pump, &call, &t, NULL) < 0 ? u : NULL;
}

static bool has_writer(void *ctx) {
    char byte;
    return read(*(int *)ctx, &byte, 1) < 0 && errno == EAGAIN;
}

/* A container ends immediately: its end is sent to the pump while its begin is still being sent.
 * The FIFOs must not end in between, because logmon would not read later output. */
static void test_finish__while_follow_is_under_way__fifos_stay_open(void **state) {
    struct pump_world *x = *state;
    struct task_config two;
    struct loop *loop;
    struct pool *pool;
    struct taking_up u = {.task = &two};
    pthread_t thread;
    void *failed;
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    assert_int_equal(loop_new(&loop), 0);
    assert_int_equal(pool_new(2, &pool), 0);
    struct logpump_options o = {.program = "/bin/true",
                                .run_dir = x->w.dir,
                                .endpoint = x->w.fake.endpoint,
                                .loop = loop,
                                .pool = pool};
    assert_int_equal(logpump_new(&o, &u.pump, NULL), 0);
    AUTO_FD int fd = open(two.stdout_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(pthread_create(&thread, NULL, follow_thread, &u), 0);
    world_until(has_writer, &fd, "the FIFO is held open");
    struct call call = call_within(NULL, 10 * US_PER_MS);
    assert_int_equal(logpump_finish(u.pump, &call, 0, two.id, NULL), 0);
    assert_true(has_writer(&fd));
    pthread_join(thread, &failed);
    assert_non_null(failed);
    assert_false(has_writer(&fd)); /* given up */
    pool_free(pool);
    loop_run_posted(loop);
    logpump_free(u.pump);
    loop_free(loop);
    task_config_done(&two);
}

/* ---- Prepared before the container runs ---- */

/* A task whose start was answered while the pump has not got its begin. */
struct unheard {
    struct task_config task;
    struct driver_started started;
    struct reader out;
};

static void unheard_start(struct pump_world *x, struct unheard *u) {
    struct call call = call_within(NULL, WORLD_WAIT_US);
    *u = (struct unheard){0};
    world_task(&x->w, &u->task, "two", PUMP_WORLD_RUNS);
    reader_start(&u->out, u->task.stdout_path);
    assert_int_equal(task_start(x->w.d, &call, &u->task, &u->started, NULL), 0);
}

/* Ends the task. @lines: the lines that must have come on stdout. */
static void unheard_end(struct pump_world *x, struct unheard *u, unsigned lines) {
    world_exit(&x->w, &u->task, 0);
    world_wait(&x->w, u->task.id);
    reader_until_eof(&u->out);
    assert_int_equal(pump_world_count(&u->out), lines);
}

static void unheard_done(struct unheard *u) {
    task_start_done(&u->started);
    reader_done(&u->out);
    task_config_done(&u->task);
}

/* A task ends and is destroyed before the pump gets its begin. All is delivered, and a later
 * begin makes nothing. */
static void test_logs__ended_before_the_begin__delivered_and_closed(void **state) {
    struct pump_world *x = *state;
    struct unheard u;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    unheard_start(x, &u);
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=40&max=80", "", NULL, 0);
    unheard_end(x, &u, 30);
    assert_int_equal(task_destroy(x->w.d, &call, u.task.id, false, NULL), 0);
    task_start_reported(x->w.d, &u.started);
    assert_int_equal(world_positions(&x->w), 1); /* the fixture's own task */
    unheard_done(&u);
}

/* The plugin dies between its answer and the begin. The plugin that recovers the task sends the
 * begin. */
static void test_logs__plugin_dies_before_the_begin__recovered(void **state) {
    struct pump_world *x = *state;
    struct unheard u;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    unheard_start(x, &u);
    store_task_unref(TAKE_PTR(u.started.task));
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=40&max=80", "", NULL, 0);
    world_driver_restart(&x->w);
    assert_int_equal(
        task_recover(x->w.d, &call, &u.task, u.started.state, u.started.state_len, NULL), 0);
    unheard_end(x, &u, 30);
    unheard_done(&u);
}

/* The pump gets no begin, as when the plugin has died. After its patience it begins without one.
 * By then it has not repeated the request of the fixture's task, which has begun. */
static void test_prepare__no_begin_comes__begun_after_its_patience(void **state) {
    struct pump_world *x = *state;
    struct unheard u;
    unheard_start(x, &u);
    world_until_count(&x->w, "GET " WORLD_CONTAINER("2") "/logs", 1);
    assert_int_equal(fake_count(&x->w.fake, "GET " WORLD_CONTAINER("1") "/logs"), 1);
    unheard_done(&u);
}

/* A pump that is restarted before the container runs asks Docker too early. */
static void test_begin__asked_too_early__asked_again_immediately(void **state) {
    struct pump_world *x = *state;
    struct unheard u;
    fake_rules(&x->w.fake, "GET " WORLD_CONTAINER("2") "/logs times=6 body=\n");
    unheard_start(x, &u);
    world_pump_kill(&x->w);
    world_until_count(&x->w, "GET " WORLD_CONTAINER("2") "/logs", 6);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    fake_control(&x->w.fake, "POST", "print/two-a1", "hello\n", NULL, 0);
    uint64_t begun = clock_now_us();
    task_start_reported(x->w.d, &u.started);
    reader_until(&u.out, "hello\n");
    assert_true(clock_now_us() - begun < 1200 * US_PER_MS); /* its own next request: after 1.6 s */
    unheard_done(&u);
}

/* ---- FIFOs ---- */

static void test_logs__fifo_is_a_link__refused(void **state) {
    struct pump_world *x = *state;
    struct task_config two;
    struct driver_started s = {0};
    struct err err = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    char target[256];
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    snprintf(target, sizeof(target), "%s/victim", x->w.dir);
    assert_int_equal(mkfifo(target, 0600), 0);
    assert_int_equal(unlink(two.stdout_path), 0);
    assert_int_equal(symlink(target, two.stdout_path), 0);
    assert_int_equal(task_start(x->w.d, &call, &two, &s, &err), -ELOOP);
    assert_non_null(strstr(err.text, "log FIFO"));
    task_config_done(&two);
}

/* A task that can write to its allocation's folder can replace the folder of logs by a link. It
 * would write to the log of another allocation's task with the same name. */
static void test_logs__fifos_folder_is_a_link__refused(void **state) {
    struct pump_world *x = *state;
    struct task_config two;
    struct driver_started s = {0};
    struct err err = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    char link[256], *fifo = strrchr(x->task.stdout_path, '/');
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    assert_non_null(fifo);
    snprintf(link, sizeof(link), "%s/logs", x->w.dir);
    AUTO_FREE char *folder = strndup(x->task.stdout_path, (size_t)(fifo - x->task.stdout_path));
    assert_int_equal(symlink(folder, link), 0);
    free(two.stdout_path);
    assert_true(asprintf(&two.stdout_path, "%s%s", link, fifo) > 0);
    assert_true(task_start(x->w.d, &call, &two, &s, &err) < 0);
    assert_non_null(strstr(err.text, "log FIFO"));
    task_config_done(&two);
}

static void test_logs__fifo_is_a_file__refused(void **state) {
    struct pump_world *x = *state;
    struct task_config two;
    struct driver_started s = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    assert_int_equal(unlink(two.stdout_path), 0);
    int fd = open(two.stdout_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_int_equal(task_start(x->w.d, &call, &two, &s, NULL), -EINVAL);
    task_config_done(&two);
}

/* The folder is replaced while no pump runs. The next pump does not follow the link, either. */
static void test_logs__fifo_becomes_a_link__not_followed_by_next_pump(void **state) {
    struct pump_world *x = *state;
    struct reader victim;
    char target[256];
    snprintf(target, sizeof(target), "%s/victim", x->w.dir);
    assert_int_equal(mkfifo(target, 0600), 0);
    reader_start(&victim, target);
    assert_int_equal(unlink(x->task.stdout_path), 0);
    assert_int_equal(symlink(target, x->task.stdout_path), 0);
    world_pump_kill(&x->w);
    struct task_config two; /* a pump runs again, because a task was followed */
    struct reader out;
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    world_run(&x->w, &two, NULL);
    reader_start(&out, two.stdout_path);
    pump_world_print(x, "secret\n");
    fake_control(&x->w.fake, "POST", "print/two-a1", "open\n", NULL, 0);
    reader_until(&out, "open\n");
    size_t len;
    free(reader_text(&victim, &len));
    assert_int_equal(len, 0);
    reader_done(&victim);
    reader_done(&out);
    task_config_done(&two);
}

static bool has_lag(void *ctx) {
    struct pump_world *x = ctx;
    json_t *doc = driver_status(x->w.d);
    const json_t *sum = json_object_get(json_object_get(doc, "log_pump"), "sum");
    bool is = json_integer_value(json_object_get(sum, "lag_bytes")) > 0;
    json_decref(doc);
    return is;
}

/* Nomad's agent restarts with a new FIFO, while the reader of the earlier one is stuck. The new
 * reader gets the rest immediately, not at the task's end. */
static void test_recover__fifo_replaced_while_its_reader_is_stuck__continues(void **state) {
    struct pump_world *x = *state;
    struct driver_started s = {0};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct task_config two;
    struct reader out, err;
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    world_run(&x->w, &two, &s);
    AUTO_FD int stuck = open(two.stdout_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(stuck >= 0);
    reader_start(&err, two.stderr_path);
    fake_control(&x->w.fake, "POST", "lines/two-a1?count=4000&max=200", "", NULL, 0);
    world_until(has_lag, x, "bytes that wait");
    pid_t pump = world_pump(&x->w);
    world_driver_free(&x->w);
    assert_int_equal(unlink(two.stdout_path), 0);
    assert_int_equal(mkfifo(two.stdout_path, 0600), 0);
    reader_start(&out, two.stdout_path);
    world_driver_new(&x->w, "{}");
    assert_int_equal(task_recover(x->w.d, &call, &two, s.state, s.state_len, NULL), 0);
    assert_int_equal(world_pump(&x->w), pump);
    reader_until(&out, "\n00002999 ");
    reader_done(&out);
    reader_done(&err);
    task_start_done(&s);
    task_config_done(&two);
}

static const struct CMUnitTest tests[] = {
    PUMP_WORLD_T(test_finish__while_follow_is_under_way__fifos_stay_open),
    PUMP_WORLD_T(test_logs__ended_before_the_begin__delivered_and_closed),
    PUMP_WORLD_T(test_logs__plugin_dies_before_the_begin__recovered),
    PUMP_WORLD_HASTY(test_prepare__no_begin_comes__begun_after_its_patience),
    PUMP_WORLD_T(test_begin__asked_too_early__asked_again_immediately),
    PUMP_WORLD_T(test_logs__fifo_is_a_link__refused),
    PUMP_WORLD_T(test_logs__fifos_folder_is_a_link__refused),
    PUMP_WORLD_T(test_logs__fifo_is_a_file__refused),
    PUMP_WORLD_T(test_logs__fifo_becomes_a_link__not_followed_by_next_pump),
    PUMP_WORLD_T(test_recover__fifo_replaced_while_its_reader_is_stuck__continues),
};
WORLD_MAIN(tests)
