/* SPDX-License-Identifier: MPL-2.0 */
/* ExecTask: runs one command in the container and returns its output as a whole. It is sequential
 * code on the caller's thread. Nomad uses it for script checks. Unlike the built-in driver it obeys
 * the timeout, and waits until the exec has really ended. */
#include "src/task/driver_priv.h"

#include "src/task/exec.h"
#include "paddock/buf.h"
#include "paddock/clock.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

/* How much is kept of each stream: the last bytes, as in the built-in driver. Nomad's script checks
 * send them to Consul as the check's output. */
#define EXEC_OUTPUT_MAX 4096

static int tail_add(struct buf *tail, const char *data, size_t len) {
    if (len > EXEC_OUTPUT_MAX) {
        data += len - EXEC_OUTPUT_MAX;
        len = EXEC_OUTPUT_MAX;
    }
    size_t all = tail->len + len;
    if (all > EXEC_OUTPUT_MAX)
        buf_consume(tail, all - EXEC_OUTPUT_MAX);
    return buf_append(tail, data, len);
}

struct exec_run {
    struct buf out, err;
};

static int on_output(void *ctx, int channel, const char *data, size_t len) {
    struct exec_run *x = ctx;
    return tail_add(channel == 2 ? &x->err : &x->out, data, len);
}

/* Reads to the end of the stream. The deadline and the cancel also hold for a command that prints
 * without a pause. */
static int read_all(struct docker_stream *s, const struct call *call, struct exec_run *x) {
    struct docker_demux demux = {0};
    char data[32768];
    for (;;) {
        if (cancel_fired(call->cancel))
            return -ECANCELED;
        if (call_remaining_ms(call) == 0)
            return -ETIMEDOUT;
        ssize_t n = docker_stream_read(s, data, sizeof(data));
        if (n == 0 || n == -ECONNRESET) /* the end of a TLS connection */
            return 0;
        if (n > 0) {
            int r = docker_demux_feed(&demux, data, (size_t)n, on_output, x);
            if (r < 0)
                return r;
            continue;
        }
        if (n != -EAGAIN)
            return (int)n;
        int r = call_wait_fd(call, docker_stream_fd(s), POLLIN);
        if (r < 0)
            return r;
    }
}

static int run_exec(struct driver *d, const struct call *call, const char *container_id,
                    const char *exec_id, struct exec_run *x, int *ret_code, struct err *err) {
    struct docker_stream *stream = NULL;
    int r = docker_exec_start(d->docker, call, exec_id, false, &stream, err);
    if (exec_may_start(r))
        exec_kill(d, container_id, exec_id);
    if (r < 0)
        return r;
    r = read_all(stream, call, x);
    docker_stream_free(stream);
    if (r == 0)
        r = exec_wait_code(d, call, exec_id, ret_code, err);
    if (r < 0)
        exec_kill(d, container_id, exec_id);
    if (r == -ETIMEDOUT)
        return err_set(err, ERR_DEADLINE, ETIMEDOUT, "the command did not end within its timeout");
    return r < 0 ? err_set(err, ERR_PLAIN, -r, "reading the command's output: %s", strerror(-r))
                 : 0;
}

int task_exec(struct driver *d, const struct call *call, const char *task_id,
              const char *const *argv, int64_t timeout_us, struct driver_exec_result *ret,
              struct err *err) {
    if (!argv[0])
        return err_set(err, ERR_INVALID, EINVAL, "cmd is required, but was empty");
    AUTO_TASK struct task *t = store_get(d->store, task_id);
    if (!t)
        return client_not_found(err);
    struct call within = timeout_us > 0 ? call_within(call, (uint64_t)timeout_us) : *call;
    struct docker_exec_options o = {.argv = argv};
    char exec_id[65];
    struct task_look now = store_look(t);
    int r = docker_exec_create(d->docker, &within, now.container_id, &o, exec_id, err);
    if (r < 0)
        return err_wrap(err, r, "exec in task %s", task_id);

    struct exec_run x;
    buf_init(&x.out, EXEC_OUTPUT_MAX);
    buf_init(&x.err, EXEC_OUTPUT_MAX);
    struct driver_exec_result result = {0};
    r = run_exec(d, &within, now.container_id, exec_id, &x, &result.exit.code, err);
    if (r == 0) {
        result.out_len = x.out.len;
        result.err_len = x.err.len;
        result.out = buf_take(&x.out);
        result.err = buf_take(&x.err);
        r = result.out && result.err ? 0 : err_oom(err);
    }
    if (r == 0)
        *ret = TAKE_STRUCT(result);
    task_exec_result_done(&result);
    buf_done(&x.out);
    buf_done(&x.err);
    return r;
}

void task_exec_result_done(struct driver_exec_result *r) {
    free(r->out);
    free(r->err);
    *r = (struct driver_exec_result){0};
}
