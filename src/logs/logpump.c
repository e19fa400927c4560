/* SPDX-License-Identifier: MPL-2.0 */
/* The plugin's requests to the log pump. src/task calls it.
 *
 * logs_held.c keeps each task's FIFOs and its whole request. So any pump that is met later can be
 * asked to carry the task, even when its position files are gone. The process id says which pump a
 * task was given to.
 *
 * logs_process.c finds or starts the process, and logs_watch.c keeps it alive. */
#include "paddock/logpump.h"

#include "paddock/clock.h"
#include "paddock/docker.h"
#include "paddock/log.h"
#include "paddock/strv.h"

#include "src/logs/logs_held.h"
#include "src/logs/logs_process.h"
#include "src/logs/logs_socket.h"
#include "src/logs/logs_status.h"
#include "src/logs/logs_watch.h"
#include "src/pump/pump_dir.h"
#include "src/pump/pump_proto.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define SPAWN_TIMEOUT_US (10 * US_PER_SEC)
#define CLOSE_TIMEOUT_US (1 * US_PER_SEC)
#define BEGIN_TIMEOUT_US (2 * US_PER_SEC)

struct logpump {
    char *run_dir;
    void (*report)(void *ctx, const char *task_id, const char *text);
    void *ctx;
    struct logs_process *process;
    struct logs_watch *watch;
    struct logs_held *held;
};

/* ---- requests ---- */

/* Sends one request and reads the answer. When the pump dies before it answers, another one is
 * started and asked. @rq: taken over. @ret_pump: the process that answered. */
static int send_request(struct logpump *p, const struct call *call, uint64_t quiet_us, json_t *rq,
                        json_t **ret, pid_t *ret_pump, struct err *err) {
    if (!rq)
        return err_oom(err);
    int r;
    do {
        AUTO_FD int fd = logs_process_reach(p->process, call, err);
        r = fd < 0 ? fd : logs_socket_send(fd, rq, -1);
        *ret_pump = fd < 0 ? 0 : logs_socket_pid(fd);
        if (r == 0)
            r = logs_socket_read(fd, call, quiet_us, ret, err);
    } while (r == -EPIPE && call_remaining_ms(call) != 0);
    json_decref(rq);
    return r == -EPIPE ? err_set(err, ERR_RECOVERABLE, EPIPE, "the log pump does not stay alive")
                       : r;
}

/* Like send_request(), about a task. Returns the pump's own error when its answer has one, and logs
 * the note of its answer. */
static int ask_task(struct logpump *p, const struct call *call, uint64_t quiet_us, json_t *rq,
                    const char *task_id, pid_t *ret_pump, struct err *err) {
    AUTO_JSON json_t *answer = NULL;
    int r = send_request(p, call, quiet_us, rq, &answer, ret_pump, err);
    int code = (int)json_integer_value(json_object_get(answer, "errno"));
    const char *text = json_string_value(json_object_get(answer, "error"));
    const char *note = json_string_value(json_object_get(answer, "note"));
    if (note)
        log_warn("logpump", LOG_KV("task_id", task_id, "note", note),
                 "the log pump has a remark, ignoring");
    if (r == 0 && code > 0)
        r = err_set(err, ERR_PLAIN, code, "%s", text ? text : strerror(code));
    return r;
}

static json_t *task_request(const char *op, const char *task_id) {
    return json_pack("{s:s,s:s}", "op", op, "task", task_id);
}

/* Closes the task's FIFOs in the pump, whatever is left. */
static void close_task(struct logpump *p, const char *task_id) {
    struct call call = call_within(NULL, CLOSE_TIMEOUT_US);
    pid_t pump;
    if (ask_task(p, &call, 0, task_request("close", task_id), task_id, &pump, NULL) < 0)
        log_debug("logpump", LOG_KV("task_id", task_id),
                  "the pump does not close the task, ignoring");
}

/* ---- carrying a task ---- */

static int carry_task(struct logpump *p, const struct call *call, const struct logpump_task *t,
                      bool runs, struct err *err) {
    struct call within = call_within(call, SPAWN_TIMEOUT_US);
    json_t *rq = NULL;
    pid_t pump = 0;
    int r = logs_held_add(p->held, t, err);
    if (r < 0)
        return r;
    r = logs_held_request(p->held, t->task_id, runs, &rq);
    if (r == -ENOENT)
        return err_set(err, ERR_RECOVERABLE, ENOENT, "the task has ended");
    r = ask_task(p, &within, 0, rq, t->task_id, &pump, err); /* reports a lack of memory, too */
    if (r < 0)
        return r;
    logs_held_asked(p->held, t->task_id, pump);
    logs_watch_start(p->watch);
    return 0;
}

bool logpump_prepare(struct logpump *p, const struct call *call, const struct logpump_task *t) {
    struct err err = {0};
    int r = carry_task(p, call, t, false, &err);
    /* The FIFOs stay held: logmon stops reading a FIFO that has no writer even for a moment. */
    if (r < 0)
        log_debug("logpump", LOG_KV("task_id", t->task_id, "error", err.text), "not prepared");
    return r == 0;
}

void logpump_begin(struct logpump *p, const char *task_id) {
    struct call call = call_within(NULL, BEGIN_TIMEOUT_US);
    AUTO_JSON json_t *rq = NULL;
    int r = logs_held_request(p->held, task_id, true, &rq);
    if (r == -ENOENT)
        return;
    AUTO_FD int fd = r == 0 ? logs_process_reach(p->process, &call, NULL) : r;
    /* After a failure, the next pump that is met gets the request. */
    if (fd < 0 || logs_socket_send(fd, rq, -1) < 0)
        log_debug("logpump", LOG_KV("task_id", task_id), "the pump was not told, ignoring");
    /* The task ended in between, and the pump may have received its end before this request. */
    if (!logs_held_has(p->held, task_id))
        close_task(p, task_id);
}

int logpump_follow(struct logpump *p, const struct call *call, const struct logpump_task *t,
                   struct err *err) {
    int r = carry_task(p, call, t, true, err);
    if (r < 0)
        logpump_drop(p, t->task_id); /* the pump may have opened the task */
    return r;
}

void logpump_drop(struct logpump *p, const char *task_id) {
    close_task(p, task_id);
    logs_held_remove(p->held, task_id, 0);
}

void logpump_forget(struct logpump *p, const char *container_id) {
    static const char *const names[] = {"", PUMP_DONE};
    char path[PATH_MAX];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s/%s%s", p->run_dir, PUMP_RECORDS, container_id,
                 names[i]);
        if (unlink(path) < 0 && errno != ENOENT)
            log_debug("logpump", LOG_KV("errno", strerror(errno), "path", path), "position file");
    }
}

/* ---- handing tasks to another pump ---- */

/* Sends the task's request without waiting for an answer: the pump itself reports what it
 * cannot do. */
static int carry_again(struct logpump *p, const struct call *call, const char *task_id) {
    AUTO_JSON json_t *rq = NULL;
    int r = logs_held_request(p->held, task_id, false, &rq);
    if (r < 0)
        return r == -ENOENT ? 0 : r; /* a task that has ended needs no request */
    AUTO_FD int fd = logs_process_reach(p->process, call, NULL);
    r = fd < 0 ? fd : logs_socket_send(fd, rq, -1);
    if (r == 0)
        logs_held_sent(p->held, task_id, logs_socket_pid(fd));
    if (logs_held_has(p->held, task_id))
        return r;
    /* The task ended in between, and the pump may have received its end before this request. */
    close_task(p, task_id);
    logpump_forget(p, json_string_value(json_object_get(rq, "container")));
    return r;
}

static int on_met(void *ctx, pid_t pump) {
    struct logpump *p = ctx;
    AUTO_STRV struct strv tasks = {0};
    struct call call = call_within(NULL, SPAWN_TIMEOUT_US);
    logs_process_met(p->process, pump);
    int r = logs_held_others(p->held, pump, &tasks);
    for (size_t i = 0; i < tasks.n && r == 0; i++)
        r = carry_again(p, &call, tasks.v[i]);
    if (r < 0)
        log_debug("logpump", LOG_KV("errno", strerror(-r)),
                  "the pump was not sent all tasks, retrying");
    return r;
}

/* A pump that does not know the task has nothing to finish, so it gets the request first. */
static void carry_by_other(struct logpump *p, const struct call *call, const char *task_id) {
    AUTO_FD int fd = logs_process_reach(p->process, call, NULL);
    pid_t pump = fd < 0 ? 0 : logs_socket_pid(fd);
    if (pump && logs_held_is_others(p->held, task_id, pump) && carry_again(p, call, task_id) < 0)
        log_debug("logpump", LOG_KV("task_id", task_id),
                  "the request could not be sent to the other pump");
}

/* ---- finishing a task ---- */

static void give_up_finish(struct logpump *p, const char *task_id, unsigned long number) {
    close_task(p, task_id); /* the output was not taken in time; the FIFOs close all the same */
    logs_held_remove(p->held, task_id, number);
}

int logpump_finish(struct logpump *p, const struct call *call, uint64_t quiet_us,
                   const char *task_id, struct err *err) {
    unsigned long number = logs_held_to_end(p->held, task_id);
    if (!number)
        return 0;
    carry_by_other(p, call, task_id);
    pid_t pump;
    int r = ask_task(p, call, quiet_us, task_request("finish", task_id), task_id, &pump, err);
    if (r < 0 && r != -ECANCELED)
        give_up_finish(p, task_id, number);
    else
        logs_held_remove(p->held, task_id, number);
    return r;
}

struct logpump_finish {
    struct logpump *p;
    char *task_id;
    unsigned long number;
    int fd;
    struct logs_answer answer;
};

int logpump_finish_begin(struct logpump *p, const struct call *call, const char *task_id,
                         struct logpump_finish **ret, struct err *err) {
    unsigned long number = logs_held_to_end(p->held, task_id);
    if (!number)
        return 0;
    carry_by_other(p, call, task_id);
    struct logpump_finish *f = calloc(1, sizeof(*f));
    AUTO_JSON json_t *rq = task_request("finish", task_id);
    if (f)
        *f = (struct logpump_finish){
            .p = p, .task_id = strdup(task_id), .number = number, .fd = -EBADF};
    if (!f || !f->task_id || !rq) {
        logpump_finish_free(f);
        return err_oom(err);
    }
    logs_socket_answer_init(&f->answer);
    f->fd = logs_process_reach(p->process, call, err);
    int r = f->fd < 0 ? f->fd : logs_socket_send(f->fd, rq, -1);
    if (r < 0) {
        logpump_finish_free(f);
        return err_set(err, ERR_RECOVERABLE, -r, "the log pump: %s", strerror(-r));
    }
    *ret = f;
    return 1;
}

int logpump_finish_fd(const struct logpump_finish *f) {
    return f->fd;
}

int logpump_finish_read(struct logpump_finish *f, struct err *err) {
    AUTO_JSON json_t *answer = NULL;
    int r = logs_socket_answer_read(&f->answer, f->fd, &answer, err);
    int code = (int)json_integer_value(json_object_get(answer, "errno"));
    const char *text = json_string_value(json_object_get(answer, "error"));
    if (r == 0 && code > 0)
        r = err_set(err, ERR_PLAIN, code, "%s", text ? text : strerror(code));
    return r;
}

void logpump_finish_end(struct logpump_finish *f, bool delivered) {
    if (delivered)
        logs_held_remove(f->p->held, f->task_id, f->number);
    else
        give_up_finish(f->p, f->task_id, f->number);
    logpump_finish_free(f);
}

void logpump_finish_free(struct logpump_finish *f) {
    if (!f)
        return;
    fd_close(f->fd);
    logs_socket_answer_done(&f->answer);
    free(f->task_id);
    free(f);
}

/* ---- CPU affinity ---- */

void logpump_set_affinity(struct logpump *p, const struct affinity *a) {
    logs_process_set_affinity(p->process, a);
}

/* ---- status ---- */

json_t *logpump_status(struct logpump *p) {
    return logs_status_get(p->run_dir, logs_process_starts(p->process));
}

int logpump_metrics(struct logpump *p, struct buf *b) {
    AUTO_JSON json_t *status = logpump_status(p);
    return status ? logs_status_metrics(status, b) : -ENOMEM;
}

/* ---- callbacks of logs_watch.c ---- */

static bool is_needed(void *ctx) {
    const struct logpump *p = ctx;
    return logs_held_any(p->held);
}

static void on_report(void *ctx, const char *task_id, const char *text) {
    struct logpump *p = ctx;
    log_warn("logpump", LOG_KV("task_id", task_id), "%s", text);
    if (p->report)
        p->report(p->ctx, task_id, text);
}

/* ---- creation and release ---- */

static json_t *settings_json(const struct logpump_options *o) {
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:I}", "endpoint", o->endpoint, "cert",
                     o->tls_cert ? o->tls_cert : "", "key", o->tls_key ? o->tls_key : "", "ca",
                     o->tls_ca ? o->tls_ca : "", "allocs", o->allocs_dir ? o->allocs_dir : "",
                     "log_backlog", (json_int_t)o->backlog_bytes);
}

int logpump_new(const struct logpump_options *o, struct logpump **ret, struct err *err) {
    struct logpump *p = calloc(1, sizeof(*p));
    if (!p)
        return err_oom(err);
    int r = 0;
    p->report = o->report;
    p->ctx = o->ctx;
    p->run_dir = str_dup(o->run_dir, &r);
    if (r == 0)
        r = logs_held_new(&p->held);
    if (r == 0)
        r = logs_process_new(o->program, o->run_dir, settings_json(o), o->affinity, o->loop,
                             &p->process);
    const struct logs_watch_options watch = {.process = p->process,
                                             .loop = o->loop,
                                             .pool = o->pool,
                                             .needed = is_needed,
                                             .met = on_met,
                                             .report = on_report,
                                             .ctx = p};
    if (r == 0)
        r = logs_watch_new(&watch, &p->watch);
    if (r < 0) {
        err_set(err, ERR_RECOVERABLE, -r, "folder %s: %s", o->run_dir, strerror(-r));
        logpump_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

/* Removes the pump's folder when it is empty. A running pump holds the folder's lock and removes
 * the folder itself. */
static void tidy_up(const struct logpump *p) {
    struct pump_dir dir;
    if (pump_dir_open(p->run_dir, &dir) < 0)
        log_debug("logpump", LOG_KV("path", p->run_dir), "no folder to tidy up");
    pump_dir_close(&dir);
}

void logpump_free(struct logpump *p) {
    if (!p)
        return;
    logs_watch_free(p->watch);
    logs_process_free(p->process);
    if (p->run_dir)
        tidy_up(p);
    logs_held_free(p->held);
    free(p->run_dir);
    free(p);
}
