/* SPDX-License-Identifier: MPL-2.0 */
/* The reader of one container's log files: when it reads, and when it delivers what it has read.
 *
 * pump_task.c owns the reader and the two FIFOs. pump_file_priv.h lists the reader's parts, which
 * this file calls. The loop's thread runs all of it, in turns (file_turn()): a change of the files,
 * the timer, or a FIFO with room again begins one. */
#include "src/pump/pump_file_priv.h"

#include "paddock/clock.h"
#include "paddock/log.h"
#include "paddock/parse.h"

#include <string.h>
#include <sys/stat.h>

/* After this many bytes the other tasks have their turn. */
#define TURN_BYTES ((size_t)1 << 20)
/* The timer's interval is chosen so that each time about this many bytes are read. */
#define TICK_BYTES ((uint64_t)32 << 10)
#define TICK_MIN_US (5 * US_PER_MS)
#define TICK_MAX_US (200 * US_PER_MS)
#define QUIET_TICKS 2            /* after this many ticks without data, the file is quiet */
#define POLL_US (1 * US_PER_SEC) /* used when inotify cannot announce the next write */

/* ---- the readers' shared data ---- */

int pump_files_init(struct pump_files *p, struct loop *loop, uint64_t backlog_bytes) {
    *p = (struct pump_files){.loop = loop, .backlog_bytes = backlog_bytes};
    p->buf = malloc(LOG_MARK_LEN + PUMP_FILE_READ_MAX);
    p->text = malloc(PUMP_FILE_READ_MAX + 8);
    int r = p->buf && p->text ? log_opener_new(loop, &p->opener) : -ENOMEM;
    if (r == -ENOMEM)
        pump_files_done(p);
    else if (r < 0)
        log_warn("pump", LOG_KV("errno", strerror(-r)),
                 "log files cannot be watched: logs are read through Docker's API, ignoring");
    return r == -ENOMEM ? r : 0;
}

void pump_files_done(struct pump_files *p) {
    log_opener_free(p->opener);
    cleanup_free(&p->buf);
    cleanup_free(&p->text);
    *p = (struct pump_files){0};
}

/* ---- delivery ---- */

/* Records the time of the newest gathered record. */
static void note_time(struct pump_file *f) {
    int64_t time_ns;
    if (f->time[0] && parse_rfc3339_ns(f->time, &time_ns) == 0) {
        f->sum.newest_ns = time_ns;
        atomic_store(&f->record->resume_ns, time_ns);
    }
    f->time[0] = '\0';
}

static void deliver_records(struct pump_file *f) {
    pump_out_flush(f->out[0]);
    pump_out_flush(f->out[1]);
    pump_file_place_store(f);
    note_time(f);
    pump_file_loss_report_gap(f);
}

/* ---- when to read ---- */

/* Calls `drained`, once. May free @f. */
static void end_reading(struct pump_file *f) {
    if (f->ended)
        return;
    f->ended = true;
    loop_timer_at(f->timer, 0);
    pump_file_loss_report_dropped(f);
    pump_file_loss_report_gap(f);
    f->ops.drained(f->ctx); /* may free f */
}

/* Adapts the timer's interval to the rate of the output. */
static void adapt_tick(struct pump_file *f, uint64_t got) {
    uint64_t tick = got ? f->tick_us * TICK_BYTES / got : TICK_MAX_US;
    tick = tick > f->tick_us * 2 ? f->tick_us * 2 : tick;
    f->tick_us = tick < TICK_MIN_US ? TICK_MIN_US : tick > TICK_MAX_US ? TICK_MAX_US : tick;
}

static bool is_unlinked(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_nlink == 0;
}

/* Returns true when inotify will announce the next write. */
static bool arm_watch(struct pump_file *f) {
    int fd = f->held.n > 0 ? f->held.files[f->held.n - 1].fd : -EBADF;
    if (log_opener_watch_has_missed(f->watch))
        return false;
    return fd < 0 || (!is_unlinked(fd) && log_opener_watch_arm(f->watch, fd) == 0);
}

/* Reads to the end of the log, until a FIFO is full, or for one turn. Returns true at the end of
 * the log. */
static bool read_on(struct pump_file *f, uint64_t *ret_got) {
    uint64_t before = f->read_bytes;
    bool more = true;
    while (more && f->read_bytes - before < TURN_BYTES) {
        more = pump_file_read(f);
        deliver_records(f);
    }
    *ret_got += f->read_bytes - before;
    return !more;
}

/* Called at the end of the log: ends, or sets the time of the next read. */
static void rest_at_end(struct pump_file *f, uint64_t got) {
    bool armed = false;
    log_gap_close(&f->gap, 0); /* no record follows now */
    pump_file_loss_report_gap(f);
    bool last = (f->finishing && !log_opener_watch_has_missed(f->watch)) ||
                log_opener_watch_is_removed(f->watch);
    if (last && f->out[0]->len == 0 && f->out[1]->len == 0) {
        end_reading(f);
        return;
    }
    adapt_tick(f, got);
    f->quiet = got > 0 ? 0 : f->quiet + 1;
    if (f->quiet >= QUIET_TICKS && (armed = arm_watch(f))) {
        got = 0;
        read_on(f, &got); /* reads what was written before inotify was armed */
        if (got > 0)
            f->quiet = 0;
    }
    uint64_t wait = f->quiet < QUIET_TICKS ? f->tick_us : armed ? 0 : POLL_US;
    loop_timer_at(f->timer, wait ? clock_now_us() + wait : 0);
}

/* One turn: takes new files, delivers, reads, and sets the timer. May free @f. */
static void file_turn(struct pump_file *f) {
    uint64_t got = 0;
    if (f->ended)
        return;
    pump_file_place_take_files(f);
    if (!f->begun)
        return;
    f->stuck = false;
    deliver_records(f);
    bool at_end = read_on(f, &got);
    if (!f->stuck && at_end)
        rest_at_end(f, got);
    else if (!f->stuck)
        loop_timer_at(f->timer, clock_now_us());
    else if (f->out[0]->watch || f->out[1]->watch)
        loop_timer_at(f->timer, 0); /* pump_file_continue() is called later */
    else
        loop_timer_at(f->timer, clock_now_us() + TICK_MAX_US); /* out of memory */
}

static void on_timer(void *arg) {
    struct pump_file *f = arg;
    /* When out of memory, a full FIFO has no watch. Then this timer tries again. */
    for (int s = 0; s < 2; s++)
        if (f->out[s]->blocked && !f->out[s]->watch)
            f->out[s]->blocked = false;
    file_turn(f);
}

/* Called when the log was written to, rotated or removed. */
static void on_changed(void *arg) {
    struct pump_file *f = arg;
    f->quiet = 0;
    if (f->stuck)
        pump_file_place_take_files(f); /* files are taken even while the FIFO is full */
    else
        file_turn(f);
}

/* ---- creation and release ---- */

int pump_file_new(struct pump_files *shared, int dir_fd, const char *name,
                  struct pump_out *const out[2], const struct pump_file_ops *ops, void *ctx,
                  struct pump_file **ret) {
    if (!shared->opener)
        return -EMFILE;
    struct pump_file *f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    *f = (struct pump_file){.shared = shared,
                            .out = {out[0], out[1]},
                            .record = out[0]->record,
                            .ops = *ops,
                            .ctx = ctx,
                            .tick_us = TICK_MAX_US / 4};
    int r = loop_timer_new(shared->loop, on_timer, f, &f->timer);
    if (r == 0)
        r = log_opener_watch_new(shared->opener, dir_fd, name, on_changed, f, &f->watch);
    if (r < 0) {
        pump_file_free(f);
        return r;
    }
    *ret = f;
    return 0;
}

void pump_file_free(struct pump_file *f) {
    if (!f)
        return;
    log_opener_watch_del(f->watch);
    log_held_done(&f->held);
    loop_timer_del(f->timer);
    free(f);
}

void pump_file_begin(struct pump_file *f) {
    if (f->begun)
        return;
    f->begun = true;
    file_turn(f);
}

void pump_file_finish(struct pump_file *f) {
    f->finishing = f->begun = true;
    file_turn(f);
}

void pump_file_continue(struct pump_file *f) {
    file_turn(f);
}

void pump_file_status(struct pump_file *f, struct pump_file_status *ret) {
    *ret = f->sum;
    ret->lag_bytes = f->placed ? log_held_bytes(&f->held, f->at.offset) : 0;
}
