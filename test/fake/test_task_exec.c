/* SPDX-License-Identifier: MPL-2.0 */
/* ExecTask: the output and the exit code of a command, its timeout, and what Docker does when the
 * start of a command fails. */
#include "fake/exec_world.h"

#include <string.h>

static int setup(void **state) {
    return world_web_setup_live(state, 0);
}

static int run(struct world_web *x, int64_t timeout_us, struct driver_exec_result *ret,
               struct err *err, const char *a, const char *b) {
    const char *argv[] = {a, b, NULL};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    *err = (struct err){0};
    return task_exec(x->w.d, &call, x->task.id, argv, timeout_us, ret, err);
}

static void test_exec__output_and_code__both_streams(void **state) {
    struct driver_exec_result r = {0};
    struct err err;
    assert_int_equal(run(*state, 0, &r, &err, "echo", "hello"), 0);
    assert_string_equal(r.out, "hello");
    assert_string_equal(r.err, "");
    task_exec_result_done(&r);
    assert_int_equal(run(*state, 0, &r, &err, "err", "trouble"), 0);
    assert_string_equal(r.err, "trouble");
    task_exec_result_done(&r);
    assert_int_equal(run(*state, 0, &r, &err, "exit", "7"), 0);
    assert_int_equal(r.exit.code, 7);
    task_exec_result_done(&r);
}

static void test_exec__large_output__last_4_kib(void **state) {
    static const struct {
        const char *size;
        size_t all, kept;
    } rows[] = {
        {"3000000", 3000000, 4096}, {"4097", 4097, 4096}, {"4096", 4096, 4096}, {"9", 9, 9}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct driver_exec_result r = {0};
        struct err err;
        assert_int_equal(run(*state, 0, &r, &err, "big", rows[i].size), 0);
        assert_int_equal(r.out_len, rows[i].kept);
        for (size_t k = 0; k < r.out_len; k++)
            assert_int_equal(r.out[k], 'a' + (int)((rows[i].all - rows[i].kept + k) % 23));
        task_exec_result_done(&r);
    }
}

static void test_exec__does_not_end__timeout(void **state) {
    struct driver_exec_result r = {0};
    struct err err;
    uint64_t before = clock_now_us();
    assert_int_equal(run(*state, 200 * US_PER_MS, &r, &err, "sleep", NULL), -ETIMEDOUT);
    assert_int_equal(err.cls, ERR_DEADLINE);
    assert_true(clock_now_us() - before < 10 * US_PER_SEC);
    assert_null(r.out);
}

/* A command that prints faster than its reader reads, so that there is always more. */
static struct {
    _Atomic uint64_t until_us;
    const struct cancel *cancel; /* fired at the first piece */
} flood;

ssize_t __real_docker_stream_read(struct docker_stream *s, void *out, size_t size);
ssize_t __wrap_docker_stream_read(struct docker_stream *s, void *out, size_t size);
ssize_t __wrap_docker_stream_read(struct docker_stream *s, void *out, size_t size) {
    static const char frame[] = {1, 0, 0, 0, 0, 0, 0, 5, 'm', 'o', 'r', 'e', '\n'};
    if (clock_now_us() >= atomic_load(&flood.until_us))
        return __real_docker_stream_read(s, out, size);
    if (flood.cancel)
        cancel_fire(flood.cancel);
    memcpy(out, frame, sizeof(frame));
    return sizeof(frame);
}

static void test_exec__prints_for_ever__timeout_or_cancel_ends_it(void **state) {
    struct world_web *x = *state;
    const char *argv[] = {"sleep", NULL};
    struct driver_exec_result r = {0};
    struct cancel cancel;
    struct err err;
    assert_int_equal(cancel_init(&cancel), 0);
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        struct call call = call_within(NULL, WORLD_WAIT_US);
        call.cancel = &cancel;
        flood.cancel = cancelled ? &cancel : NULL;
        err = (struct err){0};
        atomic_store(&flood.until_us, clock_now_us() + 5 * US_PER_SEC);
        assert_int_equal(
            task_exec(x->w.d, &call, x->task.id, argv, cancelled ? 0 : 200 * US_PER_MS, &r, &err),
            cancelled ? -ECANCELED : -ETIMEDOUT);
        assert_int_equal(err.cls, cancelled ? ERR_PLAIN : ERR_DEADLINE);
        assert_true(clock_now_us() < atomic_load(&flood.until_us));
    }
    atomic_store(&flood.until_us, 0);
    cancel_done(&cancel);
}

/* Docker does not answer the question about the command that must be ended. The caller still
 * gets its answer in time. */
static void test_exec__timeout_and_docker_hangs__answered(void **state) {
    struct world_web *x = *state;
    struct driver_exec_result r = {0};
    struct err err;
    fake_rules(&x->w.fake, "GET /exec/*/json hang\n");
    uint64_t before = clock_now_us();
    assert_int_equal(run(x, EXEC_WORLD_TIMEOUT_US, &r, &err, "sleep", NULL), -ETIMEDOUT);
    assert_true(clock_now_us() - before < 10 * US_PER_SEC);
}

/* Docker has not finished the start. The command is ended when it has a process. */
static void test_exec__timeout_while_it_starts__asked_until_it_has_a_pid(void **state) {
    struct world_web *x = *state;
    struct driver_exec_result r = {0};
    struct err err;
    fake_rules(&x->w.fake, "GET /exec/*/json times=2 status=200 body=" EXEC_WORLD_NOT_STARTED "\n"
                           "GET /exec/*/json times=3 status=200 body=" EXEC_WORLD_STARTING "\n");
    assert_int_equal(run(x, EXEC_WORLD_TIMEOUT_US, &r, &err, "sleep", NULL), -ETIMEDOUT);
    world_until_count(&x->w, EXEC_WORLD_JSON, 6);
}

/* The answer to the start is lost, but the command starts. */
static void test_exec__start_not_answered__command_ended(void **state) {
    struct world_web *x = *state;
    struct driver_exec_result r = {0};
    struct err err;
    fake_rules(&x->w.fake, "POST /exec/*/start hang\n");
    assert_int_equal(run(x, EXEC_WORLD_TIMEOUT_US, &r, &err, "sleep", NULL), -ETIMEDOUT);
    world_until_count(&x->w, EXEC_WORLD_JSON, 1);
}

/* The container was paused between the two calls. That is not success. */
static void test_exec__docker_did_not_start_it__126(void **state) {
    struct world_web *x = *state;
    struct driver_exec_result r = {0};
    struct err err;
    fake_rules(&x->w.fake, "GET /exec/*/json status=200 body=" EXEC_WORLD_NOT_STARTED "\n");
    assert_int_equal(run(x, 0, &r, &err, "echo", "Container is paused"), 0);
    assert_int_equal(r.exit.code, 126);
    task_exec_result_done(&r);
}

static void test_exec__refusals(void **state) {
    struct world_web *x = *state;
    struct driver_exec_result r = {0};
    struct err err = {0};
    const char *argv[] = {"echo", NULL};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    assert_int_equal(run(x, 0, &r, &err, NULL, NULL), -EINVAL);
    assert_string_equal(err.text, "cmd is required, but was empty");
    err = (struct err){0};
    assert_int_equal(task_exec(x->w.d, &call, "unknown", argv, 0, &r, &err), -ENOENT);
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    assert_true(run(x, 0, &r, &err, "echo", "late") < 0);
    assert_non_null(strstr(err.text, "is not running"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, world_web_teardown)
static const struct CMUnitTest tests[] = {
    T(test_exec__output_and_code__both_streams),
    T(test_exec__large_output__last_4_kib),
    T(test_exec__does_not_end__timeout),
    T(test_exec__prints_for_ever__timeout_or_cancel_ends_it),
    T(test_exec__timeout_and_docker_hangs__answered),
    T(test_exec__timeout_while_it_starts__asked_until_it_has_a_pid),
    T(test_exec__start_not_answered__command_ended),
    T(test_exec__docker_did_not_start_it__126),
    T(test_exec__refusals),
};
WORLD_MAIN(tests)
