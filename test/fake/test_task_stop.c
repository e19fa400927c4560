/* SPDX-License-Identifier: MPL-2.0 */
/* StopTask and SignalTask. A task that has ended or was removed counts as success. What Docker
 * cannot do is reported within the deadline. */
#include "fake/task_world.h"

#include <stdio.h>
#include <string.h>

static int setup(void **state) {
    return world_web_setup(state, "{}", 0, true);
}

static int setup_hasty(void **state) {
    return world_web_setup(state, "{}", WORLD_HASTY_MS, true);
}

/* One StopTask and its answer. */
struct stopping {
    struct driver_stop stop;
    pthread_mutex_t lock;
    bool ended;
    int r;
    struct err err;
};

static void on_ended(void *ctx, int r, const struct err *err) {
    struct stopping *s = ctx;
    pthread_mutex_lock(&s->lock);
    assert_false(s->ended);
    s->ended = true;
    s->r = r;
    if (err)
        s->err = *err;
    pthread_mutex_unlock(&s->lock);
}

static bool has_ended(void *ctx) {
    struct stopping *s = ctx;
    pthread_mutex_lock(&s->lock);
    bool ended = s->ended;
    pthread_mutex_unlock(&s->lock);
    return ended;
}

static void stop_begin(struct stopping *s, struct driver *d, const struct call *call,
                       const char *task_id, int64_t timeout_us, const char *signal) {
    *s =
        (struct stopping){.stop = {.ended = on_ended, .ctx = s}, .lock = PTHREAD_MUTEX_INITIALIZER};
    task_stop(d, call, task_id, timeout_us, signal, &s->stop);
}

static int stop_end(struct stopping *s, struct err *err) {
    world_until(has_ended, s, "StopTask's answer");
    task_stop_done(&s->stop);
    if (err)
        *err = s->err;
    return s->r;
}

static int stop_id(struct driver *d, const struct call *call, const char *task_id,
                   int64_t timeout_us, const char *signal, struct err *err) {
    struct stopping s;
    stop_begin(&s, d, call, task_id, timeout_us, signal);
    return stop_end(&s, err);
}

static int stop(struct world_web *x, int64_t timeout_us, const char *signal, struct err *err) {
    struct call call = fake_call();
    return stop_id(x->w.d, &call, x->task.id, timeout_us, signal, err);
}

static int asked(struct world_web *x, const char *method, const char *what) {
    char request[128];
    snprintf(request, sizeof(request), "%s /containers/%s%s", method,
             world_look(&x->w, x->task.id).container_id, what);
    return fake_count(&x->w.fake, request);
}

/* ---- StopTask ---- */

/* Docker sends the signal, waits and kills. This takes one request and does not need this
 * process to stay alive. */
static void test_stop__running__one_request_and_exit_is_reported(void **state) {
    struct world_web *x = *state;
    char request[128];
    assert_int_equal(stop(x, 10 * US_PER_SEC + 1, "", NULL), 0);
    assert_int_equal(asked(x, "POST", "/stop"), 1);
    assert_int_equal(asked(x, "POST", "/kill"), 0);
    snprintf(request, sizeof(request), "POST /containers/%s/stop",
             world_look(&x->w, x->task.id).container_id);
    AUTO_JSON json_t *log = fake_log(&x->w.fake, request);
    assert_string_equal(json_string_value(json_object_get(json_array_get(log, 0), "query")),
                        "t=11"); /* at least the timeout */
    assert_int_equal(world_wait(&x->w, x->task.id).code, 143);
}

static void test_stop__six_hours__docker_gets_them(void **state) {
    struct world_web *x = *state;
    struct stopping s;
    struct call call = {0};
    char request[128];
    fake_rules(&x->w.fake, "POST /containers/*/stop hang\n");
    snprintf(request, sizeof(request), "POST /containers/%s/stop",
             world_look(&x->w, x->task.id).container_id);
    stop_begin(&s, x->w.d, &call, x->task.id, 6 * 3600 * (int64_t)US_PER_SEC, "");
    world_until_count(&x->w, request, 1);
    AUTO_JSON json_t *log = fake_log(&x->w.fake, request);
    assert_string_equal(json_string_value(json_object_get(json_array_get(log, 0), "query")),
                        "t=21600");
    assert_false(has_ended(&s));
    world_exit(&x->w, &x->task, 0); /* the end counts, not Docker's answer */
    assert_int_equal(stop_end(&s, NULL), 0);
}

/* A timeout that is longer than Docker can count. */
static void test_stop__longest_timeout__dockers_limit(void **state) {
    struct world_web *x = *state;
    struct call call = {0};
    char request[128];
    assert_int_equal(stop_id(x->w.d, &call, x->task.id, INT64_MAX, "", NULL), 0);
    snprintf(request, sizeof(request), "POST /containers/%s/stop",
             world_look(&x->w, x->task.id).container_id);
    AUTO_JSON json_t *log = fake_log(&x->w.fake, request);
    assert_string_equal(json_string_value(json_object_get(json_array_get(log, 0), "query")),
                        "t=2147483647");
}

static void test_stop__unknown_or_ended__success(void **state) {
    struct world_web *x = *state;
    struct call call = fake_call();
    assert_int_equal(stop_id(x->w.d, &call, "nobody", 0, "", NULL), 0);
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    assert_int_equal(stop(x, 0, "", NULL), 0);
    assert_int_equal(asked(x, "POST", "/stop"), 0);
}

/* ---- Success means that the end is known ----
 *
 * Without an event stream, only Docker's answers report the end. */

static void deaf(struct world_web *x) {
    fake_rules(&x->w.fake, "GET /events hang\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_until_count(&x->w, "GET /events", 2);
}

static void test_stop__removed__end_is_reported(void **state) {
    struct world_web *x = *state;
    deaf(x);
    fake_rules(&x->w.fake, "* /containers/* status=404 body={\"message\":\"No such container\"}\n");
    assert_int_equal(stop(x, 0, "", NULL), 0);
    struct task_exit e = world_wait(&x->w, x->task.id);
    assert_int_equal(e.code, 137);
    assert_string_equal(e.err, "the container was removed outside of Nomad");
}

static void test_stop__signal_to_removed__end_is_reported(void **state) {
    struct world_web *x = *state;
    deaf(x);
    fake_rules(&x->w.fake, "* /containers/* status=404 body={\"message\":\"No such container\"}\n");
    assert_int_equal(stop(x, 10 * US_PER_SEC, "SIGINT", NULL), 0);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 137);
}

static void test_stop__404_and_inspect_hangs__no_success(void **state) {
    struct world_web *x = *state;
    struct err err;
    deaf(x);
    fake_rules(&x->w.fake,
               "POST /containers/*/stop status=404 body={\"message\":\"No such container\"}\n"
               "GET /containers/*/json hang\n");
    assert_int_equal(stop(x, 0, "", &err), -ETIMEDOUT);
    assert_non_null(strstr(err.text, "its end is not known"));
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    /* The next one gets the answer. */
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    assert_int_equal(stop(x, 0, "", NULL), 0);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 143);
}

static void test_stop__304__end_is_reported(void **state) {
    struct world_web *x = *state;
    deaf(x);
    world_exit(&x->w, &x->task, 4);
    assert_int_equal(stop(x, 0, "", NULL), 0); /* the fake answers 304 */
    assert_int_equal(world_wait(&x->w, x->task.id).code, 4);
}

static void test_stop__answered_and_still_running__no_success(void **state) {
    struct world_web *x = *state;
    struct err err;
    fake_rules(&x->w.fake, "POST /containers/*/stop status=204\n");
    assert_int_equal(stop(x, 0, "", &err), -ETIMEDOUT);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

/* 409 on stop: the container is being removed. */
static void test_stop__409_and_ended__success(void **state) {
    struct world_web *x = *state;
    deaf(x);
    fake_rules(&x->w.fake,
               "POST /containers/*/stop status=409 body={\"message\":\"removal in progress\"}\n");
    world_exit(&x->w, &x->task, 7);
    assert_int_equal(stop(x, 0, "", NULL), 0);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 7);
}

static void test_stop__409_and_running__error(void **state) {
    struct world_web *x = *state;
    struct err err;
    fake_rules(&x->w.fake,
               "POST /containers/*/stop status=409 body={\"message\":\"removal in progress\"}\n");
    assert_true(stop(x, 0, "", &err) < 0);
    assert_non_null(strstr(err.text, "removal in progress"));
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

static void test_stop__409_and_inspect_fails__error(void **state) {
    struct world_web *x = *state;
    struct err err;
    deaf(x);
    fake_rules(&x->w.fake,
               "POST /containers/*/stop status=409 body={\"message\":\"removal in progress\"}\n"
               "GET /containers/*/json status=500 body={\"message\":\"no\"}\n");
    assert_true(stop(x, 0, "", &err) < 0);
    assert_non_null(strstr(err.text, "removal in progress"));
}

static void test_stop__500__error_with_dockers_words(void **state) {
    struct world_web *x = *state;
    struct err err;
    fake_rules(&x->w.fake,
               "POST /containers/*/stop status=500 body={\"message\":\"cannot kill: D state\"}\n");
    assert_true(stop(x, 0, "", &err) < 0);
    assert_non_null(strstr(err.text, "cannot kill: D state"));
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

/* Each of Docker's answers hangs in turn. */
static void test_stop__hangs__deadline(void **state) {
    struct world_web *x = *state;
    struct err err;
    uint64_t before = clock_now_us();
    fake_rules(&x->w.fake, "POST /containers/*/stop hang\nPOST /containers/*/kill skip=1 hang\n");
    assert_int_equal(stop(x, 200 * US_PER_MS, "SIGINT", &err), -ETIMEDOUT); /* the SIGKILL */
    assert_int_equal(err.cls, ERR_DEADLINE);
    assert_int_equal(asked(x, "POST", "/kill"), 2);
    assert_int_equal(stop(x, 200 * US_PER_MS, "SIGINT", &err), -ETIMEDOUT); /* the signal */
    assert_int_equal(stop(x, 200 * US_PER_MS, "", &err), -ETIMEDOUT);
    assert_int_equal(err.cls, ERR_DEADLINE);
    assert_true(clock_now_us() - before >= 3 * WORLD_HASTY_MS * US_PER_MS);
    assert_true(clock_now_us() - before < WORLD_WAIT_US);
}

static void test_stop__signal_is_enough__no_stop(void **state) {
    struct world_web *x = *state;
    assert_int_equal(stop(x, 5 * US_PER_SEC, "SIGKILL", NULL), 0);
    assert_int_equal(asked(x, "POST", "/stop"), 0);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 137);
}

/* SIGKILL and no second stop signal. */
static void test_stop__signal_ignored__killed_after_timeout(void **state) {
    struct world_web *x = *state;
    uint64_t before = clock_now_us();
    assert_int_equal(stop(x, 300 * US_PER_MS, "SIGINT", NULL), 0);
    assert_true(clock_now_us() - before >= 300 * US_PER_MS);
    assert_int_equal(asked(x, "POST", "/kill"), 2);
    assert_int_equal(asked(x, "POST", "/stop"), 0);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 137);
}

static void test_stop__signal_to_ended__end_is_reported(void **state) {
    struct world_web *x = *state;
    deaf(x);
    world_exit(&x->w, &x->task, 6);
    assert_int_equal(stop(x, US_PER_SEC, "SIGINT", NULL), 0); /* the fake answers 409 */
    assert_int_equal(asked(x, "POST", "/stop"), 0);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 6);
}

static void test_stop__unknown_signal__refused(void **state) {
    struct err err;
    assert_int_equal(stop(*state, 0, "SIGNOPE", &err), -EINVAL);
    assert_int_equal(err.cls, ERR_INVALID);
    assert_int_equal(world_look(&((struct world_web *)*state)->w, "a1/web/0123").phase,
                     TASK_RUNNING);
}

static void test_stop__client_disconnects__ends_early(void **state) {
    struct world_web *x = *state;
    struct cancel cancel;
    assert_int_equal(cancel_init(&cancel), 0);
    cancel_fire(&cancel);
    struct call call = fake_call();
    call.cancel = &cancel;
    uint64_t before = clock_now_us();
    assert_int_equal(stop_id(x->w.d, &call, x->task.id, 10 * US_PER_SEC, "SIGINT", NULL),
                     -ECANCELED);
    assert_true(clock_now_us() - before < 5 * US_PER_SEC);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    cancel_done(&cancel);
}

/* Many calls wait for the end of their tasks without a thread for each, and each call can be
 * cancelled. */
static void test_stop__many_wait__cost_no_thread(void **state) {
    struct world_web *x = *state;
    static struct stopping waiting[80];
    struct call call = fake_call();
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
        stop_begin(&waiting[i], x->w.d, &call, x->task.id, 60 * US_PER_SEC, "SIGINT");
    assert_false(has_ended(&waiting[0]));

    struct task_config other;
    world_task(&x->w, &other, "other", WORLD_WEB_JOB);
    world_run(&x->w, &other, NULL);
    assert_int_equal(stop_id(x->w.d, &call, other.id, 60 * US_PER_SEC, "", NULL), 0);
    assert_int_equal(stop_id(x->w.d, &call, other.id, 0, "", NULL), 0);
    task_config_done(&other);

    task_stop_cancel(&waiting[7].stop);
    assert_int_equal(stop_end(&waiting[7], NULL), -ECANCELED);
    assert_false(has_ended(&waiting[0]));
    world_exit(&x->w, &x->task, 0);
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
        if (i != 7)
            assert_int_equal(stop_end(&waiting[i], NULL), 0);
    task_stop_cancel(&waiting[0].stop); /* too late: no second report */
    assert_int_equal(asked(x, "POST", "/stop"), 0);
}

/* Each at its own time, in whatever order they came. */
static void test_stop__timeouts__in_their_order(void **state) {
    struct world_web *x = *state;
    struct stopping late, soon;
    struct call call = fake_call();
    uint64_t before = clock_now_us();
    stop_begin(&late, x->w.d, &call, x->task.id, 60 * US_PER_SEC, "SIGINT");
    stop_begin(&soon, x->w.d, &call, x->task.id, 200 * US_PER_MS, "SIGINT");
    assert_int_equal(stop_end(&soon, NULL), 0);
    assert_int_equal(stop_end(&late, NULL), 0);
    uint64_t took = clock_now_us() - before;
    assert_in_range(took, 200 * US_PER_MS, 10 * US_PER_SEC);
    assert_int_equal(asked(x, "POST", "/kill"), 3);
}

/* kill_timeout may be as large as a number can be. */
static void test_stop__longest_timeout_and_signal__waits_for_the_end(void **state) {
    struct world_web *x = *state;
    struct stopping s;
    struct task_config other;
    struct call call = {0};
    world_task(&x->w, &other, "other", WORLD_WEB_JOB);
    world_run(&x->w, &other, NULL);
    stop_begin(&s, x->w.d, &call, x->task.id, INT64_MAX, "SIGINT");
    assert_int_equal(stop_id(x->w.d, &call, other.id, 200 * US_PER_MS, "SIGINT", NULL), 0);
    assert_false(has_ended(&s));
    world_exit(&x->w, &x->task, 0);
    assert_int_equal(stop_end(&s, NULL), 0);
    assert_int_equal(asked(x, "POST", "/stop"), 0);
    task_config_done(&other);
}

static bool all_stops_hang(void *ctx) {
    return asked(ctx, "POST", "/stop") >= 20;
}

static bool other_is_inspected(void *ctx) {
    struct world_web *x = ctx;
    return world_look(&x->w, "a1/other/0123").pid != 999999999;
}

/* Docker cannot kill some tasks. Another one, which needs an inspect, gets it in the meantime. */
static void test_stop__twenty_cannot_be_killed__another_is_inspected(void **state) {
    struct world_web *x = *state;
    static struct stopping stuck[20];
    struct task_config other;
    struct cancel cancel;
    struct call call = fake_call();
    world_task(&x->w, &other, "other", WORLD_WEB_JOB);
    world_run(&x->w, &other, NULL);
    assert_int_equal(cancel_init(&cancel), 0);
    call.cancel = &cancel;
    fake_rules(&x->w.fake, "POST /containers/*/stop hang\n");
    for (size_t i = 0; i < ARRAY_LEN(stuck); i++)
        stop_begin(&stuck[i], x->w.d, &call, x->task.id, US_PER_MS, "");
    world_until(all_stops_hang, x, "Docker's stops");
    fake_control(&x->w.fake, "POST", "restart/other-a1?lost=1", "", NULL, 0);
    world_until(other_is_inspected, x, "the look at another one");
    cancel_fire(&cancel);
    for (size_t i = 0; i < ARRAY_LEN(stuck); i++) {
        task_stop_cancel(&stuck[i].stop);
        assert_int_equal(stop_end(&stuck[i], NULL), -ECANCELED);
    }
    cancel_done(&cancel);
    task_config_done(&other);
}

/* ---- Signals ---- */

static void test_signal__cases(void **state) {
    struct world_web *x = *state;
    struct call call = fake_call();
    struct err err = {0};
    assert_int_equal(task_signal(x->w.d, &call, x->task.id, "SIGHUP", NULL), 0);
    assert_int_equal(task_signal(x->w.d, &call, x->task.id, "usr1", NULL), 0);
    assert_int_equal(task_signal(x->w.d, &call, x->task.id, "9x", NULL), -EINVAL);
    assert_int_equal(task_signal(x->w.d, &call, "nobody", "SIGHUP", &err), -ENOENT);
    assert_string_equal(err.text, "task not found for given id");
    assert_int_equal(asked(x, "POST", "/kill"), 2);
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    err = (struct err){0};
    assert_true(task_signal(x->w.d, &call, x->task.id, "SIGHUP", &err) < 0);
    assert_non_null(strstr(err.text, "is not running"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, world_web_teardown)
#define HASTY(f) cmocka_unit_test_setup_teardown(f, setup_hasty, world_web_teardown)
static const struct CMUnitTest tests[] = {
    T(test_stop__running__one_request_and_exit_is_reported),
    T(test_stop__six_hours__docker_gets_them),
    T(test_stop__longest_timeout__dockers_limit),
    T(test_stop__unknown_or_ended__success),
    T(test_stop__removed__end_is_reported),
    T(test_stop__signal_to_removed__end_is_reported),
    HASTY(test_stop__404_and_inspect_hangs__no_success),
    T(test_stop__304__end_is_reported),
    HASTY(test_stop__answered_and_still_running__no_success),
    T(test_stop__409_and_ended__success),
    HASTY(test_stop__409_and_running__error),
    HASTY(test_stop__409_and_inspect_fails__error),
    T(test_stop__500__error_with_dockers_words),
    HASTY(test_stop__hangs__deadline),
    T(test_stop__signal_is_enough__no_stop),
    T(test_stop__signal_ignored__killed_after_timeout),
    T(test_stop__signal_to_ended__end_is_reported),
    T(test_stop__unknown_signal__refused),
    T(test_stop__client_disconnects__ends_early),
    T(test_stop__many_wait__cost_no_thread),
    T(test_stop__timeouts__in_their_order),
    T(test_stop__longest_timeout_and_signal__waits_for_the_end),
    T(test_stop__twenty_cannot_be_killed__another_is_inspected),
    T(test_signal__cases),
};
WORLD_MAIN(tests)
