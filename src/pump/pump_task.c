/* SPDX-License-Identifier: MPL-2.0 */
/* One task of the pump: owns the FIFOs and the record, and decides which reader delivers.
 * pump_entry.c calls it.
 *
 * The decision needs Docker's inspect, and dockerd does not answer that while it starts the
 * container. So the usual place of the log file is watched from the beginning, and the decision
 * only says whether the found files are delivered. When a record contains the path of a log file,
 * an earlier pump has decided, and Docker is not asked. */
#include "src/pump/pump_task.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define RETRY_FIRST_US (50 * US_PER_MS)
#define RETRY_MAX_US (5 * US_PER_SEC)

struct pump_task {
    struct pump_task_shared shared;
    struct pump_record *record;
    struct pump_task_ops ops;
    void *ctx;
    struct pump_out out[2];
    enum pump_way way;
    struct pump_file *file; /* exists also before the decision */
    struct pump_api *api;
    struct pump_question *question;
    /* One timer for three waits: for the plugin to begin, then for the next question to Docker,
     * then for the delivery to a new FIFO. */
    struct loop_timer *timer;
    uint64_t backoff_us;
    bool begun, finishing, opened_reported, drained_reported;
    bool running; /* according to Docker's last answer */
};

/* ---- calls to the owner ---- */

static void report_opened(struct pump_task *t, int r) {
    if (t->opened_reported)
        return;
    t->opened_reported = true;
    t->ops.opened(t->ctx, t, r);
}

static void report_drained(struct pump_task *t) {
    if (t->drained_reported)
        return;
    t->drained_reported = true;
    loop_timer_at(t->timer, 0);
    t->question = pump_locate_cancel(t->question);
    report_opened(t, 0);
    t->ops.drained(t->ctx, t); /* may free t */
}

static void on_opened(void *ctx, int r) {
    report_opened(ctx, r);
}

static void on_drained(void *ctx) {
    report_drained(ctx);
}

static void on_report(void *ctx, const char *text) {
    struct pump_task *t = ctx;
    t->ops.report(t->ctx, t, text);
}

static const struct pump_api_ops api_ops = {.opened = on_opened, .drained = on_drained};
static const struct pump_file_ops file_ops = {.drained = on_drained, .report = on_report};

static void on_room(void *ctx) {
    struct pump_task *t = ctx;
    if (t->way == PUMP_WAY_FILE)
        pump_file_continue(t->file);
    else if (t->way == PUMP_WAY_API)
        pump_api_continue(t->api);
}

/* ---- the decision ---- */

/* Makes the file reader for the log @path, which watches its folder. Returns 0; -errno. */
static int watch_file(struct pump_task *t, const char *path) {
    struct pump_out *const out[2] = {&t->out[0], &t->out[1]};
    const char *id = t->record->container_id;
    char name[PUMP_LOG_NAME_MAX];
    AUTO_FD int dir_fd = -EBADF;
    int r = pump_locate_open(path, id, &dir_fd);
    snprintf(name, sizeof(name), "%s-json.log", id);
    if (r == 0)
        r = pump_file_new(t->shared.files, dir_fd, name, out, &file_ops, t, &t->file);
    if (r < 0)
        log_debug("pump", LOG_KV("container_id", id, "errno", strerror(-r)),
                  "the folder of the log is not watched");
    return r;
}

/* Watches the log's folder before the decision, or because an earlier pump read the log from
 * its file. */
static void watch_early(struct pump_task *t) {
    char path[PUMP_LOG_PATH_MAX];
    if (t->record->log_path[0])
        snprintf(path, sizeof(path), "%s", t->record->log_path);
    else if (pump_locate_place(t->shared.locate, t->record->container_id, path) < 0)
        return;
    if (watch_file(t, path) < 0)
        return; /* the decision tries again */
}

static void go_by_file(struct pump_task *t) {
    t->way = PUMP_WAY_FILE;
    report_opened(t, 0);
    if (t->finishing)
        pump_file_finish(t->file);
    else
        pump_file_begin(t->file);
}

static void ask_later(struct pump_task *t) {
    loop_timer_at(t->timer, clock_now_us() + t->backoff_us);
    t->backoff_us = t->backoff_us * 2 > RETRY_MAX_US ? RETRY_MAX_US : t->backoff_us * 2;
}

/* Changes the positions to times, because the API cannot find a place in a file. The time is that
 * of the newest record that was read, and its last bytes may not have been delivered. */
static void forget_places(struct pump_task *t) {
    bool any = false;
    for (int s = 0; s < 2; s++) {
        struct pump_position *at = &t->record->stream[s].at;
        if (!at->place.file.ino)
            continue;
        *at = (struct pump_position){.time.time_ns = atomic_load(&t->record->resume_ns) + 1};
        any = true;
    }
    t->record->log_path[0] = '\0';
    if (any)
        on_report(t,
                  "some log lines may be missing: Docker's log file cannot be read any more, and "
                  "its API is used from now on");
}

static void go_by_api(struct pump_task *t) {
    struct pump_out *const out[2] = {&t->out[0], &t->out[1]};
    pump_file_free(TAKE_PTR(t->file));
    if (pump_api_new(t->shared.loop, t->shared.http, out, &api_ops, t, &t->api) < 0) {
        ask_later(t);
        return;
    }
    forget_places(t);
    t->way = PUMP_WAY_API;
    if (t->finishing)
        pump_api_finish(t->api);
    else
        pump_api_begin(t->api);
}

/* Returns true when the log of a started container can be opened. */
static bool is_readable(const char *path, const char *id) {
    char name[PUMP_LOG_NAME_MAX];
    AUTO_FD int dir_fd = -EBADF;
    if (pump_locate_open(path, id, &dir_fd) < 0)
        return false;
    snprintf(name, sizeof(name), "%s-json.log", id);
    return faccessat(dir_fd, name, R_OK, AT_SYMLINK_NOFOLLOW | AT_EACCESS) == 0;
}

static void decide_reader(struct pump_task *t, const struct pump_located *located) {
    const char *id = t->record->container_id;
    char path[PUMP_LOG_PATH_MAX];
    bool by_file = located->json_file && pump_locate_place(t->shared.locate, id, path) == 0 &&
                   (!located->log_path[0] || is_readable(path, id)) &&
                   (t->file || watch_file(t, path) == 0);
    if (!by_file) {
        go_by_api(t);
        return;
    }
    snprintf(t->record->log_path, sizeof(t->record->log_path), "%s", path);
    go_by_file(t);
}

static void on_answer(void *ctx, int r, const struct pump_located *located) {
    struct pump_task *t = ctx;
    t->question = NULL;
    t->running = r == 0 && located->running;
    if (t->way != PUMP_WAY_NONE)
        return;
    if (r == -ENOENT)
        report_drained(t); /* the container was removed: no more output can come */
    else if (r < 0)
        ask_later(t);
    else
        decide_reader(t, located);
}

static void ask_docker(struct pump_task *t) {
    if (!t->question &&
        pump_locate_ask(t->shared.locate, t->record->container_id, on_answer, t, &t->question) < 0)
        ask_later(t);
}

/* Chooses the reader: by the record when it contains a log path, otherwise by Docker's answer. */
static void choose_reader(struct pump_task *t) {
    if (t->way != PUMP_WAY_NONE)
        return;
    loop_timer_at(t->timer, 0);
    t->begun = true;
    if (!t->file)
        watch_early(t);
    if (t->record->log_path[0] && t->file) {
        t->running = true; /* until Docker answers otherwise */
        go_by_file(t);
    } else {
        ask_docker(t);
    }
}

static void on_timer(void *arg) {
    struct pump_task *t = arg;
    if (t->way == PUMP_WAY_NONE)
        choose_reader(t);
    else
        on_room(t); /* may free t */
}

/* ---- requests of the owner ---- */

void pump_task_begin(struct pump_task *t) {
    t->backoff_us = RETRY_FIRST_US;
    if (t->way == PUMP_WAY_API)
        pump_api_begin(t->api);
    else
        choose_reader(t);
}

void pump_task_finish(struct pump_task *t) {
    if (t->finishing)
        return;
    t->finishing = true;
    t->backoff_us = RETRY_FIRST_US;
    if (t->way == PUMP_WAY_FILE)
        pump_file_finish(t->file);
    else if (t->way == PUMP_WAY_API)
        pump_api_finish(t->api);
    else
        choose_reader(t);
}

/* Opens the FIFO again when another one is at its path. The watch of a full FIFO continues
 * the delivery. When another FIFO replaces it, the watch is deleted, so the timer continues
 * the delivery. */
static int reopen_fifo(struct pump_task *t, int s) {
    bool waited = t->out[s].blocked;
    int r = pump_out_open(&t->out[s]);
    if (waited && !t->out[s].blocked)
        loop_timer_at(t->timer, clock_now_us());
    return r;
}

int pump_task_reopen(struct pump_task *t) {
    int r = reopen_fifo(t, 0);
    return r < 0 ? r : reopen_fifo(t, 1);
}

const struct pump_record *pump_task_record(const struct pump_task *t) {
    return t->record;
}

bool pump_task_runs(const struct pump_task *t) {
    return t->running;
}

int pump_task_move_record(struct pump_task *t, int dir_fd) {
    return pump_record_move(t->record, dir_fd, t->record->container_id);
}

bool pump_task_is_open(struct pump_task *t) {
    if (t->way == PUMP_WAY_API)
        return pump_api_is_open(t->api);
    if (t->way == PUMP_WAY_FILE)
        ask_docker(t);
    return t->running;
}

bool pump_task_moves(struct pump_task *t) {
    bool moved = t->out[0].moved || t->out[1].moved;
    t->out[0].moved = t->out[1].moved = false;
    return moved || (!t->out[0].blocked && !t->out[1].blocked);
}

void pump_task_status(struct pump_task *t, struct pump_task_status *ret) {
    *ret = (struct pump_task_status){.way = t->way};
    int64_t since_ns = atomic_load(&t->record->resume_ns);
    if (t->way == PUMP_WAY_FILE) {
        struct pump_file_status file;
        pump_file_status(t->file, &file);
        ret->lag_bytes = file.lag_bytes;
        ret->damaged = file.damaged;
        ret->dropped_bytes = file.dropped_bytes;
        ret->gaps = file.gaps;
        since_ns = file.newest_ns;
    } else if (t->way == PUMP_WAY_API) {
        ret->lag_bytes = pump_api_waiting(t->api);
    }
    int64_t lag_ns = clock_wall_ns() - since_ns;
    ret->lag_ns = ret->lag_bytes > 0 && since_ns > 0 && lag_ns > 0 ? lag_ns : 0;
}

/* ---- creation and release ---- */

int pump_task_new(const struct pump_task_shared *shared, struct pump_record *record,
                  const struct pump_task_ops *ops, void *ctx, struct pump_task **ret) {
    struct pump_task *t = calloc(1, sizeof(*t));
    if (!t) {
        pump_record_close(record);
        return -ENOMEM;
    }
    *t = (struct pump_task){
        .shared = *shared, .record = record, .ops = *ops, .ctx = ctx, .backoff_us = RETRY_FIRST_US};
    for (int s = 0; s < 2; s++)
        pump_out_init(&t->out[s], shared->loop, record, s, on_room, t);
    pump_record_settle(record);
    int r = loop_timer_new(shared->loop, on_timer, t, &t->timer);
    if (r == 0)
        r = pump_task_reopen(t);
    if (r < 0) {
        pump_task_free(t);
        return r;
    }
    watch_early(t);
    loop_timer_at(t->timer, clock_now_us() + shared->patience_us);
    *ret = t;
    return 0;
}

void pump_task_free(struct pump_task *t) {
    if (!t)
        return;
    pump_locate_cancel(t->question);
    pump_api_free(t->api);
    pump_file_free(t->file);
    loop_timer_del(t->timer);
    pump_out_done(&t->out[0]);
    pump_out_done(&t->out[1]);
    pump_record_close(t->record);
    free(t);
}
