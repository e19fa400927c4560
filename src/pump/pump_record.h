/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Records of how far each task's output was delivered, kept where they outlive the pump: a small
 * file per container, mapped into memory, so that each step is a store and not a system call.
 *
 * A position is the next byte to deliver. It has one of two forms, depending on how the log
 * is read:
 * - from Docker's API: message number `nth` of those with the time `time_ns`, at `offset`;
 * - from Docker's log file: the record at a byte of a file, and how many bytes of its message are
 *   delivered. Inode numbers are used again immediately, so the file's time of birth belongs to its
 *   identity. `mark` is a checksum of the bytes before the record. It differs after the file was
 *   truncated in place and written again.
 *
 * A task whose log file was never read, for example one that an older pump followed, has a time
 * only. The file reader finds the place by the time.
 *
 * The write to the FIFO and the update of its record cannot be one step. Therefore the position
 * after the write is stored before the write (`intent`), and becomes the position after the write.
 * When a pump finds an open intent, the write counts as done, for two reasons. A SIGKILL takes
 * effect when a system call returns, and the write was one step away. And a write is only begun
 * when poll() has reported that it will be taken whole. */
#include "paddock/cleanup.h"
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct log_position {
    int64_t time_ns;
    uint32_t nth;
    uint32_t offset;
    /* Prints (checksums, log_replay.c) of the first message of that time, and of the last message
     * that was delivered or of its delivered part. 0: not known. */
    uint32_t first, last;
};

struct log_file_id {
    uint64_t dev, ino; /* ino 0: no file */
    int64_t born_ns;   /* ns since 1970; 0: the file system does not know it */
};

struct log_place {
    struct log_file_id file;
    uint64_t offset; /* of the record's first byte */
    uint32_t done;   /* bytes of its message that are delivered */
    uint32_t mark;   /* log_held_mark() of the bytes before the record; 0: not known */
};

struct pump_position {
    struct log_position time;
    struct log_place place;
};

/* The lowest byte is the number of the layout. The members up to resume_ns have the same offset in
 * all layouts. */
#define PUMP_RECORD_MAGIC UINT32_C(0x70616433)

#define PUMP_FIFO_PATH_MAX 1024

struct pump_record {
    uint32_t magic;
    uint32_t tty;
    char task_id[512];
    char container_id[65];
    char path[2][PUMP_FIFO_PATH_MAX]; /* FIFOs of stdout and stderr; "" = none */
    /* The time of the oldest message that is not delivered, in nanoseconds since 1970. The API's
     * log is requested from there. */
    _Atomic int64_t resume_ns;
    struct {
        struct pump_position at, intent;
        atomic_uint intent_open;
        /* Not 0: the clock was set back, and delivered messages may be as new as this second (since
         * 1970). It is 0 in records of older pumps. */
        uint32_t top_sec;
    } stream[2];
    char log_path[1024]; /* Docker's log file; "": not known, or not read from the file */
};

/** Compares by time, number and offset. Returns -1, 0 or 1. Pure. */
int pump_record_compare(const struct log_position *a, const struct log_position *b);

/** Makes the record @name below @dir_fd, or opens the existing one (*ret_fresh false). A record of
 * the previous layout is converted. Returns 0; -EPROTO when it is damaged or its layout is not
 * known; -errno. Owner: caller, pump_record_close(). */
int pump_record_open(int dir_fd, const char *name, struct pump_record **ret,
                     bool *ret_fresh) MUST_CHECK;
/** Removes a record that pump_record_open() refused. *@ret_known_ns: messages that are older than
 * this time were delivered. It is @now_ns when the record does not contain the time, because a gap
 * is better than the whole log a second time. Returns 0; -errno. */
int pump_record_drop(int dir_fd, const char *name, int64_t now_ns,
                     int64_t *ret_known_ns) MUST_CHECK;
/** Reads the FIFO paths from the record @name, which can have any layout. Returns 0;
 * -EPROTO; -errno. */
int pump_record_read_paths(int dir_fd, const char *name,
                           char ret_paths[2][PUMP_FIFO_PATH_MAX]) MUST_CHECK;
/** Writes @r as the file @name below @dir_fd and maps that file in its place, at the same
 * address. Does nothing when the file exists, and counts it as this record. Returns 0; -errno,
 * and @r is as before. */
int pump_record_move(struct pump_record *r, int dir_fd, const char *name) MUST_CHECK;
/** Releases the record. The file stays. NULL allowed. Keeps errno. */
void pump_record_close(struct pump_record *r);

/** The steps of a write to stream @s (0 stdout, 1 stderr). pump_record_begin() stores the position
 * after the write (@after). Then either pump_record_commit() makes it the position of the stream,
 * or pump_record_abort() drops it. */
void pump_record_begin(struct pump_record *r, int s, const struct pump_position *after);
void pump_record_commit(struct pump_record *r, int s);
void pump_record_abort(struct pump_record *r, int s);
/** Call it after a restart: an open intent counts as written. */
void pump_record_settle(struct pump_record *r);
