/* SPDX-License-Identifier: MPL-2.0 */
/* Reads the log from the reader's place on, and gathers the records in the two FIFOs' blocks.
 *
 * A record is gathered whole or not at all, and the place moves past it only then. The difficult
 * part is damage: bytes that are no record are skipped to the next one. They may also be a record
 * that dockerd has not written completely yet. pump_file.c calls this file. */
#include "src/pump/pump_file_priv.h"

#include "src/pump/log_record.h"

#include <string.h>
#include <sys/stat.h>

/* The usual read, in bytes. It contains whole records nearly always; otherwise PUMP_FILE_READ_MAX
 * bytes are read. */
#define READ_FIRST ((size_t)64 << 10)
/* Length of a record's start. In the middle of damage, the end of what was read may cut such
 * a start. */
#define START_LEN 8

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
    size_t done =
        pump_file_replay_take(&f->replay[r->stream], r, f->held.files[0].number, at->offset);
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
            pump_file_loss_damage(f);
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
        pump_file_loss_found(f, &r);
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
    bool full = len == PUMP_FILE_READ_MAX, complete = f->held.n > 1 || f->finishing;
    if (len == 0 || (!full && !complete))
        return len == 0 && pump_file_place_next_file(f);
    size_t skip = full ? len - START_LEN : len;
    pump_file_loss_damage(f);
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
        pump_file_loss_unusable(f, -errno, bytes_lost(f));
        return pump_file_place_next_file(f);
    }
    struct stat st;
    bool shrunk =
        n == 0 && fstat(f->held.files[0].fd, &st) == 0 && (uint64_t)st.st_size < f->at.offset;
    if (shrunk || (size_t)n < lead || (lead && log_held_mark(data) != f->at.mark)) {
        pump_file_place_restart(f);
        return true;
    }
    size_t len = (size_t)n - lead;
    uint64_t before = f->read_bytes;
    gather_records(f, buf, data, len);
    if (f->stuck)
        return false;
    if (f->read_bytes > before)
        return len == max || f->held.n > 1 || f->finishing; /* otherwise it was read to the end */
    if (len == max && max < PUMP_FILE_READ_MAX)
        return read_some(f, PUMP_FILE_READ_MAX);
    return no_record(f, len);
}

bool pump_file_read(struct pump_file *f) {
    return read_some(f, READ_FIRST);
}
