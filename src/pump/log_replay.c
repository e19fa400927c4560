/* SPDX-License-Identifier: MPL-2.0 */
/* Compares what arrives with what was delivered. pump_api.c passes each piece to log_replay_take()
 * before it delivers the piece.
 *
 * A print covers only the first PRINT_BYTES of a message, so it costs little. Pieces of a long line
 * that all begin alike differ by their number only. */
#include "src/pump/log_replay.h"

#define PRINT_BYTES 64
#define PRINT_BASIS UINT32_C(2166136261) /* FNV-1a */
#define PRINT_PRIME UINT32_C(16777619)

/* Adds @len bytes of @p to the print of its message. */
static uint32_t print_more(uint32_t print, const struct log_piece *p, size_t len) {
    for (size_t i = 0; i < len && p->offset + i < PRINT_BYTES; i++)
        print = (print ^ (unsigned char)p->data[i]) * PRINT_PRIME;
    return print ? print : 1; /* 0 means not known */
}

void log_replay_begin(struct log_replay *r, const struct log_position *at, int64_t top_ns,
                      uint32_t missing) {
    *r = (struct log_replay){
        .at = *at, .top_ns = top_ns, .missing = missing, .replays = at->time_ns != 0};
}

static bool is_at_time(const struct log_replay *r) {
    return r->at.time_ns != 0 && r->cursor.time_ns == r->at.time_ns;
}

static void next_message(struct log_replay *r, const struct log_piece *p) {
    uint32_t first = r->cursor.first;
    if (r->any && r->cursor.time_ns == p->time_ns) {
        r->cursor =
            (struct log_position){.time_ns = p->time_ns, .nth = r->cursor.nth + 1, .first = first};
    } else {
        r->cursor = (struct log_position){.time_ns = p->time_ns};
        if (is_at_time(r) && r->missing > 0) {
            r->cursor.nth = r->missing;
            r->cursor.first = r->at.first;
        }
        r->any = true;
    }
    r->print = PRINT_BASIS;
}

/* True when @p completes the print: the whole message, or PRINT_BYTES of it, has arrived. */
static bool is_printed(const struct log_piece *p) {
    return p->offset < PRINT_BYTES && (p->end || p->offset + p->len >= PRINT_BYTES);
}

/* Checks that the first message of its time is the same as before. Otherwise the front of the log
 * is lost. */
static void check_front(struct log_replay *r, const struct log_piece *p) {
    if (r->cursor.nth != 0 || !is_printed(p))
        return;
    r->cursor.first = r->print;
    if (r->replays && is_at_time(r) && r->at.nth > 0 && r->at.first && r->at.first != r->print)
        r->front_lost = true;
}

/* Notes the number of the message when it is the last one that was delivered, whole or in part. */
static void look_for_last(struct log_replay *r, const struct log_piece *p) {
    if (r->found || !is_at_time(r) || !r->at.last)
        return;
    uint32_t part = r->at.offset < PRINT_BYTES ? r->at.offset : PRINT_BYTES;
    bool whole = r->at.offset == 0 && is_printed(p);
    bool reached = r->at.offset > 0 && p->offset < part && p->offset + p->len >= part;
    if (reached) /* the present print may cover more than the delivered part */
        reached = print_more(r->last_print, p, part - p->offset) == r->at.last;
    if (reached || (whole && r->print == r->at.last)) {
        r->found = true;
        r->found_nth = r->cursor.nth;
    }
}

/* Returns how many bytes of the piece were delivered. Clears `replays` at the first byte that
 * was not. */
static size_t delivered_bytes(struct log_replay *r, const struct log_piece *p) {
    const struct log_position *at = &r->at;
    if (r->front_lost)
        return p->len;
    if (is_at_time(r) && r->cursor.nth == at->nth) {
        if (p->offset + p->len > at->offset || p->end)
            r->replays = false;
        size_t done = at->offset > p->offset ? at->offset - p->offset : 0;
        return done < p->len ? done : p->len;
    }
    bool last = at->offset == 0 && is_at_time(r) && r->cursor.nth + 1 == at->nth;
    if (last && p->end)
        r->replays = false;                          /* whatever time follows */
    bool is_message = at->nth > 0 || at->offset > 0; /* false: the time of a take-over */
    if (last || pump_record_compare(&r->cursor, at) < 0 ||
        (is_message && r->cursor.time_ns < r->top_ns))
        return p->len;
    r->replays = false;
    return 0;
}

size_t log_replay_take(struct log_replay *r, const struct log_piece *p) {
    if (p->offset == 0)
        next_message(r, p);
    r->cursor.offset = (uint32_t)p->offset;
    r->last_print = r->print;
    r->print = print_more(r->print, p, p->len);
    check_front(r, p);
    look_for_last(r, p);
    return r->replays ? delivered_bytes(r, p) : 0;
}

struct log_position log_replay_after(const struct log_replay *r, const struct log_piece *p) {
    struct log_position after = r->cursor;
    after.last = r->print;
    after.offset = (uint32_t)(p->offset + p->len);
    if (p->end) {
        after.nth++;
        after.offset = 0;
    }
    return after;
}

bool log_replay_is_front_lost(const struct log_replay *r) {
    return r->front_lost;
}

uint32_t log_replay_missing(const struct log_replay *r) {
    uint32_t known =
        r->at.offset > 0 ? r->at.nth : r->at.nth - 1; /* the number of the last delivered message */
    return r->found && known >= r->found_nth ? known - r->found_nth
                                             : r->at.nth + (r->at.offset > 0);
}
