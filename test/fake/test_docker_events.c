/* SPDX-License-Identifier: MPL-2.0 */
/* The event stream and other streams on a loop that the test's own thread runs. Each test runs the
 * loop until the expected event was seen, or until a deadline. */
#include "fake/fake_client.h"
#include "paddock/clock.h"
#include "paddock/docker_multi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

struct fixture {
    struct fake fake;
    struct docker *docker;
    struct loop *loop;
    struct loop_timer *deadline;
    bool late;
    struct docker_events *events;
    /* seen */
    unsigned connected, disconnected, count;
    char seen[64][96]; /* "action name code" */
    unsigned skipped;
    char skipped_ids[8][65];
    unsigned stop_at_connected, stop_at_disconnected, stop_at_count;
    char why[256];
    /* of a GET */
    struct docker_multi *multi;
    struct docker_get *get;
    size_t bytes, pauses, pieces, reported_pauses;
    int done, done_r, done_status;
    bool pause_each, cancel_in_data, cancel_in_pause, unpaused;
    struct loop_timer *resume;
    char text[128];
};

static const char *const three[] = {"--containers", "3", NULL};

static void on_deadline(void *arg) {
    struct fixture *x = arg;
    x->late = true;
    loop_stop(x->loop);
}

static void check_stop(struct fixture *x) {
    if ((x->stop_at_connected && x->connected >= x->stop_at_connected) ||
        (x->stop_at_disconnected && x->disconnected >= x->stop_at_disconnected) ||
        (x->stop_at_count && x->count >= x->stop_at_count))
        loop_stop(x->loop);
}

static void on_connected(void *ctx) {
    struct fixture *x = ctx;
    x->connected++;
    check_stop(x);
}

static void on_event(void *ctx, const struct docker_event *e) {
    struct fixture *x = ctx;
    const char *name = json_string_value(json_object_get(e->attributes, "name"));
    assert_true(x->count < ARRAY_LEN(x->seen));
    snprintf(x->seen[x->count++], sizeof(x->seen[0]), "%.20s %.20s %d", e->action, name ? name : "",
             e->exit_code);
    check_stop(x);
}

static void on_disconnected(void *ctx, const char *why) {
    struct fixture *x = ctx;
    x->disconnected++;
    snprintf(x->why, sizeof(x->why), "%s", why);
    check_stop(x);
}

static void on_skipped(void *ctx, const char *container_id, const char *why) {
    struct fixture *x = ctx;
    assert_true(why[0] && x->skipped < ARRAY_LEN(x->skipped_ids));
    snprintf(x->skipped_ids[x->skipped++], sizeof(x->skipped_ids[0]), "%s", container_id);
}

static const struct docker_events_ops ops = {.connected = on_connected,
                                             .event = on_event,
                                             .skipped = on_skipped,
                                             .disconnected = on_disconnected};

static int setup(void **state) {
    struct fixture *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    fake_start(&x->fake, three);
    x->docker = fake_docker(&x->fake);
    *state = x;
    return 0;
}

static void end_loop(struct fixture *x) {
    docker_events_free(TAKE_PTR(x->events));
    docker_multi_free(TAKE_PTR(x->multi));
    loop_free(TAKE_PTR(x->loop));
}

static int teardown(void **state) {
    struct fixture *x = *state;
    end_loop(x);
    docker_free(x->docker);
    fake_done(&x->fake);
    free(x);
    return 0;
}

static void begin_loop(struct fixture *x) {
    assert_int_equal(loop_new(&x->loop), 0);
    assert_int_equal(loop_timer_new(x->loop, on_deadline, x, &x->deadline), 0);
    loop_timer_at(x->deadline, clock_now_us() + 30 * US_PER_SEC);
}

static void run(struct fixture *x) {
    assert_int_equal(loop_run(x->loop), 0);
    assert_false(x->late);
}

/* ---- Events ---- */

/* Changes the fake when the stream is open. */
static void on_connected_then_exit(void *ctx) {
    struct fixture *x = ctx;
    on_connected(ctx);
    if (x->connected == 1)
        fake_control(&x->fake, "POST", "exit/task-1?code=3&oom=1", "", NULL, 0);
}

static void test_docker_events__exit__action_name_code(void **state) {
    struct fixture *x = *state;
    struct docker_events_ops mine = ops;
    mine.connected = on_connected_then_exit;
    begin_loop(x);
    x->stop_at_count = 2;
    assert_int_equal(docker_events_new(x->docker, x->loop, &mine, x, &x->events), 0);
    run(x);
    assert_int_equal(x->connected, 1);
    assert_string_equal(x->seen[0], "oom task-1 -1");
    assert_string_equal(x->seen[1], "die task-1 3");
}

/* Cuts the stream after the first event. Two more tasks end before it is open again. */
static void on_event_then_cut(void *ctx, const struct docker_event *e) {
    struct fixture *x = ctx;
    on_event(ctx, e);
    if (x->count == 1) {
        fake_control(&x->fake, "POST", "drop", "", NULL, 0);
        fake_control(&x->fake, "POST", "exit/task-0?code=0", "", NULL, 0);
        fake_control(&x->fake, "POST", "exit/task-2?code=255", "", NULL, 0);
    }
}

static void test_docker_events__cut__no_event_lost_none_reported_twice(void **state) {
    struct fixture *x = *state;
    struct docker_events_ops mine = ops;
    mine.connected = on_connected_then_exit;
    mine.event = on_event_then_cut;
    begin_loop(x);
    x->stop_at_count = 4;
    assert_int_equal(docker_events_new(x->docker, x->loop, &mine, x, &x->events), 0);
    run(x);
    assert_int_equal(x->connected, 2);
    assert_int_equal(x->disconnected, 1);
    assert_string_equal(x->seen[0], "oom task-1 -1");
    assert_string_equal(x->seen[1], "die task-1 3");
    assert_string_equal(x->seen[2], "die task-0 0"); /* while no stream was open */
    assert_string_equal(x->seen[3], "die task-2 255");
}

static void restart_fake(void *ctx, const char *why) {
    struct fixture *x = ctx;
    on_disconnected(ctx, why);
    if (x->fake.pid == 0)
        fake_start_again(&x->fake, three);
}

static void stop_fake(void *ctx) {
    struct fixture *x = ctx;
    on_connected(ctx);
    if (x->connected == 1)
        fake_stop(&x->fake);
}

static void test_docker_events__dockerd_restarted__connected_again(void **state) {
    struct fixture *x = *state;
    struct docker_events_ops mine = {
        .connected = stop_fake, .event = on_event, .disconnected = restart_fake};
    begin_loop(x);
    x->stop_at_connected = 2;
    assert_int_equal(docker_events_new(x->docker, x->loop, &mine, x, &x->events), 0);
    run(x);
    assert_int_equal(x->disconnected, 1);
    assert_non_null(strstr(x->why, "was lost"));
}

static void test_docker_events__no_dockerd__reported_once_and_retried(void **state) {
    struct fixture *x = *state;
    struct docker_events_ops mine = {
        .connected = on_connected, .event = on_event, .disconnected = restart_fake};
    begin_loop(x);
    fake_stop(&x->fake);
    x->stop_at_connected = 1;
    assert_int_equal(docker_events_new(x->docker, x->loop, &mine, x, &x->events), 0);
    run(x);
    assert_int_equal(x->disconnected, 1);
    assert_non_null(strstr(x->why, "cannot connect"));
}

static void test_docker_events__garbage_and_an_end__opened_again(void **state) {
    struct fixture *x = *state;
    begin_loop(x);
    fake_rules(&x->fake, "GET /events times=1 chunked body={\"Type\":\"container\"} nonsense\n");
    x->stop_at_connected = 2;
    assert_int_equal(docker_events_new(x->docker, x->loop, &ops, x, &x->events), 0);
    run(x);
    assert_int_equal(x->disconnected, 1);
}

#define DIE(id, labels)                                                                            \
    "{\"status\":\"die\",\"id\":\"" id                                                             \
    "\",\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"" id                         \
    "\",\"Attributes\":{" labels "\"name\":\"t\",\"exitCode\":\"3\"}},\"time\":7}\\n"

/* Whatever the labels of one container are, the events of the others are reported on the same
 * stream. The fake removes one level of backslashes from a rule's text. */
static void test_docker_events__hostile_lines__others_are_reported(void **state) {
    struct fixture *x = *state;
    char text[8192];
    fake_rules(&x->fake, "GET /events times=1 every=1 stall body=" /* NULs: read */
               DIE("aa1", "\"x\":\"a\\\\u0000b\",") DIE("aa2", "\"a\\\\u0000b\":\"x\",")
               /* read */
               DIE("aa3", "\"x\":\"1\",\"x\":\"2\",") DIE("aa4", "\"x\":99999999999999999999,")
               /* skipped */
               DIE("bb1", "\"x\":\"\xff\",") DIE("bb2", "\"x\":\"\\\\ud800\",")
                   DIE("bb3", "\"x\":1e999,")
                       DIE("bb4", "\"x\":\"\x01\",") "nonsense\\n"
                                                     "[]\\n" DIE("cc1", "") "\n");
    begin_loop(x);
    x->stop_at_count = 5;
    assert_int_equal(docker_events_new(x->docker, x->loop, &ops, x, &x->events), 0);
    run(x);
    assert_int_equal(x->connected, 1);
    assert_int_equal(x->disconnected, 0);
    for (unsigned i = 0; i < x->count; i++)
        assert_string_equal(x->seen[i], "die t 3");
    text[0] = '\0';
    for (unsigned i = 0; i < x->skipped; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s;", x->skipped_ids[i]);
    assert_string_equal(text, "bb1;bb2;bb3;bb4;;;");
    AUTO_BUF struct buf metrics;
    buf_init(&metrics, 0);
    assert_int_equal(docker_metrics(x->docker, &metrics), 0);
    assert_non_null(strstr(buf_text(&metrics), "paddock_docker_skipped_total{kind=\"event\"} 6\n"));
}

/* The event of an exec with two megabytes of arguments is skipped. The stream is not opened again.
 */
static void test_docker_events__line_beyond_all_bounds__passed_over(void **state) {
    struct fixture *x = *state;
    static const char head[] = "GET /events times=1 every=1 stall body={\"status\":\"die\",\"id\":"
                               "\"abc123\",\"from\":\"";
    static const char tail[] =
        "\\n{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"c1\","
        "\"Attributes\":{\"name\":\"task-1\",\"exitCode\":\"3\"}}}\\n\n";
    size_t len = 2u << 20;
    AUTO_FREE char *rule = malloc(sizeof(head) + len + sizeof(tail));
    assert_non_null(rule);
    memcpy(rule, head, sizeof(head));
    memset(rule + sizeof(head) - 1, 'x', len);
    memcpy(rule + sizeof(head) - 1 + len, tail, sizeof(tail));
    begin_loop(x);
    fake_rules(&x->fake, rule);
    x->stop_at_count = 1;
    assert_int_equal(docker_events_new(x->docker, x->loop, &ops, x, &x->events), 0);
    run(x);
    assert_int_equal(x->connected, 1);
    assert_string_equal(x->seen[0], "die task-1 3");
    assert_int_equal(x->skipped, 1);
    assert_string_equal(x->skipped_ids[0], "abc123");
}

/* A server that accepts the request and ends it immediately is not asked ten times a second,
 * because each new stream makes the driver inspect all containers. */
static void test_docker_events__ended_immediately_each_time__growing_pauses(void **state) {
    struct fixture *x = *state;
    begin_loop(x);
    fake_rules(&x->fake, "GET /events status=200 type=application/json chunked body=\n");
    x->stop_at_connected = 4;
    uint64_t before = clock_now_us();
    assert_int_equal(docker_events_new(x->docker, x->loop, &ops, x, &x->events), 0);
    run(x);
    assert_true(clock_now_us() - before >= 700 * US_PER_MS); /* 100, 200, 400 */
}

/* ---- Other GET requests ---- */

static void on_resume(void *arg) {
    struct fixture *x = arg;
    if (x->get)
        docker_multi_get_resume(x->get);
}

static int on_data(void *ctx, const char *data, size_t len) {
    struct fixture *x = ctx;
    (void)data;
    if (x->cancel_in_data) {
        docker_multi_get_cancel(TAKE_PTR(x->get));
        loop_stop(x->loop);
        return 0;
    }
    if (x->pause_each && x->pauses++ % 2 == 0) {
        loop_timer_at(x->resume, clock_now_us() + US_PER_MS);
        return DOCKER_GET_PAUSE;
    }
    x->bytes += len;
    x->unpaused = true;
    x->pieces++;
    return 0;
}

static void on_pause(void *ctx) {
    struct fixture *x = ctx;
    assert_false(x->done); /* before the end is reported */
    x->reported_pauses++;
    x->unpaused = false;
    if (x->cancel_in_pause) {
        docker_multi_get_cancel(TAKE_PTR(x->get));
        loop_stop(x->loop);
    }
}

static void on_done(void *ctx, int r, int status, const struct err *err) {
    struct fixture *x = ctx;
    x->get = NULL;
    x->done++;
    x->done_r = r;
    x->done_status = status;
    snprintf(x->text, sizeof(x->text), "%.100s", err ? err->text : "");
    loop_stop(x->loop);
}

static const struct docker_get_ops get_ops = {
    .on_data = on_data, .on_pause = on_pause, .on_done = on_done};

static void get_it(struct fixture *x, const char *path) {
    begin_loop(x);
    assert_int_equal(loop_timer_new(x->loop, on_resume, x, &x->resume), 0);
    assert_int_equal(docker_multi_new(x->docker, x->loop, &x->multi), 0);
    assert_int_equal(docker_multi_get(x->multi, path, &get_ops, x, &x->get), 0);
    assert_int_equal(x->done, 0);
    run(x);
}

static void test_docker_get__paused_at_each_piece__all_comes(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->fake, "GET /big size=300000 chunked");
    x->pause_each = true;
    get_it(x, "/big");
    assert_int_equal(x->done_r, 0);
    assert_int_equal(x->done_status, 200);
    assert_int_equal(x->bytes, 300000);
    assert_true(x->pauses > 10);
}

static void test_docker_get__many_pieces_together__one_pause_after_the_last(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->fake, "GET /big size=300000 chunked");
    get_it(x, "/big");
    assert_int_equal(x->bytes, 300000);
    assert_false(x->unpaused);
    assert_true(x->reported_pauses > 0 && x->reported_pauses < x->pieces);
}

static void test_docker_get__cancelled_in_a_pause__no_more_calls(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->fake, "GET /big size=300000 chunked");
    x->cancel_in_pause = true;
    get_it(x, "/big");
    assert_int_equal(x->done, 0);
    assert_int_equal(x->reported_pauses, 1);
}

static void test_docker_get__cancelled_in_its_callback__no_more_calls(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->fake, "GET /big size=300000");
    x->cancel_in_data = true;
    get_it(x, "/big");
    assert_int_equal(x->done, 0);
    assert_int_equal(x->bytes, 0);
}

static void test_docker_get__refused__errno_status_message(void **state) {
    struct fixture *x = *state;
    get_it(x, "/containers/nope/logs");
    assert_int_equal(x->done_r, -ENOENT);
    assert_int_equal(x->done_status, 404);
    assert_string_equal(x->text, "No such container: nope");
    assert_int_equal(x->bytes, 0);
}

static void test_docker_get__cut_off__enotconn(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->fake, "GET /big size=300000 cut=1000");
    get_it(x, "/big");
    assert_int_equal(x->done_r, -ENOTCONN);
    assert_int_equal(x->bytes, 1000);
}

static void test_docker_get__version_too_old__reported(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->fake, "GET /_ping status=200 header=Api-Version:1.24 body=OK");
    get_it(x, "/events");
    assert_int_equal(x->done_r, -EPROTO);
    assert_non_null(strstr(x->text, "too old"));
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        T(test_docker_events__exit__action_name_code),
        T(test_docker_events__cut__no_event_lost_none_reported_twice),
        T(test_docker_events__dockerd_restarted__connected_again),
        T(test_docker_events__no_dockerd__reported_once_and_retried),
        T(test_docker_events__garbage_and_an_end__opened_again),
        T(test_docker_events__hostile_lines__others_are_reported),
        T(test_docker_events__line_beyond_all_bounds__passed_over),
        T(test_docker_events__ended_immediately_each_time__growing_pauses),
        T(test_docker_get__paused_at_each_piece__all_comes),
        T(test_docker_get__many_pieces_together__one_pause_after_the_last),
        T(test_docker_get__cancelled_in_a_pause__no_more_calls),
        T(test_docker_get__cancelled_in_its_callback__no_more_calls),
        T(test_docker_get__refused__errno_status_message),
        T(test_docker_get__cut_off__enotconn),
        T(test_docker_get__version_too_old__reported),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
