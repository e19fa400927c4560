/* SPDX-License-Identifier: MPL-2.0 */
/* ExecTaskStreaming: output, input and exit code of a command, a reader that pauses, a client that
 * disconnects, and the plugin's end while a command runs. */
#include "fake/exec_world.h"
#include "paddock/loop.h"
#include "paddock/pool.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

struct fixture {
    struct world w;
    struct task_config task;
    struct driver_exec *exec;
    pthread_mutex_t lock;
    /* what the stream has sent: */
    size_t len[3], calls;
    char text[3][256];
    bool closed[3], exited, failed, room, pause_once;
    int code, refuse_with;
};

static int setup_with(void **state, unsigned timeout_ms) {
    struct fixture *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    pthread_mutex_init(&x->lock, NULL);
    world_start(&x->w, "{}", timeout_ms);
    world_task(&x->w, &x->task, "web", WORLD_WEB_JOB);
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

static atomic_bool deny_threads, deny_watches;

static int teardown(void **state) {
    struct fixture *x = *state;
    atomic_store(&deny_watches, false);
    if (x->exec)
        task_exec_stream_close(x->exec);
    world_done(&x->w);
    task_config_done(&x->task);
    pthread_mutex_destroy(&x->lock);
    free(x);
    return 0;
}

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
    fake_rules(&x->w.fake, "GET /exec/*/json status=200 body=" EXEC_WORLD_NOT_STARTED "\n");
    open_exec(x, false, "echo", "Container is paused");
    world_until(has_exited, x, "the exec's end");
    assert_int_equal(x->code, 126);
}

static void test_stream__start_not_answered__ended(void **state) {
    struct fixture *x = *state;
    const char *argv[] = {"sleep", NULL};
    struct call call = call_within(NULL, EXEC_WORLD_TIMEOUT_US);
    struct err err = {0};
    fake_rules(&x->w.fake, "POST /exec/*/start hang\n");
    assert_int_equal(
        task_exec_stream_open(x->w.d, &call, x->task.id, argv, false, &ops, x, &x->exec, &err),
        -ETIMEDOUT);
    assert_null(x->exec);
    world_until_count(&x->w, EXEC_WORLD_JSON, 1);
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

static void test_stream__resize_hangs_and_plugin_ends__no_wait(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->w.fake, "POST /exec/*/resize hang\n");
    open_exec(x, true, "cat", NULL);
    task_exec_stream_resize(x->exec, 2, 4);
    world_until_count(&x->w, EXEC_WORLD_RESIZE, 1);
    task_exec_stream_close(TAKE_PTR(x->exec));
    world_driver_ends_soon(&x->w);
}

static void test_stream__code_asked_and_plugin_ends__no_wait(void **state) {
    struct fixture *x = *state;
    deafen(x);
    fake_rules(&x->w.fake, "GET /exec/*/json hang\n");
    open_exec(x, false, "exit", "46");
    world_until_count(&x->w, EXEC_WORLD_JSON, 1);
    task_exec_stream_close(TAKE_PTR(x->exec));
    world_driver_ends_soon(&x->w);
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
    world_until_count(&x->w, EXEC_WORLD_JSON, 1);
    assert_false(x->exited);
}

/* The plugin ends immediately after one last attempt. */
static void test_stream__client_disconnects_and_plugin_ends__last_attempt(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->w.fake, "GET /exec/*/json times=1 hang\n");
    open_exec(x, false, "sleep", NULL);
    task_exec_stream_close(TAKE_PTR(x->exec));
    world_until_count(&x->w, EXEC_WORLD_JSON, 1);
    world_driver_free(&x->w);
    world_until_count(&x->w, EXEC_WORLD_JSON, 2);
}

static void test_stream__client_disconnects_plugin_ends_and_docker_hangs__no_wait(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->w.fake, "GET /exec/*/json hang\n");
    open_exec(x, false, "sleep", NULL);
    task_exec_stream_close(TAKE_PTR(x->exec));
    world_until_count(&x->w, EXEC_WORLD_JSON, 1);
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
    assert_non_null(strstr(text, "a command that no call waits for"));
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

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define HASTY(f) cmocka_unit_test_setup_teardown(f, setup_hasty, teardown)
static const struct CMUnitTest tests[] = {
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
};
WORLD_MAIN(tests)
