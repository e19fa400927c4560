/* Compares what comes with what was delivered, for the API reader, which takes each piece through
 * log_replay_take before it delivers it. The prints are of a message's first PRINT_BYTES, so they
 * cost little; pieces of a line that all begin alike are told apart by their number alone. */
#include "log_replay.h"

#define PRINT_BYTES 64
#define PRINT_BASIS UINT32_C(2166136261) /* FNV-1a */
#define PRINT_PRIME UINT32_C(16777619)

static uint32_t print_more(uint32_t print, const struct log_piece *p, size_t len) {
    for (size_t i = 0; i < len && p->offset + i < PRINT_BYTES; i++)
        print = (print ^ (unsigned char)p->data[i]) * PRINT_PRIME;
    return print ? print : 1; /* 0: not known */
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

/* The message is known well enough to be compared: all of it, or PRINT_BYTES, came with @p. */
static bool is_printed(const struct log_piece *p) {
    return p->offset < PRINT_BYTES && (p->end || p->offset + p->len >= PRINT_BYTES);
}

/* The first message of its time must be the one that it was. */
static void check_front(struct log_replay *r, const struct log_piece *p) {
    if (r->cursor.nth != 0 || !is_printed(p))
        return;
    r->cursor.first = r->print;
    if (r->replays && is_at_time(r) && r->at.nth > 0 && r->at.first && r->at.first != r->print)
        r->front_lost = true;
}

/* Is it the last message that was delivered, or the one that was delivered in part? */
static void look_for_last(struct log_replay *r, const struct log_piece *p) {
    if (r->found || !is_at_time(r) || !r->at.last)
        return;
    uint32_t part = r->at.offset < PRINT_BYTES ? r->at.offset : PRINT_BYTES;
    bool whole = r->at.offset == 0 && is_printed(p);
    bool reached = r->at.offset > 0 && p->offset < part && p->offset + p->len >= part;
    if (reached) /* the print so far may be of more than that part */
        reached = print_more(r->last_print, p, part - p->offset) == r->at.last;
    if (reached || (whole && r->print == r->at.last)) {
        r->found = true;
        r->found_nth = r->cursor.nth;
    }
}

/* How many bytes of the piece were delivered, when what was is coming again. */
static size_t delivered(struct log_replay *r, const struct log_piece *p) {
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
    bool is_message = at->nth > 0 || at->offset > 0; /* not the time of a take-over */
    if (last || log_position_compare(&r->cursor, at) < 0 ||
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
    return r->replays ? delivered(r, p) : 0;
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
        r->at.offset > 0 ? r->at.nth : r->at.nth - 1; /* the number of what was found */
    return r->found && known >= r->found_nth ? known - r->found_nth
                                             : r->at.nth + (r->at.offset > 0);
}
