/* SPDX-License-Identifier: MPL-2.0 */
/* Pure functions: which bytes of a record an earlier reader delivered. pump_file_read.c asks for
 * each record.
 *
 * A position names the next record by its place in a file, or only by its time (pump_record.h). By
 * time, messages of the same time are told apart by their number. */
#include "src/pump/pump_file_replay.h"

#include "paddock/parse.h"

#define TIME_SKEW_NS INT64_C(2000000000) /* between the times of the two streams */

/* Return how many bytes of a message were delivered before, as pump_file_replay_take(). */
static size_t replayed_by_time(struct pump_file_replay *y, int64_t time_ns, size_t len) {
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

static size_t replayed_by_place(struct pump_file_replay *y, uint64_t number, uint64_t offset,
                                size_t len) {
    if (number < y->number || (number == y->number && offset < y->offset))
        return len;
    y->by = REPLAY_NO;
    bool same = number == y->number && offset == y->offset;
    return !same ? 0 : y->done < len ? y->done : len;
}

size_t pump_file_replay_take(struct pump_file_replay *y, const struct log_record *r,
                             uint64_t number, uint64_t offset) {
    int64_t time_ns;
    switch (y->by) {
    case REPLAY_PLACE:
        return replayed_by_place(y, number, offset, r->text_len);
    case REPLAY_TIME:
        if (parse_rfc3339_ns(r->time, &time_ns) == 0)
            return replayed_by_time(y, time_ns, r->text_len);
        return r->text_len;
    default:
        return 0;
    }
}

bool pump_file_replay_is_passed(const struct pump_file_replay *y, uint64_t number, uint64_t offset,
                                int64_t newest_ns) {
    switch (y->by) {
    case REPLAY_PLACE:
        return number > y->number ||
               (number == y->number &&
                (offset > y->offset || (offset == y->offset && y->done == 0)));
    case REPLAY_TIME: /* the times of the two streams are a little out of order */
        return newest_ns > y->time.time_ns + TIME_SKEW_NS;
    default:
        return true;
    }
}
