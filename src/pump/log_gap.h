/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The lines that a reader of one container's log files has missed, until they are reported.
 *
 * The size of a gap is the time from the last record that was read to the first one after the gap.
 * Its bytes are known only when the file is still open and cannot be read: what was rotated away or
 * truncated had an unknown size. Pure functions; the reader's thread calls them. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_GAP_WHY_MAX 128
#define LOG_GAP_TEXT_MAX 320

struct log_gap {
    char why[LOG_GAP_WHY_MAX]; /* of the first gap that is not reported yet */
    unsigned times;            /* gaps that are not reported yet */
    bool open;                 /* the first record after the last gap is not known yet */
    int64_t after_ns;          /* since 1970: the last record before the first gap; 0: not known */
    int64_t before_ns;         /* since 1970: the first record after the last gap; 0: not known */
    uint64_t bytes;            /* the known bytes of all gaps */
    uint64_t reported_us;      /* time of the last report; 0: none */
};

/** Notes a gap after the record of the time @after_ns. @bytes: 0 when not known. */
void log_gap_note(struct log_gap *g, const char *why, int64_t after_ns, uint64_t bytes);
/** Notes that the first record after the gap has the time @before_ns; 0 when there is none. Does
 * nothing when no gap is open. */
void log_gap_close(struct log_gap *g, int64_t before_ns);
/** Returns true with a sentence in @ret when a report is due: for the first gap as soon as it is
 * closed, for later ones once a minute, and for all that is left when @last. The gaps then count as
 * reported. @now_us: clock_now_us(). */
bool log_gap_report(struct log_gap *g, uint64_t now_us, bool last, char ret[LOG_GAP_TEXT_MAX]);
