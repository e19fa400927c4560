/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* What earlier readers delivered to one stream, so that no byte is delivered twice. Pure. */
#include "src/pump/log_record.h"
#include "src/pump/pump_record.h"

struct pump_file_replay {
    enum { REPLAY_NO, REPLAY_PLACE, REPLAY_TIME } by;
    uint64_t number, offset;          /* by place: file number and offset of the next record */
    size_t done;                      /* by place: delivered bytes of that record's message */
    struct log_position time, cursor; /* by time: the next byte, and the present message */
};

/** Returns how many bytes of the message of @r an earlier reader delivered. @number and @offset:
 * the record's place. Call it for each record of the stream, in order. */
size_t pump_file_replay_take(struct pump_file_replay *y, const struct log_record *r,
                             uint64_t number, uint64_t offset);
/** Returns true when the reader has passed everything that an earlier reader delivered, even when
 * the stream is silent. @number and @offset: the reader's place; @newest_ns: time of the newest
 * record of both streams. */
bool pump_file_replay_is_passed(const struct pump_file_replay *y, uint64_t number, uint64_t offset,
                                int64_t newest_ns);
