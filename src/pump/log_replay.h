/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Finds out what Docker's API sends again although it was delivered before, for one of the
 * two streams.
 *
 * In the API a message has no identity but its time and its number among the messages of that time.
 * Numbers are counted from the first message of the time. dockerd gives all pieces of a long line
 * the time of the first piece. So when the log was rotated in the middle of a line, the count
 * begins too late. The first message shows this, because a position contains a print (a checksum)
 * of it. Then the log is read once to its end (the probe), to look for the last message that was
 * delivered. Its place says how many messages are missing at the front. Pure. */
#include "src/pump/log_parser.h"
#include "src/pump/pump_record.h"

struct log_replay {
    /* As log_replay_begin() set it. */
    struct log_position at; /* delivered up to here */
    int64_t top_ns;   /* not 0: the clock was set back; times up to this one may be delivered */
    uint32_t missing; /* messages of at.time_ns that are missing at the front of the log */
    /* The present state. */
    struct log_position cursor; /* the message that is being read */
    uint32_t print, last_print; /* of the message so far; the same before the last piece */
    bool any;                   /* cursor is valid */
    bool replays;               /* the stream is still before the end of what was delivered */
    bool front_lost;
    bool found; /* the probe found the last delivered message, as number found_nth */
    uint32_t found_nth;
};

/** Begins a stream that starts before @at. @missing: the result of a probe, or 0. */
void log_replay_begin(struct log_replay *r, const struct log_position *at, int64_t top_ns,
                      uint32_t missing);
/** Moves the position to @p. Returns how many bytes of @p were delivered before. */
size_t log_replay_take(struct log_replay *r, const struct log_piece *p);
/** Returns the position after @p, the piece that was taken last. */
struct log_position log_replay_after(const struct log_replay *r, const struct log_piece *p);
/** Returns true when the front of the log is missing, so that the counts are wrong. Nothing was
 * delivered then, and the caller has to start a probe. */
bool log_replay_is_front_lost(const struct log_replay *r);

/** Call it after the whole log was taken. Returns how many messages of at.time_ns are missing at
 * its front. When no delivered message is left in the log, all of them are missing. */
uint32_t log_replay_missing(const struct log_replay *r);
