/* SPDX-License-Identifier: MPL-2.0 */
/* ExecTask, ExecTaskStreaming and TaskStats with a fake dockerd. */
#include "fake/task_world.h"
#include "paddock/loop.h"
#include "paddock/pool.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define RUNS "{\"image\":\"busybox\",\"command\":\"sleep\"}"

struct fixture {
    struct world w;
    struct task_config task;
    struct driver_exec *exec;
    struct driver_sub *sub[2];
    pthread_mutex_t lock;
    /* a streaming exec */
    size_t len[3], calls;
    char text[3][256];
    bool closed[3], exited, failed, room, pause_once;
    int code, refuse_with;
    /* stats */
    unsigned samples[2], ends[2];
    struct driver_stats last;
};

static int setup_with(void **state, unsigned timeout_ms) {
    struct fixture *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    pthread_mutex_init(&x->lock, NULL);
    world_start(&x->w, "{}", timeout_ms);
    world_task(&x->w, &x->task, "web", RUNS);
    world_run(&x->w, &x->task, NULL);
    world_until_count(&x->w, "GET /events", 1);
    *state = x;
    return 0;
}

static int setup(void **state) {
    return setup_with(state, 0);
}

static int setup_hasty(void **state) {
    return setup_with(state, WORLD_HASTY_MS);
}

/* Enough for Docker to make an exec, on a busy machine. */
#define EXEC_TIMEOUT_US (1 * US_PER_SEC)

static atomic_bool deny_threads, deny_watches;

static int teardown(void **state) {
    struct fixture *x = *state;
    atomic_store(&deny_watches, false);
    if (x->exec)
        task_exec_stream_close(x->exec);
    for (int i = 0; i < 2; i++)
        fan_unsubscribe(x->sub[i]);
    world_done(&x->w);
    task_config_done(&x->task);
    pthread_mutex_destroy(&x->lock);
    free(x);
    return 0;
}

/* ---- ExecTask ---- */

static int run(struct fixture *x, int64_t timeout_us, struct driver_exec_result *ret,
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
    struct fixture *x = *state;
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
    struct fixture *x = *state;
    struct driver_exec_result r = {0};
    struct err err;
    fake_rules(&x->w.fake, "GET /exec/*/json hang\n");
    uint64_t before = clock_now_us();
    assert_int_equal(run(x, EXEC_TIMEOUT_US, &r, &err, "sleep", NULL), -ETIMEDOUT);
    assert_true(clock_now_us() - before < 10 * US_PER_SEC);
}

#define EXEC_PATH "/exec/e0ec00000002000000000000000000000000000000000000000000000000feed"
#define EXEC_JSON "GET " EXEC_PATH "/json"
#define EXEC_RESIZE "POST " EXEC_PATH "/resize"
#define STARTING "{\"Running\":true,\"ExitCode\":null,\"Pid\":0}"
#define NOT_STARTED "{\"Running\":false,\"ExitCode\":null,\"Pid\":0}"

/* Docker has not finished the start. The command is ended when it has a process. */
static void test_exec__timeout_while_it_starts__asked_until_it_has_a_pid(void **state) {
    struct fixture *x = *state;
    struct driver_exec_result r = {0};
    struct err err;
    fake_rules(&x->w.fake, "GET /exec/*/json times=2 status=200 body=" NOT_STARTED "\n"
                           "GET /exec/*/json times=3 status=200 body=" STARTING "\n");
    assert_int_equal(run(x, EXEC_TIMEOUT_US, &r, &err, "sleep", NULL), -ETIMEDOUT);
    world_until_count(&x->w, EXEC_JSON, 6);
}

/* The answer to the start is lost, but the command starts. */
static void test_exec__start_not_answered__command_ended(void **state) {
    struct fixture *x = *state;
    struct driver_exec_result r = {0};
    struct err err;
    fake_rules(&x->w.fake, "POST /exec/*/start hang\n");
    assert_int_equal(run(x, EXEC_TIMEOUT_US, &r, &err, "sleep", NULL), -ETIMEDOUT);
    world_until_count(&x->w, EXEC_JSON, 1);
}

/* The container was paused between the two calls. That is not success. */
static void test_exec__docker_did_not_start_it__126(void **state) {
    struct fixture *x = *state;
    struct driver_exec_result r = {0};
    struct err err;
    fake_rules(&x->w.fake, "GET /exec/*/json status=200 body=" NOT_STARTED "\n");
    assert_int_equal(run(x, 0, &r, &err, "echo", "Container is paused"), 0);
    assert_int_equal(r.exit.code, 126);
    task_exec_result_done(&r);
}

static void test_exec__refusals(void **state) {
    struct fixture *x = *state;
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

/* ---- ExecTaskStreaming ---- */

static int on_output(void *ctx, int channel, const char *data, size_t len) {
    struct fixture *x = ctx;
    pthread_mutex_lock(&x->lock);
    if (x->len[channel] + len < sizeof(x->text[0]) && len)
        memcpy(x->text[channel] + x->len[channel], data, len);
    x->len[channel] += len;
    x->closed[channel] = x->closed[channel] || len == 0;
    x->calls++;
    int r = x->refuse_with;
    if (x->pause_once) {
        x->pause_once = false;
        r = -EAGAIN;
    }
    pthread_mutex_unlock(&x->lock);
    return r;
}

static void on_exited(void *ctx, const struct task_exit *exit, const struct err *err) {
    struct fixture *x = ctx;
    pthread_mutex_lock(&x->lock);
    assert_false(x->exited);
    x->exited = true;
    x->failed = err != NULL;
    x->code = exit->code;
    pthread_mutex_unlock(&x->lock);
}

static void on_room(void *ctx) {
    struct fixture *x = ctx;
    pthread_mutex_lock(&x->lock);
    x->room = true;
    pthread_mutex_unlock(&x->lock);
}

static const struct driver_exec_ops ops = {
    .output = on_output, .exited = on_exited, .room = on_room};

static void open_exec(struct fixture *x, bool tty, const char *a, const char *b) {
    const char *argv[] = {a, b, NULL};
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct err err = {0};
    if (task_exec_stream_open(x->w.d, &call, x->task.id, argv, tty, &ops, x, &x->exec, &err) < 0)
        fail_msg("open: %s", err.text);
}

static bool flag(struct fixture *x, const bool *at) {
    pthread_mutex_lock(&x->lock);
    bool yes = *at;
    pthread_mutex_unlock(&x->lock);
    return yes;
}

static bool has_exited(void *ctx) {
    struct fixture *x = ctx;
    return flag(x, &x->exited);
}

static bool has_room(void *ctx) {
    struct fixture *x = ctx;
    return flag(x, &x->room);
}

static bool has_output(void *ctx) {
    struct fixture *x = ctx;
    pthread_mutex_lock(&x->lock);
    bool yes = x->calls > 0;
    pthread_mutex_unlock(&x->lock);
    return yes;
}

static void test_stream__output__complete_before_exit(void **state) {
    struct fixture *x = *state;
    open_exec(x, false, "big", "5000000");
    world_until(has_exited, x, "the exec's end");
    assert_int_equal(x->len[1], 5000000);
    assert_true(x->closed[1] && x->closed[2]);
    assert_int_equal(x->code, 0);
    assert_false(x->failed);
}

static void test_stream__exit_code__reported(void **state) {
    struct fixture *x = *state;
    open_exec(x, false, "exit", "42");
    world_until(has_exited, x, "the exec's end");
    assert_int_equal(x->code, 42);
}

/* Ends the event stream, and waits until the driver asks for it again. By then it knows the API's
 * version again. */
static void deafen(struct fixture *x) {
    int before = fake_count(&x->w.fake, "GET /events");
    fake_rules(&x->w.fake, "GET /events hang\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_until_count(&x->w, "GET /events", before + 1);
}

/* Without the event stream, Docker is asked. */
static void test_stream__no_events__code_reported(void **state) {
    struct fixture *x = *state;
    deafen(x);
    open_exec(x, false, "exit", "43");
    world_until(has_exited, x, "the exec's end");
    assert_int_equal(x->code, 43);
}

/* The command has closed its output and keeps running, for longer than one answer of Docker may
 * take. */
static void test_stream__runs_on_without_output__real_code_reported(void **state) {
    struct fixture *x = *state;
    deafen(x);
    fake_rules(&x->w.fake, "GET /exec/*/json times=2 status=500 body={\"message\":\"busy\"}\n"
                           "GET /exec/*/json times=8 status=200 type=application/json "
                           "body={\"Running\":true,\"ExitCode\":0}\n");
    open_exec(x, false, "exit", "44");
    world_until(has_exited, x, "the exec's end");
    assert_int_equal(x->code, 44);
    assert_false(x->failed);
}

/* Docker no longer knows the exec. The end is reported with an unknown exit code. */
static void test_stream__exec_forgotten__ends(void **state) {
    struct fixture *x = *state;
    deafen(x);
    fake_rules(&x->w.fake, "GET /exec/*/json status=404 body={\"message\":\"No such exec\"}\n");
    open_exec(x, false, "exit", "45");
    world_until(has_exited, x, "the exec's end");
    assert_int_equal(x->code, 255);
}

static void test_stream__docker_did_not_start_it__126(void **state) {
    struct fixture *x = *state;
    deafen(x);
    fake_rules(&x->w.fake, "GET /exec/*/json status=200 body=" NOT_STARTED "\n");
    open_exec(x, false, "echo", "Container is paused");
    world_until(has_exited, x, "the exec's end");
    assert_int_equal(x->code, 126);
}

static void test_stream__start_not_answered__ended(void **state) {
    struct fixture *x = *state;
    const char *argv[] = {"sleep", NULL};
    struct call call = call_within(NULL, EXEC_TIMEOUT_US);
    struct err err = {0};
    fake_rules(&x->w.fake, "POST /exec/*/start hang\n");
    assert_int_equal(
        task_exec_stream_open(x->w.d, &call, x->task.id, argv, false, &ops, x, &x->exec, &err),
        -ETIMEDOUT);
    assert_null(x->exec);
    world_until_count(&x->w, EXEC_JSON, 1);
}

static void test_stream__paused_reader__continues_after_resume(void **state) {
    struct fixture *x = *state;
    x->pause_once = true;
    open_exec(x, false, "big", "1000000");
    world_until(has_output, x, "output");
    pthread_mutex_lock(&x->lock);
    bool exited = x->exited;
    size_t len = x->len[1];
    pthread_mutex_unlock(&x->lock);
    assert_false(exited);
    assert_true(len < 1000000);
    task_exec_stream_resume(x->exec);
    world_until(has_exited, x, "the exec's end");
    assert_int_equal(x->len[1], 1000000);
}

/* The command of a terminal ended long ago when its slow reader reads again. The reader gets
 * all. */
static void test_stream__tty_reader_paused_at_the_end__output_complete(void **state) {
    struct fixture *x = *state, other = {.w = x->w, .task = x->task};
    pthread_mutex_init(&other.lock, NULL);
    x->pause_once = true;
    open_exec(x, true, "big", "1000000");
    world_until(has_output, x, "output");
    /* this one ends later, and its end is reported */
    open_exec(&other, true, "background", "prompt");
    world_until(has_exited, &other, "the other exec's end");
    task_exec_stream_close(other.exec);
    assert_false(flag(x, &x->exited));
    task_exec_stream_resume(x->exec);
    world_until(has_exited, x, "the exec's end");
    assert_int_equal(x->len[1], 1000000);
}

static void test_stream__tty_background_child_and_pause__does_not_hold_it(void **state) {
    struct fixture *x = *state;
    x->pause_once = true;
    open_exec(x, true, "background", "prompt");
    world_until(has_output, x, "output");
    task_exec_stream_resume(x->exec);
    world_until(has_exited, x, "the exec's end");
    assert_int_equal(x->code, 5);
}

static void test_stream__input__echoed_until_its_end(void **state) {
    struct fixture *x = *state;
    open_exec(x, false, "cat", NULL);
    assert_int_equal(task_exec_stream_stdin(x->exec, "ping", 4), 0);
    world_until(has_output, x, "echo");
    task_exec_stream_stdin_close(x->exec);
    world_until(has_exited, x, "the exec's end");
    assert_string_equal(x->text[1], "ping");
}

/* The process does not read. A little more than 1 MiB is accepted, and no more until there is
 * space. */
static void test_stream__input_not_read__bounded_then_all_arrives(void **state) {
    struct fixture *x = *state;
    AUTO_FREE char *piece = calloc(1, 65536);
    size_t sent = 0;
    int r = 0;
    open_exec(x, false, "count", "deaf");
    while (sent < (8u << 20) && (r = task_exec_stream_stdin(x->exec, piece, 65536)) == 0)
        sent += 65536;
    assert_int_equal(r, -ENOBUFS);
    assert_true(sent >= 1 << 20 && sent <= 3 << 20);
    fake_control(&x->w.fake, "POST", "hear", "", NULL, 0);
    world_until(has_room, x, "room");
    while (sent < (8u << 20)) {
        x->room = false;
        r = task_exec_stream_stdin(x->exec, piece, 65536);
        if (r == 0)
            sent += 65536;
        else
            world_until(has_room, x, "room");
    }
    task_exec_stream_stdin_close(x->exec);
    world_until(has_exited, x, "the exec's end");
    assert_string_equal(x->text[1], "8388608\n");
}

/* The end of the input comes while the reader is paused. */
static void test_stream__input_ends_while_reader_is_paused__output_complete(void **state) {
    struct fixture *x = *state;
    x->pause_once = true;
    open_exec(x, false, "big", "20000000");
    world_until(has_output, x, "output");
    task_exec_stream_stdin_close(x->exec);
    task_exec_stream_resume(x->exec);
    world_until(has_exited, x, "the exec's end");
    assert_int_equal(x->len[1], 20000000);
}

static void test_stream__tty_background_child__does_not_hold_it(void **state) {
    struct fixture *x = *state;
    open_exec(x, true, "background", "prompt");
    world_until(has_exited, x, "the exec's end");
    assert_int_equal(x->code, 5);
    assert_string_equal(x->text[1], "prompt");
}

static void test_stream__tty_background_child_silent__does_not_hold_it(void **state) {
    struct fixture *x = *state;
    open_exec(x, true, "background", "");
    world_until(has_exited, x, "the exec's end");
    assert_int_equal(x->code, 5);
}

/* Nothing is printed after its end. Only the event reports it. */
static void test_stream__tty_ends_later_silently__event_is_enough(void **state) {
    struct fixture *x = *state;
    open_exec(x, true, "leave", NULL);
    assert_int_equal(task_exec_stream_stdin(x->exec, "exit\n", 5), 0);
    world_until(has_exited, x, "the exec's end");
    assert_int_equal(x->code, 5);
}

/* The plugin's end does not wait for Docker's answer. */
static void ends_soon(struct fixture *x) {
    uint64_t before = clock_now_us();
    world_driver_free(&x->w);
    assert_true(clock_now_us() - before < 10 * US_PER_SEC);
}

static void test_stream__resize_hangs_and_plugin_ends__no_wait(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->w.fake, "POST /exec/*/resize hang\n");
    open_exec(x, true, "cat", NULL);
    task_exec_stream_resize(x->exec, 2, 4);
    world_until_count(&x->w, EXEC_RESIZE, 1);
    task_exec_stream_close(TAKE_PTR(x->exec));
    ends_soon(x);
}

static void test_stream__code_asked_and_plugin_ends__no_wait(void **state) {
    struct fixture *x = *state;
    deafen(x);
    fake_rules(&x->w.fake, "GET /exec/*/json hang\n");
    open_exec(x, false, "exit", "46");
    world_until_count(&x->w, EXEC_JSON, 1);
    task_exec_stream_close(TAKE_PTR(x->exec));
    ends_soon(x);
}

static void test_stream__resizes__newest_last(void **state) {
    struct fixture *x = *state;
    open_exec(x, true, "cat", NULL);
    for (unsigned i = 1; i <= 20; i++)
        task_exec_stream_resize(x->exec, i, 2 * i);
    char log[60000], last[64] = "";
    for (uint64_t deadline = clock_now_us() + WORLD_WAIT_US; !strstr(last, "h=20&w=40");) {
        assert_true(clock_now_us() < deadline);
        fake_control(&x->w.fake, "GET", "log", "", log, sizeof(log));
        AUTO_JSON json_t *j = json_loads(log, 0, NULL);
        size_t i;
        json_t *v;
        json_array_foreach(j, i, v) {
            if (strstr(json_string_value(json_object_get(v, "request")), "/resize"))
                snprintf(last, sizeof(last), "%s", json_string_value(json_object_get(v, "query")));
        }
    }
}

static void test_stream__client_disconnects__silent_and_ended(void **state) {
    struct fixture *x = *state;
    open_exec(x, false, "sleep", NULL);
    task_exec_stream_close(TAKE_PTR(x->exec));
    assert_false(x->exited);
    /* Docker is asked for the process, to end it */
    world_until_count(&x->w, EXEC_JSON, 1);
    assert_false(x->exited);
}

/* The plugin ends immediately after one last attempt. */
static void test_stream__client_disconnects_and_plugin_ends__last_attempt(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->w.fake, "GET /exec/*/json times=1 hang\n");
    open_exec(x, false, "sleep", NULL);
    task_exec_stream_close(TAKE_PTR(x->exec));
    world_until_count(&x->w, EXEC_JSON, 1);
    world_driver_free(&x->w);
    world_until_count(&x->w, EXEC_JSON, 2);
}

static void test_stream__client_disconnects_plugin_ends_and_docker_hangs__no_wait(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->w.fake, "GET /exec/*/json hang\n");
    open_exec(x, false, "sleep", NULL);
    task_exec_stream_close(TAKE_PTR(x->exec));
    world_until_count(&x->w, EXEC_JSON, 1);
    uint64_t before = clock_now_us();
    world_driver_free(&x->w);
    assert_true(clock_now_us() - before < 5 * US_PER_SEC);
}

/* ---- A host without threads or descriptors ---- */

int __real_pool_run(struct pool *p, void (*work)(void *ctx), void *ctx);
int __wrap_pool_run(struct pool *p, void (*work)(void *ctx), void *ctx);
int __wrap_pool_run(struct pool *p, void (*work)(void *ctx), void *ctx) {
    return atomic_load(&deny_threads) ? -EAGAIN : __real_pool_run(p, work, ctx);
}

int __real_loop_watch_add(struct loop *l, int fd, uint32_t events, loop_fd_cb cb, void *ctx,
                          struct loop_watch **ret);
int __wrap_loop_watch_add(struct loop *l, int fd, uint32_t events, loop_fd_cb cb, void *ctx,
                          struct loop_watch **ret);
int __wrap_loop_watch_add(struct loop *l, int fd, uint32_t events, loop_fd_cb cb, void *ctx,
                          struct loop_watch **ret) {
    return atomic_load(&deny_watches) ? -ENOSPC
                                      : __real_loop_watch_add(l, fd, events, cb, ctx, ret);
}

static void test_stream__no_watch__ends_with_error(void **state) {
    struct fixture *x = *state;
    atomic_store(&deny_watches, true);
    open_exec(x, false, "cat", NULL);
    world_until(has_exited, x, "the exec's end");
    assert_true(x->failed);
}

static void test_stream__client_disconnects_and_no_thread__reported(void **state) {
    struct fixture *x = *state;
    char path[128], text[8192];
    open_exec(x, false, "sleep", NULL);
    snprintf(path, sizeof(path), "%s/log", x->w.dir);
    int console = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    int log = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    dup2(log, STDERR_FILENO);
    atomic_store(&deny_threads, true);
    task_exec_stream_close(TAKE_PTR(x->exec));
    world_driver_free(&x->w); /* all that was posted has run */
    atomic_store(&deny_threads, false);
    dup2(console, STDERR_FILENO);
    ssize_t n = pread(log, text, sizeof(text) - 1, 0);
    close(console);
    close(log);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(strstr(text, "a command that nobody waits for"));
}

static void test_stream__output_not_accepted__ends_with_error(void **state) {
    struct fixture *x = *state;
    x->refuse_with = -EPIPE;
    open_exec(x, false, "big", "1000000");
    world_until(has_exited, x, "the exec's end");
    assert_true(x->failed);
}

static void test_stream__container_dies__ends(void **state) {
    struct fixture *x = *state;
    open_exec(x, false, "cat", NULL);
    assert_int_equal(task_exec_stream_stdin(x->exec, "ping", 4), 0);
    world_until(has_output, x, "echo");
    world_exit(&x->w, &x->task, 0);
    world_until(has_exited, x, "the exec's end");
}

/* ---- Stats ---- */

static void take(struct fixture *x, int i, const struct driver_stats *s) {
    pthread_mutex_lock(&x->lock);
    if (s) {
        assert_int_equal(x->ends[i], 0); /* nothing after the end */
        x->samples[i]++;
        x->last = *s;
    } else {
        x->ends[i]++;
    }
    pthread_mutex_unlock(&x->lock);
}

static void on_stats0(void *ctx, const struct driver_stats *s) {
    take(ctx, 0, s);
}

static void on_stats1(void *ctx, const struct driver_stats *s) {
    take(ctx, 1, s);
}

static bool both_sampled(void *ctx) {
    struct fixture *x = ctx;
    pthread_mutex_lock(&x->lock);
    bool yes = x->samples[0] >= 10 && x->samples[1] >= 1;
    pthread_mutex_unlock(&x->lock);
    return yes;
}

static bool both_ended(void *ctx) {
    struct fixture *x = ctx;
    pthread_mutex_lock(&x->lock);
    bool yes = x->ends[0] == 1 && x->ends[1] == 1;
    pthread_mutex_unlock(&x->lock);
    return yes;
}

/* The fake's pid belongs to no process, so that no cgroup file can be read. Docker's one-shot
 * call is used. */
static void test_stats__two_intervals__each_its_own_end_with_the_task(void **state) {
    struct fixture *x = *state;
    struct err err = {0};
    assert_int_equal(
        task_stats(x->w.d, x->task.id, 100 * US_PER_MS, on_stats0, x, &x->sub[0], &err), 0);
    assert_int_equal(task_stats(x->w.d, x->task.id, 2 * US_PER_SEC, on_stats1, x, &x->sub[1], &err),
                     0);
    world_until(both_sampled, x, "samples");
    pthread_mutex_lock(&x->lock);
    unsigned fast = x->samples[0], slow = x->samples[1];
    pthread_mutex_unlock(&x->lock);
    assert_true(fast >= 2 * slow);
    assert_int_equal(x->last.usage, 4096);
    assert_true(x->last.time_ns > 0);
    world_exit(&x->w, &x->task, 0);
    world_until(both_ended, x, "the streams' ends");
    /* a subscription that comes late ends, too */
    fan_unsubscribe(TAKE_PTR(x->sub[0]));
    x->ends[0] = 0;
    x->samples[0] = 0;
    assert_int_equal(
        task_stats(x->w.d, x->task.id, 100 * US_PER_MS, on_stats0, x, &x->sub[0], &err), 0);
    world_until(both_ended, x, "the late stream's end");
    assert_int_equal(x->samples[0], 0);
}

static void test_stats__unsubscribed__silent(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->w.fake, "GET /containers/*/stats delay=150\n");
    assert_int_equal(
        task_stats(x->w.d, x->task.id, 100 * US_PER_MS, on_stats0, x, &x->sub[0], NULL), 0);
    char request[128];
    snprintf(request, sizeof(request), "GET /containers/%s/stats",
             world_look(&x->w, x->task.id).container_id);
    world_until_count(&x->w, request, 1);
    fan_unsubscribe(TAKE_PTR(x->sub[0]));
    unsigned samples = x->samples[0];
    world_until_count(&x->w, request, 1);
    world_driver_free(&x->w); /* waits for the call in flight */
    assert_int_equal(x->samples[0], samples);
    world_driver_new(&x->w, "{}");
}

static int stats_asked(struct fixture *x, const struct task_config *tasks, size_t n) {
    char request[128];
    int sum = 0;
    for (size_t i = 0; i < n; i++) {
        snprintf(request, sizeof(request), "GET /containers/%s/stats",
                 world_look(&x->w, tasks[i].id).container_id);
        sum += fake_count(&x->w.fake, request);
    }
    return sum;
}

/* A dockerd that does not answer stats uses one thread, not all those that inspect containers.
 * After SIGKILL, an end is reported only after an inspect. The streams are opened when all tasks
 * run, because they ask from then on. */
static void test_stats__docker_hangs__ends_are_reported(void **state) {
    struct fixture *x = *state;
    struct task_config tasks[20];
    struct driver_sub *subs[ARRAY_LEN(tasks)];
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++) {
        char name[16];
        snprintf(name, sizeof(name), "s%zu", i);
        world_task(&x->w, &tasks[i], name, RUNS);
        world_run(&x->w, &tasks[i], NULL);
    }
    fake_rules(&x->w.fake, "GET /containers/*/stats hang\n");
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++)
        assert_int_equal(
            task_stats(x->w.d, tasks[i].id, 100 * US_PER_MS, on_stats0, x, &subs[i], NULL), 0);
    uint64_t deadline = clock_now_us() + WORLD_WAIT_US;
    while (stats_asked(x, tasks, ARRAY_LEN(tasks)) == 0)
        assert_true(clock_now_us() < deadline);
    world_exit(&x->w, &tasks[0], 137);
    assert_int_equal(world_wait(&x->w, tasks[0].id).code, 137);
    /* the next one is asked when Docker's time for the first answer is over */
    assert_in_range(stats_asked(x, tasks, ARRAY_LEN(tasks)), 1, 2);
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++) {
        fan_unsubscribe(subs[i]);
        task_config_done(&tasks[i]);
    }
    ends_soon(x); /* the request that hangs is cancelled */
}

static void test_stats__unknown_task__not_found(void **state) {
    struct fixture *x = *state;
    struct driver_sub *sub = NULL;
    assert_int_equal(task_stats(x->w.d, "unknown", US_PER_SEC, on_stats0, x, &sub, NULL), -ENOENT);
    assert_null(sub);
}

static bool has_new_pid(void *ctx) {
    struct fixture *x = ctx;
    return world_look(&x->w, x->task.id).pid == 1000000000;
}

/* A restart by Docker is not an end. The pid changes. */
static void test_restart_by_docker__new_pid_still_running(void **state) {
    struct fixture *x = *state;
    fake_control(&x->w.fake, "POST", "restart/web-a1?lost=1", "", NULL, 0);
    world_until(has_new_pid, x, "the new pid");
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define HASTY(f) cmocka_unit_test_setup_teardown(f, setup_hasty, teardown)
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
    T(test_stream__output__complete_before_exit),
    T(test_stream__exit_code__reported),
    T(test_stream__no_events__code_reported),
    HASTY(test_stream__runs_on_without_output__real_code_reported),
    T(test_stream__exec_forgotten__ends),
    T(test_stream__docker_did_not_start_it__126),
    T(test_stream__start_not_answered__ended),
    T(test_stream__paused_reader__continues_after_resume),
    T(test_stream__tty_reader_paused_at_the_end__output_complete),
    T(test_stream__tty_background_child_and_pause__does_not_hold_it),
    T(test_stream__input__echoed_until_its_end),
    T(test_stream__input_not_read__bounded_then_all_arrives),
    T(test_stream__input_ends_while_reader_is_paused__output_complete),
    T(test_stream__tty_background_child__does_not_hold_it),
    T(test_stream__tty_background_child_silent__does_not_hold_it),
    T(test_stream__tty_ends_later_silently__event_is_enough),
    T(test_stream__resizes__newest_last),
    T(test_stream__resize_hangs_and_plugin_ends__no_wait),
    T(test_stream__code_asked_and_plugin_ends__no_wait),
    T(test_stream__client_disconnects__silent_and_ended),
    T(test_stream__client_disconnects_and_plugin_ends__last_attempt),
    T(test_stream__client_disconnects_plugin_ends_and_docker_hangs__no_wait),
    T(test_stream__no_watch__ends_with_error),
    T(test_stream__client_disconnects_and_no_thread__reported),
    T(test_stream__output_not_accepted__ends_with_error),
    T(test_stream__container_dies__ends),
    T(test_stats__two_intervals__each_its_own_end_with_the_task),
    T(test_stats__unsubscribed__silent),
    T(test_stats__docker_hangs__ends_are_reported),
    T(test_stats__unknown_task__not_found),
    T(test_restart_by_docker__new_pid_still_running),
};
WORLD_MAIN(tests)
