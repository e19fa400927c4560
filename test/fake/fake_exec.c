/* SPDX-License-Identifier: MPL-2.0 */
/* The fake's execs. An exec is one of a few commands (fake.h), whose input and output go over the
 * connection that started it. */
#include "fake/fake_engine_priv.h"
#include "paddock/docker.h"

#include <stdio.h>
#include <string.h>

const char *exec_arg(const json_t *argv, size_t i) {
    const char *text = json_string_value(json_array_get(argv, i));
    return text ? text : "";
}

void exec_free(struct exec *x) {
    json_decref(x->argv);
    free(x);
}

void exec_create(struct engine *e, struct conn *conn, struct container *c,
                 const struct request *rq) {
    if (!c->running) {
        conn_error(conn, 409, "Container %s is not running", c->id);
        return;
    }
    AUTO_JSON json_t *body = json_loads(rq->body_text, 0, NULL);
    struct exec *x = calloc(1, sizeof(*x));
    if (!x)
        abort();
    engine_make_id(e, "e0ec", x->id);
    x->of = c;
    x->argv = json_incref(json_object_get(body, "Cmd"));
    x->tty = json_is_true(json_object_get(body, "Tty"));
    x->next = e->execs;
    e->execs = x;
    conn_reply(conn, 201, json_pack("{s:s}", "Id", x->id));
}

static void exec_output(struct exec *x, int channel, const char *data, size_t len) {
    AUTO_BUF struct buf out;
    buf_init(&out, 1u << 26);
    if (x->tty) {
        conn_write(x->conn, data, len);
        return;
    }
    output_frame(&out, channel, data, len);
    conn_write(x->conn, out.data, out.len);
}

static void exec_end(struct engine *e, struct exec *x, int code) {
    char text[16];
    snprintf(text, sizeof(text), "%d", code);
    x->running = false;
    x->exit_code = code;
    conn_close_when_written(x->conn);
    if (x->of)
        events_emit(e, x->of, "exec_die",
                    json_pack("{s:s,s:s}", "execID", x->id, "exitCode", text));
}

/* The exec has ended, but a child of it keeps the connection open. */
static void exec_leave(struct engine *e, struct exec *x) {
    x->running = false;
    x->exit_code = 5;
    if (x->of)
        events_emit(e, x->of, "exec_die", json_pack("{s:s,s:s}", "execID", x->id, "exitCode", "5"));
}

static void exec_start(struct engine *e, struct conn *conn, struct exec *x) {
    const char *what = exec_arg(x->argv, 0), *arg = exec_arg(x->argv, 1);
    conn_hijack(conn);
    x->conn = conn;
    x->running = true;
    if (strcmp(what, "echo") == 0 || strcmp(what, "err") == 0) {
        exec_output(x, what[1] == 'c' ? 1 : 2, arg, strlen(arg));
        exec_end(e, x, 0);
    } else if (strcmp(what, "exit") == 0) {
        exec_end(e, x, (int)strtol(arg, NULL, 10));
    } else if (strcmp(what, "big") == 0) {
        size_t n = strtoul(arg, NULL, 10);
        AUTO_FREE char *text = malloc(n + 1);
        if (!text)
            abort();
        for (size_t i = 0; i < n; i++)
            text[i] = (char)('a' + i % 23);
        for (size_t at = 0; at < n; at += 32768)
            exec_output(x, 1, text + at, n - at < 32768 ? n - at : 32768);
        exec_end(e, x, 0);
    } else if (strcmp(what, "background") == 0) {
        exec_output(x, 1, arg, strlen(arg));
        exec_leave(e, x);
    } else if (strcmp(what, "count") == 0 && strcmp(arg, "deaf") == 0) {
        conn_hear(conn, false);
    }
}

static void count_input(struct engine *e, struct exec *x, size_t len, bool eof) {
    char text[32];
    x->counted += len;
    if (!eof || !x->running)
        return;
    exec_output(x, 1, text, (size_t)snprintf(text, sizeof(text), "%zu\n", x->counted));
    exec_end(e, x, 0);
}

void engine_input(struct engine *e, struct conn *c, const char *data, size_t len, bool eof) {
    struct exec *x = e->execs;
    while (x && x->conn != c)
        x = x->next;
    if (!x)
        return;
    if (strcmp(exec_arg(x->argv, 0), "leave") == 0 && x->running)
        exec_leave(e, x);
    if (strcmp(exec_arg(x->argv, 0), "count") == 0)
        count_input(e, x, len, eof);
    if (len > 0 && strcmp(exec_arg(x->argv, 0), "cat") == 0)
        exec_output(x, 1, data, len);
    if (eof && x->running && strcmp(exec_arg(x->argv, 0), "cat") == 0)
        exec_end(e, x, 0);
}

bool exec_handle(struct engine *e, struct conn *conn, const struct request *rq) {
    char id[128], what[32];
    if (sscanf(rq->path, "/exec/%127[^/]/%31s", id, what) != 2)
        return false;
    struct exec *x = e->execs;
    while (x && strcmp(x->id, id) != 0)
        x = x->next;
    if (!x)
        conn_error(conn, 404, "No such exec instance: %s", id);
    else if (strcmp(what, "json") == 0)
        conn_reply(conn, 200,
                   json_pack("{s:s,s:b,s:i,s:i}", "ID", x->id, "Running", x->running, "ExitCode",
                             x->exit_code, "Pid", x->running ? e->pid : 0));
    else if (strcmp(what, "start") == 0)
        exec_start(e, conn, x);
    else if (strcmp(what, "resize") == 0)
        conn_reply(conn, 201, NULL);
    else
        return false;
    return true;
}
