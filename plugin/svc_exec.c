/* SPDX-License-Identifier: MPL-2.0 */
/* The handlers ExecTask and ExecTaskStreaming: run a command in a task's container.
 * driver_table.c lists them.
 *
 * ExecTask collects the output and answers once. ExecTaskStreaming moves bytes in both directions;
 * see the section "streaming" for its flow control. */
#include "plugin/svc.h"
#include "plugin/svc_common.h"

#include "paddock/driver.h"

#include "driver.pb-c.h"

#include <pthread.h>
#include <string.h>

/* Copies the list to an argv: borrowed strings, NULL at its end. Owner: caller, free(). */
static const char **argv_of(size_t n, char **v) {
    const char **argv = calloc(n + 1, sizeof(*argv));
    for (size_t i = 0; argv && i < n; i++)
        argv[i] = v[i];
    return argv;
}

void svc_exec_task(struct rpc_call *c, const ProtobufCMessage *req) {
    const Driver__ExecTaskRequest *in = (const Driver__ExecTaskRequest *)req;
    struct driver_exec_result result = {0};
    struct err err = {0};
    AUTO_FREE const char **argv = argv_of(in->n_command, in->command);
    int r = argv ? task_exec(rpc_call_app(c), rpc_call_context(c), in->task_id, argv,
                             svc_common_duration_us(in->timeout), &result, &err)
                 : err_oom(&err);
    if (r < 0) {
        rpc_call_fail(c, &err);
        return;
    }
    Driver__ExitResult exit;
    svc_common_fill_exit(&exit, &result.exit);
    Driver__ExecTaskResponse out = DRIVER__EXEC_TASK_RESPONSE__INIT;
    out.stdout_data.data = (uint8_t *)result.out;
    out.stdout_data.len = result.out_len;
    out.stderr_data.data = (uint8_t *)result.err;
    out.stderr_data.len = result.err_len;
    out.result = &exit;
    rpc_call_reply(c, &out.base);
    task_exec_result_done(&result);
}

/* ---- streaming ----
 *
 * Output that does not fit into the stream's queue waits here; it is at most what one read of the
 * driver returned. The driver is paused until the queue has room. `lock` keeps the order: the end
 * is sent after the output. The end needs no memory to wait, so it cannot be lost. */

struct waiting {
    struct waiting *next;
    int channel;
    size_t len;
    char data[];
};

struct exec {
    struct rpc_stream *stream;
    struct driver_exec *driver;
    pthread_mutex_t lock;
    struct waiting *first, **last;
    bool end_waits; /* the end is to be sent after the waiting output */
    struct task_exit exit;
    struct err err; /* sent at the end */
};

static void exec_free(struct exec *x) {
    for (struct waiting *w = x->first, *next; w; w = next) {
        next = w->next;
        free(w);
    }
    rpc_stream_unref(x->stream);
    pthread_mutex_destroy(&x->lock);
    free(x);
}

static int send_output(struct exec *x, int channel, const char *data, size_t len) {
    Driver__ExecTaskStreamingIOOperation op = DRIVER__EXEC_TASK_STREAMING_IOOPERATION__INIT;
    op.data.data = (uint8_t *)data;
    op.data.len = len;
    op.close = len == 0;
    Driver__ExecTaskStreamingResponse out = DRIVER__EXEC_TASK_STREAMING_RESPONSE__INIT;
    if (channel == 2)
        out.stderr_op = &op;
    else
        out.stdout_op = &op;
    return rpc_stream_send(x->stream, &out.base);
}

/* Sends the exit result, or the error, and ends the stream. Under the lock. Returns -EAGAIN when it
 * must be called again; 0. */
static int send_end(struct exec *x) {
    if (x->err.set) {
        rpc_stream_finish(x->stream, &x->err);
        return 0;
    }
    Driver__ExitResult result;
    svc_common_fill_exit(&result, &x->exit);
    Driver__ExecTaskStreamingResponse out = DRIVER__EXEC_TASK_STREAMING_RESPONSE__INIT;
    out.exited = true;
    out.result = &result;
    int r = rpc_stream_send(x->stream, &out.base);
    if (r == -EAGAIN)
        return r;
    if (r == -ENOMEM) /* an end without a result must not look like a success */
        err_oom(&x->err);
    rpc_stream_finish(x->stream, x->err.set ? &x->err : NULL);
    return 0;
}

/* Sends the waiting output, and then the end when it waits. Output that cannot be sent for lack of
 * memory ends the stream with an error. Under the lock. Returns 0 when all was sent;
 * -EAGAIN; other -errno. */
static int send_waiting(struct exec *x) {
    while (x->first) {
        struct waiting *w = x->first;
        int r = send_output(x, w->channel, w->data, w->len);
        if (r == -ENOMEM) {
            err_oom(&x->err);
            rpc_stream_finish(x->stream, &x->err);
        }
        if (r < 0)
            return r;
        x->first = w->next;
        if (!x->first)
            x->last = &x->first;
        free(w);
    }
    int r = x->end_waits ? send_end(x) : 0;
    x->end_waits = x->end_waits && r < 0;
    return r;
}

/* Sends the data, or appends a copy to the waiting output and returns -EAGAIN. The data is
 * accepted in both cases. */
static int on_output(void *ctx, int channel, const char *data, size_t len) {
    struct exec *x = ctx;
    pthread_mutex_lock(&x->lock);
    int r = send_waiting(x);
    if (r == 0)
        r = send_output(x, channel, data, len);
    if (r == -EAGAIN) {
        struct waiting *w = malloc(sizeof(*w) + len);
        if (w) {
            *w = (struct waiting){.channel = channel, .len = len};
            if (len > 0)
                memcpy(w->data, data, len);
            *x->last = w;
            x->last = &w->next;
        } else {
            r = -ENOMEM;
        }
    }
    pthread_mutex_unlock(&x->lock);
    return r;
}

static void on_exited(void *ctx, const struct task_exit *exit, const struct err *err) {
    struct exec *x = ctx;
    pthread_mutex_lock(&x->lock);
    x->exit = *exit;
    if (err)
        x->err = *err;
    x->end_waits = true;
    (void)send_waiting(x); /* on_room() sends what does not fit now */
    pthread_mutex_unlock(&x->lock);
}

static void on_stdin_room(void *ctx) {
    struct exec *x = ctx;
    rpc_stream_resume(x->stream);
}

static const struct driver_exec_ops exec_ops = {
    .output = on_output,
    .exited = on_exited,
    .room = on_stdin_room,
};

static void on_room(struct rpc_stream *s, void *ctx) {
    struct exec *x = ctx;
    (void)s;
    pthread_mutex_lock(&x->lock);
    int r = send_waiting(x);
    pthread_mutex_unlock(&x->lock);
    if (r == 0)
        task_exec_stream_resume(x->driver);
}

/* Returns -EAGAIN when the process does not read its stdin; the same message is
 * then offered again. */
static int on_message(struct rpc_stream *s, void *ctx, const ProtobufCMessage *msg) {
    struct exec *x = ctx;
    const Driver__ExecTaskStreamingRequest *in = (const Driver__ExecTaskStreamingRequest *)msg;
    if (!in)
        return 0; /* not the end of input: the host never ends its side for that */
    if (in->tty_size)
        task_exec_stream_resize(x->driver, (unsigned)in->tty_size->height,
                                (unsigned)in->tty_size->width);
    if (in->stdin_op && in->stdin_op->data.len > 0) {
        int r = task_exec_stream_stdin(x->driver, (const char *)in->stdin_op->data.data,
                                       in->stdin_op->data.len);
        if (r == -ENOBUFS)
            return -EAGAIN;
        if (r < 0) { /* too much input: the command must not go on without it */
            struct err err = {0};
            err_set(&err, ERR_PLAIN, -r, "input of %zu bytes: %s", in->stdin_op->data.len,
                    strerror(-r));
            rpc_stream_finish(s, &err);
            return 0;
        }
    }
    if (in->stdin_op && in->stdin_op->close)
        task_exec_stream_stdin_close(x->driver);
    return 0;
}

static void on_close(struct rpc_stream *s, void *ctx) {
    struct exec *x = ctx;
    (void)s;
    if (x->driver)
        task_exec_stream_close(x->driver);
    exec_free(x);
}

static const struct rpc_stream_ops stream_ops = {
    .on_close = on_close,
    .on_message = on_message,
    .on_room = on_room,
};

static int open_exec(struct rpc_stream *s, struct exec *x,
                     const Driver__ExecTaskStreamingRequest__Setup *setup, struct err *err) {
    if (!setup)
        return err_set(err, ERR_INVALID, EINVAL, "setup: must be the first message");
    AUTO_FREE const char **argv = argv_of(setup->n_command, setup->command);
    if (!argv)
        return err_oom(err);
    return task_exec_stream_open(rpc_stream_app(s), rpc_stream_context(s), setup->task_id, argv,
                                 setup->tty, &exec_ops, x, &x->driver, err);
}

void svc_exec_task_streaming(struct rpc_stream *s, const ProtobufCMessage *req) {
    const Driver__ExecTaskStreamingRequest *in = (const Driver__ExecTaskStreamingRequest *)req;
    struct err err = {0};
    struct exec *x = calloc(1, sizeof(*x));
    if (!x) {
        err_oom(&err);
        rpc_stream_finish(s, &err);
        return;
    }
    pthread_mutex_init(&x->lock, NULL);
    x->last = &x->first;
    x->stream = rpc_stream_ref(s);
    rpc_stream_set(s, &stream_ops, x);
    if (open_exec(s, x, in->setup, &err) < 0)
        rpc_stream_finish(s, &err);
    else
        (void)on_message(s, x, &in->base); /* the buffer is still empty, so the input is accepted */
}
