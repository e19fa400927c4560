/* SPDX-License-Identifier: MPL-2.0 */
/* The reader of one container's log files: from the record's position to the end, again and again.
 *
 * pump_task.c owns the reader and the two FIFOs. The difficult parts are finding the position
 * again (find_place, replayed), damage in a file (gather), and files that disappear or shrink
 * (next_file, truncated). */
#include "src/pump/pump_file.h"

#include "src/pump/log_gap.h"
#include "src/pump/log_held.h"
#include "src/pump/log_record.h"
#include "paddock/clock.h"
#include "paddock/log.h"
#include "paddock/parse.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Sizes of a read, in bytes. A record has at most 16 KiB of message, six times as much when each
 * byte is escaped, and a few labels. READ_FIRST is enough for nearly all records. */
#define READ_FIRST ((size_t)64 << 10)
#define READ_MAX ((size_t)256 << 10)
/* Length of a record's start. In the middle of damage, the end of what was read may cut such
 * a start. */
#define START_LEN 8
/* After this many bytes the other tasks have their turn. */
#define TURN_BYTES ((size_t)1 << 20)
/* The timer's interval is chosen so that each time about this many bytes are read. */
#define TICK_BYTES ((uint64_t)32 << 10)
#define TICK_MIN_US (5 * US_PER_MS)
#define TICK_MAX_US (200 * US_PER_MS)
#define QUIET_TICKS 2            /* after this many ticks without data, the file is quiet */
#define POLL_US (1 * US_PER_SEC) /* used when inotify cannot announce the next write */
#define REPORT_EVERY_US (60 * US_PER_SEC)
#define TEXT_MAX 256
#define GAP_ROTATED "Docker's log file was rotated away while no log pump was running"
#define TIME_SKEW_NS INT64_C(2000000000)

/* What earlier readers delivered to one stream. */
struct replay {
    enum { REPLAY_NO, REPLAY_PLACE, REPLAY_TIME } by;
    uint64_t number, offset;          /* by place: file number and offset of the next record */
    size_t done;                      /* by place: delivered bytes of that record's message */
    struct log_position time, cursor; /* by time: the next byte, and the present message */
};

struct pump_file {
    struct pump_files *shared;
    struct pump_out *out[2];
    struct pump_record *record;
    struct pump_file_ops ops;
    void *ctx;
    struct log_watch *watch;
    struct loop_timer *timer;
    struct log_held held;
    struct log_place at; /* place of the next record, in the oldest held file */
    struct replay replay[2];
    bool begun, placed, finishing, ended;
    bool missing;  /* no log file was there, and that was reported */
    bool skipping; /* all records so far were delivered before */
    /* While skipping: time of the newest delivered message; 0: not known. */
    int64_t delivered_ns;
    bool in_damage;
    bool stuck;                     /* the next record has no room in its FIFO's chunk */
    char time[LOG_RECORD_TIME_MAX]; /* time of the newest gathered record */
    uint64_t read_bytes;            /* all bytes so far */
    uint64_t tick_us;
    unsigned quiet;
    struct pump_file_status sum;
    struct log_gap gap;
    uint64_t dropped_reported, dropped_reported_us;
};

/* ---- the readers' shared data ---- */

int pump_files_init(struct pump_files *p, struct loop *loop, uint64_t backlog_bytes) {
    *p = (struct pump_files){.loop = loop, .backlog_bytes = backlog_bytes};
    p->buf = malloc(LOG_MARK_LEN + READ_MAX);
    p->text = malloc(READ_MAX + 8);
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

/* ---- reports of lost lines ---- */

static void report_loss(struct pump_file *f, const char *text) {
    f->ops.report(f->ctx, text);
}

/* Counts a gap after the record that was read last. @bytes: its size; 0 when not known. */
static void note_gap(struct pump_file *f, const char *why, uint64_t bytes) {
    f->sum.gaps++;
    log_gap_note(&f->gap, why, atomic_load(&f->record->resume_ns), bytes);
}

/* Closes the gap before the record @r. */
static void close_gap(struct pump_file *f, const struct log_record *r) {
    int64_t time_ns;
    if (f->gap.open && parse_rfc3339_ns(r->time, &time_ns) == 0)
        log_gap_close(&f->gap, time_ns);
}

static void report_gap(struct pump_file *f) {
    char text[LOG_GAP_TEXT_MAX];
    if (log_gap_report(&f->gap, clock_now_us(), f->ended, text))
        report_loss(f, text);
}

/* Notes that a log file cannot be used, with the error @r. @bytes: what it still contained; 0 when
 * not known. */
static void note_unusable(struct pump_file *f, int r, uint64_t bytes) {
    char why[LOG_GAP_WHY_MAX];
    if (r == -ENOMEM)
        snprintf(why, sizeof(why), "the log pump is out of memory");
    else
        snprintf(why, sizeof(why), "Docker's log file cannot be read: %s", strerror(-r));
    note_gap(f, why, bytes);
}

/* Counts a piece of damage and reports the first one. */
static void note_damage(struct pump_file *f) {
    if (f->in_damage)
        return; /* the same piece of damage, read in several steps */
    f->in_damage = true;
    if (f->sum.damaged++ == 0)
        report_loss(f, "a damaged record in Docker's log file was skipped");
}

/* Notes a gap when the oldest record that is left is newer than everything that was delivered. */
static void check_oldest(struct pump_file *f, const struct log_record *r) {
    int64_t time_ns;
    if (f->delivered_ns && parse_rfc3339_ns(r->time, &time_ns) == 0 && time_ns > f->delivered_ns)
        note_gap(f, GAP_ROTATED, 0);
    f->delivered_ns = 0;
}

/* Reports dropped bytes: the first loss immediately, the sum of later ones once a minute and at
 * the end. */
static void report_dropped(struct pump_file *f) {
    uint64_t now = clock_now_us(), more = f->sum.dropped_bytes - f->dropped_reported;
    char text[TEXT_MAX];
    bool early = f->dropped_reported && now < f->dropped_reported_us + REPORT_EVERY_US;
    if (more == 0 || (early && !f->ended))
        return;
    f->dropped_reported = f->sum.dropped_bytes;
    f->dropped_reported_us = now;
    snprintf(text, sizeof(text),
             "%llu KiB of Docker's log were dropped: Nomad has not read the task's output for so "
             "long that log_backlog (%llu MiB) was exceeded",
             (unsigned long long)(more >> 10),
             (unsigned long long)(f->shared->backlog_bytes >> 20));
    report_loss(f, text);
}

/* ---- log files ---- */

static void start_of(struct pump_file *f, const struct log_held_file *file) {
    f->at = (struct log_place){.file = file->id};
}

static void drop_oldest(struct pump_file *f) {
    log_held_drop(&f->held);
    if (f->held.n > 0)
        start_of(f, &f->held.files[0]);
}

/* Drops the oldest files while the held files exceed the limit. The newest file is never dropped,
 * whatever its size, because dockerd writes to it. Nothing is dropped while the reader skips what
 * was delivered before. */
static void limit_backlog(struct pump_file *f) {
    while (!f->skipping && f->held.n > 1 &&
           log_held_rotated(&f->held, f->at.offset) > f->shared->backlog_bytes) {
        uint64_t size = f->held.files[0].size;
        f->sum.dropped_bytes += size > f->at.offset ? size - f->at.offset : 0;
        drop_oldest(f);
    }
    report_dropped(f);
}

/* Finds where stream @s continues. Returns its file and *@ret_offset. When its place is lost, sets
 * *@lost and returns the oldest file, or the file itself when that was truncated. */
static const struct log_held_file *find_stream(struct pump_file *f, int s, uint64_t *ret_offset,
                                               bool *lost) {
    const struct pump_position *p = &f->record->stream[s].at;
    struct replay *y = &f->replay[s];
    *ret_offset = 0;
    *y = (struct replay){.by = p->time.time_ns ? REPLAY_TIME : REPLAY_NO, .time = p->time};
    if (p->place.file.ino == 0)
        return &f->held.files[0];
    *y = (struct replay){0};
    const struct log_held_file *file = log_held_find(&f->held, &p->place.file);
    if (!file) {
        *lost = true;
        return &f->held.files[0];
    }
    if (p->place.offset > file->size ||
        (p->place.mark && p->place.mark != log_held_mark_read(file->fd, p->place.offset))) {
        *lost = true; /* truncated and written again */
        return file;
    }
    *y = (struct replay){.by = REPLAY_PLACE,
                         .number = file->number,
                         .offset = p->place.offset,
                         .done = p->place.done};
    *ret_offset = p->place.offset;
    return file;
}

/* Returns true when the position is after a message, and not only the time of a take-over. */
static bool is_delivered(const struct log_position *p) {
    return p->time_ns && (p->nth > 0 || p->offset > 0);
}

/* Begins to skip delivered records when a position is only a time, as an older pump or the API
 * reader left it. The log is then searched for the time. Each stream's messages were delivered in
 * order, so the newer of the two positions is known to have been in the log. After the clock was
 * set back, it says nothing. */
static void begin_skipping(struct pump_file *f) {
    f->skipping = f->replay[0].by == REPLAY_TIME || f->replay[1].by == REPLAY_TIME;
    f->delivered_ns = 0;
    for (int s = 0; s < 2; s++) {
        const struct pump_position *p = &f->record->stream[s].at;
        if (p->place.file.ino || f->record->stream[s].top_sec) {
            f->delivered_ns = 0;
            return;
        }
        if (is_delivered(&p->time) && p->time.time_ns > f->delivered_ns)
            f->delivered_ns = p->time.time_ns;
    }
}

/* Begins at the older of the two streams' places. Records that the other stream had already are
 * skipped on the way. */
static void find_place(struct pump_file *f) {
    uint64_t offset[2];
    bool lost = false;
    const struct log_held_file *file[2];
    for (int s = 0; s < 2; s++)
        file[s] = find_stream(f, s, &offset[s], &lost);
    int first = file[1]->number < file[0]->number ||
                (file[1]->number == file[0]->number && offset[1] < offset[0]);
    uint64_t number = file[first]->number;
    while (f->held.files[0].number < number)
        log_held_drop(&f->held);
    start_of(f, &f->held.files[0]);
    f->at.offset = offset[first];
    f->at.mark = log_held_mark_read(f->held.files[0].fd, f->at.offset);
    f->placed = true;
    begin_skipping(f);
    if (lost)
        note_gap(f, GAP_ROTATED, 0);
}

/* Notes a gap when another program has removed Docker's log. A container that is being started has
 * no log yet. */
static void note_missing(struct pump_file *f) {
    if (f->missing || !f->record->stream[0].at.place.file.ino ||
        log_opener_watch_is_removed(f->watch))
        return;
    f->missing = true;
    note_gap(f, "Docker's log file is not there", 0);
}

/* Takes the files that the opener found. The first time, also finds the place in them. */
static void take_files(struct pump_file *f) {
    struct log_found found[16];
    size_t n;
    while ((n = log_opener_watch_take(f->watch, found, ARRAY_LEN(found))) > 0)
        for (size_t i = 0; i < n; i++) {
            int r = log_held_add(&f->held, &found[i]);
            if (r < 0)
                note_unusable(f, r, 0);
        }
    if (f->begun && f->held.n == 0)
        note_missing(f);
    if (!f->begun || f->held.n == 0)
        return;
    if (!f->placed)
        find_place(f);
    limit_backlog(f);
}

/* The oldest file is read to its end: continues with the next one. Returns true when there is
 * another file. */
static bool next_file(struct pump_file *f) {
    if (f->held.n < 2)
        return false;
    drop_oldest(f);
    if (f->held.files[0].gap)
        note_gap(f, "Docker's log file was rotated away before the log pump could open it", 0);
    return true;
}

/* The file was truncated in place: starts again at its front. */
static void restart_truncated(struct pump_file *f) {
    start_of(f, &f->held.files[0]);
    f->replay[0].by = f->replay[1].by = REPLAY_NO;
    f->skipping = false;
    note_gap(f, "Docker's log file was truncated in place", 0);
}

/* ---- records ---- */

/* The three functions replayed*() return how many bytes of a record's message an earlier
 * reader delivered. */
static size_t replayed_by_time(struct replay *y, int64_t time_ns, size_t len) {
    if (y->cursor.time_ns == time_ns)
        y->cursor.nth++;
    else
        y->cursor = (struct log_position){.time_ns = time_ns};
    struct log_position message = {.time_ns = y->time.time_ns, .nth = y->time.nth};
    int order = pump_record_compare(&y->cursor, &message);
    if (order < 0)
        return len;
    y->by = REPLAY_NO;
    return order == 0 && y->time.offset < len ? y->time.offset : order == 0 ? len : 0;
}

static size_t replayed_by_place(struct replay *y, uint64_t number, uint64_t offset, size_t len) {
    if (number < y->number || (number == y->number && offset < y->offset))
        return len;
    y->by = REPLAY_NO;
    bool same = number == y->number && offset == y->offset;
    return !same ? 0 : y->done < len ? y->done : len;
}

static size_t replayed_bytes(struct pump_file *f, const struct log_record *r, uint64_t offset) {
    struct replay *y = &f->replay[r->stream];
    int64_t time_ns;
    switch (y->by) {
    case REPLAY_PLACE:
        return replayed_by_place(y, f->held.files[0].number, offset, r->text_len);
    case REPLAY_TIME:
        if (parse_rfc3339_ns(r->time, &time_ns) == 0)
            return replayed_by_time(y, time_ns, r->text_len);
        return r->text_len;
    default:
        return 0;
    }
}

static size_t room_in_block(struct pump_out *o) {
    return PUMP_OUT_MAX - o->len;
}

/* Gathers the message of one record that begins at @at. @next: the place after the record. Returns
 * false when its FIFO takes nothing more. */
static bool add_record(struct pump_file *f, const struct log_record *r, const struct log_place *at,
                       const struct log_place *next) {
    struct pump_out *o = f->out[r->stream];
    if (room_in_block(o) < r->text_len && !pump_out_flush(o) && room_in_block(o) < r->text_len)
        return false;
    size_t done = replayed_bytes(f, r, at->offset);
    f->skipping = f->skipping && done == r->text_len;
    while (done < r->text_len) {
        size_t n = pump_out_room(o), left = r->text_len - done;
        n = n < left ? n : left;
        struct pump_position after = {.place = n == left ? *next : *at};
        if (n < left)
            after.place.done = (uint32_t)(done + n);
        if (pump_out_add(o, f->shared->text + done, n, &after) < 0)
            return false; /* out of memory; only the first piece can fail */
        done += n;
    }
    memcpy(f->time, r->time, sizeof(f->time));
    return true;
}

/* Moves @at from @from to @p. Both are in the bytes that were read, which begin at @buf. */
static void move_to(struct log_place *at, const char *buf, const char *from, const char *p) {
    at->offset += (uint64_t)(p - from);
    at->mark = p - buf >= LOG_MARK_LEN ? log_held_mark(p) : 0;
}

/* Gathers the records in @data. The mark is computed from the bytes before a record, and those
 * before the first record begin at @buf. Moves f->at past everything that is processed. */
static void gather_records(struct pump_file *f, const char *buf, const char *data, size_t len) {
    const char *p = data, *end = data + len, *newline;
    while ((newline = memchr(p, '\n', (size_t)(end - p)))) {
        struct log_record r;
        size_t size = (size_t)(newline - p);
        const char *from = p;
        if (log_record_parse(p, size, f->shared->text, &r) < 0 || r.text_len > PUMP_OUT_MAX) {
            note_damage(f);
            p += log_record_resync(p, size);
            p += p == newline;
            f->in_damage = p <= newline; /* the same piece of damage, until a record is found */
            move_to(&f->at, buf, from, p);
            f->read_bytes += (uint64_t)(p - from);
            continue;
        }
        struct log_place next = f->at;
        p = newline + 1;
        move_to(&next, buf, from, p);
        f->in_damage = false;
        check_oldest(f, &r);
        close_gap(f, &r);
        f->stuck = !add_record(f, &r, &f->at, &next);
        if (f->stuck)
            return;
        f->at = next;
        f->read_bytes += (uint64_t)(p - from);
    }
}

/* The bytes that were read contain no whole record: skips them when no more bytes can complete one.
 * Returns true when there may be more to read. */
static bool no_record(struct pump_file *f, size_t len) {
    bool full = len == READ_MAX, complete = f->held.n > 1 || f->finishing;
    if (len == 0 || (!full && !complete))
        return len == 0 && next_file(f);
    size_t skip = full ? len - START_LEN : len;
    note_damage(f);
    f->read_bytes += skip;
    f->at.offset += skip;
    f->at.mark = log_held_mark_read(f->held.files[0].fd, f->at.offset);
    return true;
}

/* Returns the unread bytes of the oldest file when the reader now leaves it for the next one. The
 * newest file is read again later. */
static uint64_t bytes_lost(const struct pump_file *f) {
    uint64_t size = f->held.files[0].size;
    return f->held.n > 1 && size > f->at.offset ? size - f->at.offset : 0;
}

/* Reads once. Returns true when there may be more to read. */
static bool read_some(struct pump_file *f, size_t max) {
    if (f->held.n == 0)
        return false;
    size_t lead = f->at.mark ? LOG_MARK_LEN : 0;
    char *buf = f->shared->buf, *data = buf + lead;
    ssize_t n = pread(f->held.files[0].fd, buf, lead + max, (off_t)(f->at.offset - lead));
    if (n < 0) {
        note_unusable(f, -errno, bytes_lost(f));
        return next_file(f);
    }
    struct stat st;
    bool shrunk =
        n == 0 && fstat(f->held.files[0].fd, &st) == 0 && (uint64_t)st.st_size < f->at.offset;
    if (shrunk || (size_t)n < lead || (lead && log_held_mark(data) != f->at.mark)) {
        restart_truncated(f);
        return true;
    }
    size_t len = (size_t)n - lead;
    uint64_t before = f->read_bytes;
    gather_records(f, buf, data, len);
    if (f->stuck)
        return false;
    if (f->read_bytes > before)
        return len == max || f->held.n > 1 || f->finishing; /* otherwise it was read to the end */
    if (len == max && max < READ_MAX)
        return read_some(f, READ_MAX);
    return no_record(f, len);
}

/* ---- delivery ---- */

/* Returns true when the reader has passed everything that an earlier reader delivered, even when
 * the stream is silent. */
static bool is_passed(const struct pump_file *f, const struct replay *y) {
    uint64_t number = f->held.files[0].number;
    switch (y->by) {
    case REPLAY_PLACE:
        return number > y->number ||
               (number == y->number &&
                (f->at.offset > y->offset || (f->at.offset == y->offset && y->done == 0)));
    case REPLAY_TIME: /* the times of the two streams are a little out of order */
        return f->sum.newest_ns > y->time.time_ns + TIME_SKEW_NS;
    default:
        return true;
    }
}

/* Records the reader's place for each stream without gathered bytes, because everything before that
 * place is delivered. */
static void note_place(struct pump_file *f) {
    for (int s = 0; s < 2 && f->placed && f->held.n > 0; s++) {
        const struct log_place *was = &f->record->stream[s].at.place;
        if (is_passed(f, &f->replay[s]))
            f->replay[s].by = REPLAY_NO;
        if (f->out[s]->len > 0 || f->replay[s].by != REPLAY_NO ||
            memcmp(was, &f->at, sizeof(*was)) == 0)
            continue;
        pump_record_begin(f->record, s, &(struct pump_position){.place = f->at});
        pump_record_commit(f->record, s);
    }
}

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
    note_place(f);
    note_time(f);
    report_gap(f);
}

/* ---- when to read ---- */

/* Calls `drained`, once. May free @f. */
static void end_reading(struct pump_file *f) {
    if (f->ended)
        return;
    f->ended = true;
    loop_timer_at(f->timer, 0);
    report_dropped(f);
    report_gap(f);
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
        more = read_some(f, READ_FIRST);
        deliver_records(f);
    }
    *ret_got += f->read_bytes - before;
    return !more;
}

/* Called at the end of the log: ends, or sets the time of the next read. */
static void rest_at_end(struct pump_file *f, uint64_t got) {
    bool armed = false;
    log_gap_close(&f->gap, 0); /* no record follows now */
    report_gap(f);
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
    take_files(f);
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
        take_files(f); /* files are taken even while the FIFO is full */
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
