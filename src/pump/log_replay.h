#pragma once
/* What of a log that Docker's API sends again was delivered before, for one of the two streams.
 *
 * A message has no identity in the API but its time and its number among the messages of that time.
 * Numbers are counted from the first message of the time. dockerd gives all pieces of a long line
 * the time of the first one, so when the log was rotated in the middle of a line, the count begins
 * too late. That shows in the first message: a position knows a print of it. Then the log is read
 * once to its end (`probe`) to look for the last message that was delivered; how many messages are
 * missing follows from where it is. Pure. */
#include "log_parser.h"
#include "pump_record.h"

struct log_replay {
    /* as begun */
    struct log_position at; /* delivered up to here */
    int64_t top_ns;         /* not 0: the clock was set back, and what was delivered may be newer */
    uint32_t missing;       /* messages of at's time that are gone from the front of the log */
    /* now */
    struct log_position cursor; /* the message that is being read */
    uint32_t print, last_print; /* of it so far; of the one before */
    bool any;                   /* cursor is valid */
    bool replays;               /* what was delivered before is coming again */
    bool front_lost;
    bool found; /* by the probe: the last message that was delivered, as the found_nth */
    uint32_t found_nth;
};

/** The log is read from before @at on. @missing: 0, or of a probe. */
void log_replay_begin(struct log_replay *r, const struct log_position *at, int64_t top_ns,
                      uint32_t missing);
/** Follows the position to @p; returns how many bytes of @p were delivered before. */
size_t log_replay_take(struct log_replay *r, const struct log_piece *p);
/** The position after the piece that was taken last. */
struct log_position log_replay_after(const struct log_replay *r, const struct log_piece *p);
/** Is the front of the log gone, so that the counts are wrong? Nothing was delivered then; the log
 * is to be probed. */
bool log_replay_is_front_lost(const struct log_replay *r);

/** After a whole log was taken: how many messages of at's time are missing at its front. When none
 * of what was delivered is left, all of it is. */
uint32_t log_replay_missing(const struct log_replay *r);
