/* SPDX-License-Identifier: MPL-2.0 */
/* The files of the log that a reader holds, and its place in them.
 *
 * The opener finds the files (log_opener.h). This file takes them, and finds in them the place that
 * the record names. The difficult part is a place that no longer exists: its file was rotated away,
 * truncated or written again. The reader then begins at the oldest byte that is left, and a gap is
 * noted. pump_file.c and pump_file_read.c call it. */
#include "src/pump/pump_file_priv.h"

#include <string.h>

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
    pump_file_loss_report_dropped(f);
}

/* Finds where stream @s continues. Returns its file and *@ret_offset. When its place is lost, sets
 * *@lost and returns the oldest file, or the file itself when that was truncated. */
static const struct log_held_file *find_stream(struct pump_file *f, int s, uint64_t *ret_offset,
                                               bool *lost) {
    const struct pump_position *p = &f->record->stream[s].at;
    struct pump_file_replay *y = &f->replay[s];
    *ret_offset = 0;
    *y =
        (struct pump_file_replay){.by = p->time.time_ns ? REPLAY_TIME : REPLAY_NO, .time = p->time};
    if (p->place.file.ino == 0)
        return &f->held.files[0];
    *y = (struct pump_file_replay){0};
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
    *y = (struct pump_file_replay){.by = REPLAY_PLACE,
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
        pump_file_loss_gap(f, PUMP_FILE_ROTATED, 0);
}

/* Notes a gap when another program has removed Docker's log. A container that is being started has
 * no log yet. */
static void note_missing(struct pump_file *f) {
    if (f->missing || !f->record->stream[0].at.place.file.ino ||
        log_opener_watch_is_removed(f->watch))
        return;
    f->missing = true;
    pump_file_loss_gap(f, "Docker's log file is not there", 0);
}

void pump_file_place_take_files(struct pump_file *f) {
    struct log_found found[16];
    size_t n;
    while ((n = log_opener_watch_take(f->watch, found, ARRAY_LEN(found))) > 0)
        for (size_t i = 0; i < n; i++) {
            int r = log_held_add(&f->held, &found[i]);
            if (r < 0)
                pump_file_loss_unusable(f, r, 0);
        }
    if (f->begun && f->held.n == 0)
        note_missing(f);
    if (!f->begun || f->held.n == 0)
        return;
    if (!f->placed)
        find_place(f);
    limit_backlog(f);
}

bool pump_file_place_next_file(struct pump_file *f) {
    if (f->held.n < 2)
        return false;
    drop_oldest(f);
    if (f->held.files[0].gap)
        pump_file_loss_gap(
            f, "Docker's log file was rotated away before the log pump could open it", 0);
    return true;
}

void pump_file_place_restart(struct pump_file *f) {
    start_of(f, &f->held.files[0]);
    f->replay[0].by = f->replay[1].by = REPLAY_NO;
    f->skipping = false;
    pump_file_loss_gap(f, "Docker's log file was truncated in place", 0);
}

void pump_file_place_store(struct pump_file *f) {
    for (int s = 0; s < 2 && f->placed && f->held.n > 0; s++) {
        const struct log_place *was = &f->record->stream[s].at.place;
        if (pump_file_replay_is_passed(&f->replay[s], f->held.files[0].number, f->at.offset,
                                       f->sum.newest_ns))
            f->replay[s].by = REPLAY_NO;
        if (f->out[s]->len > 0 || f->replay[s].by != REPLAY_NO ||
            memcmp(was, &f->at, sizeof(*was)) == 0)
            continue;
        pump_record_begin(f->record, s, &(struct pump_position){.place = f->at});
        pump_record_commit(f->record, s);
    }
}
