/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The parts of the reader of one container's log files. Each calls only those below it:
 *
 *   pump_file.c         when it reads and delivers; begin and end of the reader
 *   pump_file_read.c    from the file's bytes to records in the FIFOs' blocks
 *   pump_file_place.c   which files it holds, and where in them it is
 *   pump_file_loss.c    counts and reports what is lost
 *   pump_file_replay.c  what earlier readers delivered (pure)
 *
 * All functions are called from the loop's thread. */
#include "src/pump/log_gap.h"
#include "src/pump/log_held.h"
#include "src/pump/pump_file.h"
#include "src/pump/pump_file_replay.h"

/* The largest read, in bytes. A record has at most 16 KiB of message, six times as much when each
 * byte is escaped, and a few labels. */
#define PUMP_FILE_READ_MAX ((size_t)256 << 10)

struct pump_file {
    struct pump_files *shared;
    struct pump_out *out[2];
    struct pump_record *record;
    struct pump_file_ops ops;
    void *ctx;
    struct log_watch *watch;
    struct loop_timer *timer;
    struct log_held held;
    struct log_place at; /* place of the next record, in the oldest held file */
    struct pump_file_replay replay[2];
    bool begun, placed, finishing, ended;
    bool missing;  /* no log file was there, and that was reported */
    bool skipping; /* all records so far were delivered before */
    /* While skipping: time of the newest delivered message; 0: not known. */
    int64_t delivered_ns;
    bool in_damage;
    bool stuck;                     /* the next record has no room in its FIFO's chunk */
    char time[LOG_RECORD_TIME_MAX]; /* time of the newest gathered record */
    uint64_t read_bytes;            /* all bytes so far */
    uint64_t tick_us;
    unsigned quiet;
    struct pump_file_status sum;
    struct log_gap gap;
    uint64_t dropped_reported, dropped_reported_us;
};

/* ---- pump_file_read.c ---- */
/** Reads once from the reader's place and gathers the records. Sets `stuck` when a FIFO takes
 * nothing more. Returns true when there may be more to read. */
bool pump_file_read(struct pump_file *f);

/* ---- pump_file_place.c ---- */
/** Takes the files that the opener found. The first time after the begin, also finds the place in
 * them. Drops the oldest ones when they exceed the backlog. */
void pump_file_place_take_files(struct pump_file *f);
/** The oldest file is read to its end: continues with the next one. Returns true when there is
 * another file. */
bool pump_file_place_next_file(struct pump_file *f);
/** The file was truncated in place: starts again at its front. */
void pump_file_place_restart(struct pump_file *f);
/** Records the reader's place for each stream without gathered bytes, because everything before
 * that place is delivered. */
void pump_file_place_store(struct pump_file *f);

/* ---- pump_file_loss.c ---- */
#define PUMP_FILE_ROTATED "Docker's log file was rotated away while no log pump was running"
/** Counts a gap after the record that was read last. @bytes: its size; 0 when not known. */
void pump_file_loss_gap(struct pump_file *f, const char *why, uint64_t bytes);
/** Notes that a log file cannot be used, with the error @r. @bytes: what it still contained; 0 when
 * not known. */
void pump_file_loss_unusable(struct pump_file *f, int r, uint64_t bytes);
/** Counts a piece of damage and reports the first one. `in_damage` is set: the next calls are about
 * the same piece until the reader clears it. */
void pump_file_loss_damage(struct pump_file *f);
/** The record @r was found: a gap before it ends. The first record shows whether older ones that
 * were not delivered are missing. */
void pump_file_loss_found(struct pump_file *f, const struct log_record *r);
/** Reports gaps when a report is due. */
void pump_file_loss_report_gap(struct pump_file *f);
/** Reports dropped bytes: the first loss immediately, the sum of later ones once a minute and at
 * the end. */
void pump_file_loss_report_dropped(struct pump_file *f);
