/* SPDX-License-Identifier: MPL-2.0 */
/* The end of a streaming exec carries the exit result or an error. The RPC layer and the driver are
 * fakes, so that the test decides when the queue is full and when memory runs out. */
#include "paddock/driver.h"
#include "plugin/svc.h"
#include "unit/cm.h"

#include "driver.pb-c.h"

#include <string.h>

/* ---- Fakes ---- */

static bool no_memory; /* malloc() fails */

void *__wrap_malloc(size_t size);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size) {
    return no_memory ? NULL : __real_malloc(size);
}

static struct {
    int send_r; /* what rpc_stream_send() returns */
    char sent[16];
    int exit_code;
    unsigned finished;
    struct err end;
    struct rpc_stream_ops stream;
    void *stream_ctx;
    struct driver_exec_ops exec;
    void *exec_ctx;
} seen;

int rpc_stream_send(struct rpc_stream *s, const ProtobufCMessage *msg) {
    const Driver__ExecTaskStreamingResponse *out = (const Driver__ExecTaskStreamingResponse *)msg;
    (void)s;
    if (seen.send_r < 0)
        return seen.send_r;
    strncat(seen.sent,
            out->exited      ? "E"
            : out->stderr_op ? "2"
                             : "1",
            sizeof(seen.sent) - strlen(seen.sent) - 1);
    if (out->exited)
        seen.exit_code = out->result->exit_code;
    return 0;
}

void rpc_stream_finish(struct rpc_stream *s, const struct err *err) {
    (void)s;
    seen.finished++;
    seen.end = err ? *err : (struct err){0};
}

void rpc_stream_set(struct rpc_stream *s, const struct rpc_stream_ops *ops, void *ctx) {
    (void)s;
    seen.stream = *ops;
    seen.stream_ctx = ctx;
}

struct rpc_stream *rpc_stream_ref(struct rpc_stream *s) {
    return s;
}

struct rpc_stream *rpc_stream_unref(struct rpc_stream *s) {
    (void)s;
    return NULL;
}

void rpc_stream_resume(struct rpc_stream *s) {
    (void)s;
}

void *rpc_stream_app(const struct rpc_stream *s) {
    (void)s;
    return NULL;
}

const struct call *rpc_stream_context(struct rpc_stream *s) {
    (void)s;
    return NULL;
}

int task_exec_stream_open(struct driver *d, const struct call *call, const char *task_id,
                          const char *const *argv, bool tty, const struct driver_exec_ops *ops,
                          void *ctx, struct driver_exec **ret, struct err *err) {
    (void)d, (void)call, (void)task_id, (void)argv, (void)tty, (void)err;
    seen.exec = *ops;
    seen.exec_ctx = ctx;
    *ret = (struct driver_exec *)(void *)&seen;
    return 0;
}

int task_exec_stream_stdin(struct driver_exec *x, const char *data, size_t len) {
    (void)x, (void)data, (void)len;
    return 0;
}

void task_exec_stream_stdin_close(struct driver_exec *x) {
    (void)x;
}

void task_exec_stream_resize(struct driver_exec *x, unsigned height, unsigned width) {
    (void)x, (void)height, (void)width;
}

void task_exec_stream_resume(struct driver_exec *x) {
    (void)x;
}

void task_exec_stream_close(struct driver_exec *x) {
    (void)x;
}

/* The linker needs it; ExecTask is not tested here. */
int task_exec(struct driver *d, const struct call *call, const char *task_id,
              const char *const *argv, int64_t timeout_us, struct driver_exec_result *ret,
              struct err *err) {
    (void)d, (void)call, (void)task_id, (void)argv, (void)timeout_us, (void)ret, (void)err;
    return -ENOSYS;
}

void task_exec_result_done(struct driver_exec_result *r) {
    (void)r;
}

void *rpc_call_app(const struct rpc_call *c) {
    (void)c;
    return NULL;
}

const struct call *rpc_call_context(struct rpc_call *c) {
    (void)c;
    return NULL;
}

void rpc_call_reply(struct rpc_call *c, const ProtobufCMessage *msg) {
    (void)c, (void)msg;
}

void rpc_call_fail(struct rpc_call *c, const struct err *err) {
    (void)c, (void)err;
}

/* ---- Tests ---- */

static const struct task_exit exited_7 = {.code = 7};

static int setup(void **state) {
    Driver__ExecTaskStreamingRequest__Setup with = DRIVER__EXEC_TASK_STREAMING_REQUEST__SETUP__INIT;
    Driver__ExecTaskStreamingRequest rq = DRIVER__EXEC_TASK_STREAMING_REQUEST__INIT;
    static char command[] = "true", *argv[] = {command};
    (void)state;
    memset(&seen, 0, sizeof(seen));
    with.n_command = 1;
    with.command = argv;
    rq.setup = &with;
    svc_exec_task_streaming(NULL, &rq.base);
    return seen.exec_ctx ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    seen.stream.on_close(NULL, seen.stream_ctx);
    return 0;
}

static void test_on_exited__room_in_the_queue__result_then_end(void **state) {
    (void)state;
    assert_int_equal(seen.exec.output(seen.exec_ctx, 1, "x", 1), 0);
    seen.exec.exited(seen.exec_ctx, &exited_7, NULL);
    assert_string_equal(seen.sent, "1E");
    assert_int_equal(seen.exit_code, 7);
    assert_int_equal(seen.finished, 1);
    assert_false(seen.end.set);
}

static void test_on_exited__full_queue__result_after_the_output_once(void **state) {
    (void)state;
    seen.send_r = -EAGAIN;
    assert_int_equal(seen.exec.output(seen.exec_ctx, 2, "x", 1), -EAGAIN);
    seen.exec.exited(seen.exec_ctx, &exited_7, NULL);
    assert_int_equal(seen.finished, 0);
    seen.send_r = 0;
    seen.stream.on_room(NULL, seen.stream_ctx);
    seen.stream.on_room(NULL, seen.stream_ctx);
    assert_string_equal(seen.sent, "2E");
    assert_int_equal(seen.finished, 1);
    assert_false(seen.end.set);
}

static void test_on_exited__full_queue_and_out_of_memory__result_is_sent(void **state) {
    (void)state;
    seen.send_r = -EAGAIN;
    no_memory = true;
    seen.exec.exited(seen.exec_ctx, &exited_7, NULL);
    no_memory = false;
    assert_int_equal(seen.finished, 0);
    seen.send_r = 0;
    seen.stream.on_room(NULL, seen.stream_ctx);
    assert_string_equal(seen.sent, "E");
    assert_int_equal(seen.exit_code, 7);
    assert_false(seen.end.set);
}

static void test_on_exited__out_of_memory_for_the_message__error(void **state) {
    (void)state;
    seen.send_r = -ENOMEM;
    seen.exec.exited(seen.exec_ctx, &exited_7, NULL);
    assert_int_equal(seen.finished, 1);
    assert_true(seen.end.set);
    assert_int_equal(seen.end.code, ENOMEM);
}

static void test_on_exited__out_of_memory_for_waiting_output__error(void **state) {
    (void)state;
    seen.send_r = -EAGAIN;
    assert_int_equal(seen.exec.output(seen.exec_ctx, 1, "x", 1), -EAGAIN);
    seen.send_r = -ENOMEM;
    seen.exec.exited(seen.exec_ctx, &exited_7, NULL);
    assert_int_equal(seen.finished, 1);
    assert_int_equal(seen.end.code, ENOMEM);
}

static void test_on_exited__error__sent_as_the_status(void **state) {
    struct err err = {0};
    (void)state;
    err_set(&err, ERR_PLAIN, EIO, "lost");
    seen.exec.exited(seen.exec_ctx, &exited_7, &err);
    assert_string_equal(seen.sent, "");
    assert_int_equal(seen.finished, 1);
    assert_string_equal(seen.end.text, "lost");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        TEST(test_on_exited__room_in_the_queue__result_then_end),
        TEST(test_on_exited__full_queue__result_after_the_output_once),
        TEST(test_on_exited__full_queue_and_out_of_memory__result_is_sent),
        TEST(test_on_exited__out_of_memory_for_the_message__error),
        TEST(test_on_exited__out_of_memory_for_waiting_output__error),
        TEST(test_on_exited__error__sent_as_the_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
