/* SPDX-License-Identifier: MPL-2.0 */
/* The log pump with a Docker that answers with errors, sends damaged data, or ends streams that
 * have not ended. */
#include "fake/pump_world.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>

/* ---- Docker's answers ---- */

/* True when the pump has finished the task and has renamed its position. */
static bool is_finished(void *ctx) {
    const struct world *w = ctx;
    glob_t found;
    char pattern[128];
    snprintf(pattern, sizeof(pattern), "%s/*/positions/*.done", w->run_dir);
    bool is = glob(pattern, 0, NULL, &found) == 0;
    globfree(&found);
    return is;
}

/* The container's log is lost. The pump requests it once and then leaves the task. The
 * FIFOs stay open while the container runs, because logmon must not see their end. */
static void ends_quietly(struct pump_world *x, const char *answer) {
    char rule[256], request[128];
    struct task_config two;
    struct reader out;
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    snprintf(rule, sizeof(rule), "GET /containers/*/logs %s\n", answer);
    fake_rules(&x->w.fake, rule);
    world_run(&x->w, &two, NULL);
    snprintf(request, sizeof(request), "GET /containers/%s/logs",
             world_look(&x->w, two.id).container_id);
    world_until(is_finished, &x->w, "the pump is done with it");
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    assert_int_equal(fake_count(&x->w.fake, request), 1);
    assert_int_equal(world_look(&x->w, two.id).phase, TASK_RUNNING);
    assert_false(world_is_let_go(two.stdout_path));
    reader_start(&out, two.stdout_path);
    world_exit(&x->w, &two, 7);
    assert_int_equal(world_wait(&x->w, two.id).code, 7);
    reader_until_eof(&out);
    reader_done(&out);
    task_config_done(&two);
}

static void test_logs__404__ends_quietly(void **state) {
    ends_quietly(*state, "status=404 body={\"message\":\"No such container\"}");
}

static void test_logs__409__ends_quietly(void **state) {
    ends_quietly(*state, "status=409 body={\"message\":\"can not get logs from container which is "
                         "dead\"}");
}

/* A container has ended, and no plugin finishes it. The pump repeats its request with growing
 * pauses, not in a loop. */
static void test_logs__ended_without_finish__asked_after_growing_pauses(void **state) {
    struct pump_world *x = *state;
    char request[128];
    pump_world_read(x);
    snprintf(request, sizeof(request), "GET /containers/%s/logs",
             world_look(&x->w, x->task.id).container_id);
    pump_world_lines(x, 40, 80);
    reader_until(&x->out, "00000029 ");
    world_driver_free(&x->w);
    uint64_t before = clock_now_us();
    world_exit(&x->w, &x->task, 0);
    world_until_count(&x->w, request, 6); /* 50, 100, 200, 400, 800 ms */
    assert_true(clock_now_us() - before >= 1550 * US_PER_MS);
    world_driver_new(&x->w, "{}");
}

static void test_logs__damaged_stream__read_again(void **state) {
    struct pump_world *x = *state;
    struct task_config two;
    struct reader out;
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    fake_rules(
        &x->w.fake,
        "GET /containers/*/logs times=2 status=200 type=application/x body=garbage that is no "
        "frame\n");
    world_run(&x->w, &two, NULL);
    reader_start(&out, two.stdout_path);
    fake_control(&x->w.fake, "POST", "print/two-a1", "well\n", NULL, 0);
    reader_until(&out, "well\n");
    reader_done(&out);
    task_config_done(&two);
}

/* The damaged part of the stream comes between lines that a slow reader has not read yet. */
static void test_logs__damaged_while_reader_is_slow__each_line_once(void **state) {
    struct pump_world *x = *state;
    pump_world_read(x);
    for (unsigned round = 1; round <= 5; round++) {
        reader_pause(&x->out, true);
        pump_world_lines(x, 1000, 200); /* more than fits into the FIFO */
        fake_control(&x->w.fake, "POST", "damage/web-a1", "", NULL, 0);
        pump_world_lines(x, 1000, 200);
        reader_pause(&x->out, false);
        reader_until_len(&x->out, 1); /* it moves */
        reader_pause(&x->out, true);
        pump_world_lines(x, 400, 200);
        reader_pause(&x->out, false);
    }
    pump_world_end(x, 5 * 1800, 5 * 600);
}

/* After a crash, StartTask comes again with the same id. The container is another one, and so is
 * its log. */
static void test_logs__same_task_other_container__followed(void **state) {
    struct pump_world *x = *state;
    struct docker *docker = fake_docker(&x->w.fake);
    struct call call = call_within(NULL, WORLD_WAIT_US);
    pump_world_read(x);
    pump_world_print(x, "first\n");
    reader_until(&x->out, "first\n");
    world_driver_free(&x->w); /* its pump still follows the first one */
    fake_rules(&x->w.fake, "GET /containers/*/logs times=1 hang\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_until_count(
        &x->w,
        "GET /containers/c0de00000001000000000000000000000000000000000000000000000000feed/logs", 2);
    assert_int_equal(docker_container_remove(docker, &call, "web-a1", true, NULL), 0);
    docker_free(docker);
    world_driver_new(&x->w, "{}");
    world_run(&x->w, &x->task, NULL);
    pump_world_print(x, "second\n");
    reader_until(&x->out, "second\n");
}

/* The rest of the stream has no frames, so that a cut looks like an end. The last pass must tell
 * them apart. */
static void test_logs__last_pass_alone__framed(void **state) {
    struct pump_world *x = *state;
    char request[128];
    snprintf(request, sizeof(request), "GET /containers/%s/logs",
             world_look(&x->w, x->task.id).container_id);
    pump_world_read(x);
    pump_world_lines(x, 40, 80);
    pump_world_end(x, 30, 10);
    json_t *log = fake_log(&x->w.fake, request);
    size_t i, follows = 0, passes = 0;
    json_t *row;
    json_array_foreach(log, i, row) {
        const char *query = json_string_value(json_object_get(row, "query"));
        bool unframed = json_is_true(json_object_get(row, "unframed"));
        bool follow = strstr(query, "follow=1");
        follows += follow;
        passes += strstr(query, "follow=0") != NULL;
        assert_int_equal(unframed, follow);
    }
    json_decref(log);
    assert_true(follows > 0 && passes > 0);
}

/* Docker is unavailable when the task is destroyed, for longer than the plugin waits for a
 * reader that does not read. The output is not lost, because this is another case. The pump
 * repeats the request after 50, 100, ... 3200 ms. Each one comes twice, because libcurl repeats
 * a request whose connection was used before. */
static void test_destroy__docker_away_for_a_while__delivered(void **state) {
    struct pump_world *x = *state;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    pump_world_read(x);
    fake_rules(&x->w.fake, "GET /containers/*/logs times=16 drop\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    pump_world_lines(x, 4000, 200);
    assert_int_equal(task_destroy(x->w.d, &call, x->task.id, true, NULL), 0);
    reader_until_eof(&x->out);
    reader_until_eof(&x->err);
    assert_int_equal(pump_world_count(&x->out), 3000);
    assert_int_equal(pump_world_count(&x->err), 1000);
}

/* The same at the ordinary end of a task. The plugin waits for 3 s here and for a minute by
 * default. */
static void test_exit__docker_away_for_a_while__delivered(void **state) {
    struct pump_world *x = *state;
    pump_world_read(x);
    fake_rules(&x->w.fake, "GET /containers/*/logs times=16 drop\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    pump_world_lines(x, 4000, 200);
    pump_world_end(x, 3000, 1000);
}

static const struct CMUnitTest tests[] = {
    PUMP_WORLD_T(test_logs__404__ends_quietly),
    PUMP_WORLD_T(test_logs__409__ends_quietly),
    PUMP_WORLD_T(test_destroy__docker_away_for_a_while__delivered),
    PUMP_WORLD_HASTY(test_exit__docker_away_for_a_while__delivered),
    PUMP_WORLD_T(test_logs__ended_without_finish__asked_after_growing_pauses),
    PUMP_WORLD_T(test_logs__damaged_stream__read_again),
    PUMP_WORLD_T(test_logs__damaged_while_reader_is_slow__each_line_once),
    PUMP_WORLD_T(test_logs__same_task_other_container__followed),
    PUMP_WORLD_T(test_logs__last_pass_alone__framed),
};
WORLD_MAIN(tests)
