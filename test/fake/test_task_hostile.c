/* SPDX-License-Identifier: MPL-2.0 */
/* Labels that a job or an image chose to harm its neighbours, or to hide how it ended. Whatever the
 * labels are, the end of each task is noticed, with the exit code of its process. */
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

/* Each event of this container is longer than the driver reads. */
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

/* ---- labels with the names of attributes ---- */

static int inspects(struct world_web *x, const char *task_id) {
    char request[WORLD_REQUEST_SIZE];
    world_inspect_request(&x->w, task_id, request);
    return fake_count(&x->w.fake, request);
}

static void check_exit_code(struct world_web *x, const char *labels, bool asks) {
    print_message("%s\n", labels);
    run_with(x, labels);
    int before = inspects(x, x->task.id);
    world_exit(&x->w, &x->task, 3);
    struct task_exit e = world_wait(&x->w, x->task.id);
    assert_int_equal(e.code, 3);
    assert_string_equal(e.err, "Docker container exited with non-zero exit code: 3");
    assert_int_equal(inspects(x, x->task.id) - before, asks);
}

static void test_hostile__exit_code_0__the_real_one(void **state) {
    check_exit_code(*state, "\"exitCode\":\"0\"", true);
}

static void test_hostile__exit_code_of_another__the_real_one(void **state) {
    check_exit_code(*state, "\"exitCode\":\"137\",\"name\":\"x\",\"image\":\"y\"", true);
}

static void test_hostile__exit_code_is_no_number__the_real_one(void **state) {
    check_exit_code(*state, "\"exitCode\":\"zero\"", true);
}

/* Without such labels the event is used, because it comes sooner. */
static void test_hostile__other_labels__the_events_code(void **state) {
    check_exit_code(*state, "\"exitcode\":\"0\",\"signal\":\"9\",\"name\":\"x\",\"oom\":\"1\"",
                    false);
}

struct exec_seen {
    struct driver_exec *exec;
    pthread_mutex_t lock;
    bool exited;
    int code;
};

static int on_output(void *ctx, int channel, const char *data, size_t len) {
    (void)ctx;
    (void)channel;
    (void)data;
    (void)len;
    return 0;
}

static void on_exited(void *ctx, const struct task_exit *exit, const struct err *err) {
    struct exec_seen *s = ctx;
    pthread_mutex_lock(&s->lock);
    s->exited = true;
    s->code = err ? -1 : exit->code;
    pthread_mutex_unlock(&s->lock);
}

static void on_room(void *ctx) {
    (void)ctx;
}

static bool has_exited(void *ctx) {
    struct exec_seen *s = ctx;
    pthread_mutex_lock(&s->lock);
    bool yes = s->exited;
    pthread_mutex_unlock(&s->lock);
    return yes;
}

static void exec_open(struct world_web *x, const char *task_id, const char *what,
                      struct exec_seen *s) {
    static const struct driver_exec_ops ops = {on_output, on_exited, on_room};
    const char *argv[] = {what, "text", NULL};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct err err = {0};
    *s = (struct exec_seen){.exec = NULL};
    pthread_mutex_init(&s->lock, NULL);
    assert_int_equal(
        task_exec_stream_open(x->w.d, &call, task_id, argv, true, &ops, s, &s->exec, &err), 0);
}

static void exec_done(struct exec_seen *s) {
    task_exec_stream_close(s->exec);
    pthread_mutex_destroy(&s->lock);
}

/* The command ends with 5, and a child of it keeps the terminal open. Only exec_die reports
 * that. */
static void check_exec(struct world_web *x, const char *labels) {
    struct exec_seen s;
    run_with(x, labels);
    exec_open(x, x->task.id, "background", &s);
    world_until(has_exited, &s, "the command has ended");
    assert_int_equal(s.code, 5);
    exec_done(&s);
}

static void test_hostile__exec_with_exit_code_0__the_real_one(void **state) {
    check_exec(*state, "\"exitCode\":\"0\"");
}

static void test_hostile__exec_with_another_id__its_end_learnt(void **state) {
    check_exec(*state, "\"execID\":\"0123456789\"");
}

static void test_hostile__exec_without_labels__its_end_learnt(void **state) {
    check_exec(*state, "\"a\":\"b\"");
}

/* The id of the first exec that was started. */
static void first_exec_id(const struct world_web *x, char id[65]) {
    char text[16384];
    const char *key;
    json_t *count;
    fake_control(&x->w.fake, "GET", "requests", "", text, sizeof(text));
    AUTO_JSON json_t *all = json_loads(text, 0, NULL);
    id[0] = '\0';
    json_object_foreach(all, key, count) {
        if (strncmp(key, "POST /exec/", 11) == 0)
            snprintf(id, 65, "%.*s", (int)strcspn(key + 11, "/"), key + 11);
    }
    assert_true(id[0]);
}

/* One task's labels name the exec of another task. */
static void test_hostile__exec_id_of_a_neighbour__its_exec_continues(void **state) {
    struct world_web *x = *state;
    struct task_config other;
    struct exec_seen victim, own;
    char id[65], labels[256];
    other_task(x, &other);
    exec_open(x, other.id, "sleep", &victim);
    first_exec_id(x, id);
    snprintf(labels, sizeof(labels), "\"execID\":\"%s\",\"exitCode\":\"9\"", id);
    run_with(x, labels);
    exec_open(x, x->task.id, "background", &own);
    world_until(has_exited, &own, "the command has ended");
    assert_int_equal(own.code, 5);
    assert_false(has_exited(&victim));
    exec_done(&victim);
    exec_done(&own);
    task_config_done(&other);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, world_web_teardown)

static const struct CMUnitTest tests[] = {
    CASE(test_hostile__endless_label__both_ends_learnt_and_counted),
    CASE(test_hostile__exit_code_0__the_real_one),
    CASE(test_hostile__exit_code_of_another__the_real_one),
    CASE(test_hostile__exit_code_is_no_number__the_real_one),
    CASE(test_hostile__other_labels__the_events_code),
    CASE(test_hostile__exec_with_exit_code_0__the_real_one),
    CASE(test_hostile__exec_with_another_id__its_end_learnt),
    CASE(test_hostile__exec_without_labels__its_end_learnt),
    CASE(test_hostile__exec_id_of_a_neighbour__its_exec_continues),
};
WORLD_MAIN(tests)
