#pragma once
/* How far each task's output has been delivered, kept where it outlives the pump: a small file per
 * container, mapped into memory, so that each step is a store and not a system call.
 *
 * A position is the next byte to deliver. It is noted in one of two ways, by how the log is read:
 * - from Docker's API: message number `nth` of those with the time `time_ns`, at `offset`;
 * - from Docker's log file: the record at a byte of a file, and how many bytes of its message are
 *   delivered. Inode numbers are used again immediately, so the file's time of birth belongs to its
 *   identity. `mark` sums up the bytes before the record: after the file was truncated in place and
 *   written again it differs.
 * A task whose log file was never read, for example one that an older pump followed, has a time
 * only. The file reader finds the place by it.
 *
 * The write to the FIFO and its record cannot be one step. So the position after the write is noted
 * before it (`intent`), and becomes the position after it. When a pump finds an open intent, the
 * write counts as done: a SIGKILL takes effect when a system call returns, and the write was one
 * step away; a write is only begun when poll() said that it will be taken whole. */
#include "paddock/cleanup.h"
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct log_position {
    int64_t time_ns;
    uint32_t nth;
    uint32_t offset;
    /* Prints (log_replay.c) of the first message of that time, and of the last one that was
     * delivered or of its delivered part. 0: not known. */
    uint32_t first, last;
};

struct log_file_id {
    uint64_t dev, ino; /* ino 0: no file */
    int64_t born_ns;   /* since 1970; 0: the file system does not know */
};

struct log_place {
    struct log_file_id file;
    uint64_t offset; /* of the record's first byte */
    uint32_t done;   /* bytes of its message that are delivered */
    uint32_t mark;   /* of the bytes before the record, log_mark(); 0: not known */
};

struct pump_position {
    struct log_position time;
    struct log_place place;
};

/* The lowest byte is the layout's number. What stands up to resume_ns stays where it is in all. */
#define PUMP_RECORD_MAGIC UINT32_C(0x70616433)

#define PUMP_FIFO_PATH_MAX 1024

struct pump_record {
    uint32_t magic;
    uint32_t tty;
    char task_id[512];
    char container_id[65];
    char path[2][PUMP_FIFO_PATH_MAX]; /* FIFOs of stdout and stderr; "" = none */
    /* The time of the oldest message that is not delivered. The API's log is asked for from there.
     */
    _Atomic int64_t resume_ns;
    struct {
        struct pump_position at, intent;
        atomic_uint intent_open;
        /* Not 0: the clock was set back, and what was delivered may be as new as this second. In
         * what an older pump left it is 0. */
        uint32_t top_sec;
    } stream[2];
    char log_path[1024]; /* Docker's log file; "": not known, or not read from the file */
};

/** -1, 0, 1. Pure. */
int log_position_compare(const struct log_position *a, const struct log_position *b);

/** Makes the record @name below @dir_fd, or opens the existing one (*ret_fresh false). One of the
 *  layout before is converted. Returns 0; -EPROTO: damaged, or its layout is not known; -errno.
 *  Owner: caller, pump_record_close. */
int pump_record_open(int dir_fd, const char *name, struct pump_record **ret,
                     bool *ret_fresh) MUST_CHECK;
/** Removes a record that pump_record_open refused. *@ret_known_ns: what is older was delivered;
 *  @now_ns when the record does not contain it: a gap is better than the whole log once more.
 *  Returns 0; -errno. */
int pump_record_drop(int dir_fd, const char *name, int64_t now_ns,
                     int64_t *ret_known_ns) MUST_CHECK;
/** The FIFOs that the record @name of any layout is about. Returns 0; -EPROTO; -errno. */
int pump_record_read_paths(int dir_fd, const char *name,
                           char ret_paths[2][PUMP_FIFO_PATH_MAX]) MUST_CHECK;
/** Writes @r as the file @name below @dir_fd and maps that in its place, at the same address. A
 * file that is there is taken for this record: nothing. Returns 0; -errno, and @r is as before. */
int pump_record_move(struct pump_record *r, int dir_fd, const char *name) MUST_CHECK;
/** NULL allowed. The file stays. */
void pump_record_close(struct pump_record *r);

/** The intent of a write, and what follows it. @s: 0 stdout, 1 stderr. */
void pump_record_begin(struct pump_record *r, int s, const struct pump_position *behind);
void pump_record_commit(struct pump_record *r, int s);
void pump_record_abort(struct pump_record *r, int s);
/** After a restart: an open intent counts as written. */
void pump_record_settle(struct pump_record *r);
