/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Reads one container's output from Docker's json-file log and delivers it to two FIFOs.
 *
 * The reader keeps no copy of what it has read: its state is a place (file, offset). A record is
 * gathered whole or not at all. When a FIFO is full, the reader stops, and later reads again from
 * the first record that was not gathered. log_opener.h opens the files of the rotation, and they
 * stay open until they are read, so a slow reader of the FIFO loses nothing. When the held files
 * exceed `backlog_bytes`, the oldest are dropped.
 *
 * While lines arrive, a timer reads the file. dockerd writes once per line, so an event for each
 * write would cost more than the reading. When the file has been quiet, the timer stops, and
 * inotify announces the next write.
 *
 * All functions are called from the loop's thread. */
#include "src/pump/log_opener.h"
#include "src/pump/pump_out.h"

/* What the readers of one process share. */
struct pump_files {
    struct loop *loop;
    struct log_opener *opener;
    uint64_t backlog_bytes;
    char *buf, *text; /* the bytes and the message being read; unused between two calls */
};

/** Starts the opener. @loop is borrowed. Returns 0; -ENOMEM. When no inotify instance is left it
 * returns 0, too, but then no reader can be made. Owner: caller, pump_files_done(). */
int pump_files_init(struct pump_files *p, struct loop *loop, uint64_t backlog_bytes) MUST_CHECK;
/** The caller has freed all readers before. */
void pump_files_done(struct pump_files *p);

struct pump_file;

struct pump_file_ops {
    /* Called once: everything is delivered after pump_file_finish(), or the container was removed.
     * The callback may free the reader. */
    void (*drained)(void *ctx);
    /* Receives a message for the operator: a sentence without a full stop. */
    void (*report)(void *ctx, const char *text);
};

struct pump_file_status {
    uint64_t lag_bytes; /* bytes of the log's files that are not read yet */
    int64_t newest_ns;  /* time of the record that was read last; 0: none */
    uint64_t damaged;   /* records that were skipped */
    uint64_t dropped_bytes;
    uint64_t gaps; /* how often files were missed */
};

/** Watches the folder @dir_fd for the log @name. Nothing is delivered before pump_file_begin().
 * @out: the FIFOs of stdout and stderr, with their record; borrowed. Returns 0; -EMFILE when there
 * is no opener; the errors of log_opener_watch_new(). Owner: caller, pump_file_free(). */
int pump_file_new(struct pump_files *shared, int dir_fd, const char *name,
                  struct pump_out *const out[2], const struct pump_file_ops *ops, void *ctx,
                  struct pump_file **ret) MUST_CHECK;
/** Ends the reading and frees the reader. NULL allowed. */
void pump_file_free(struct pump_file *f);

/** Starts the delivery at the position in the record. */
void pump_file_begin(struct pump_file *f);
/** The container has ended: delivers the rest of the log, then calls `drained`. */
void pump_file_finish(struct pump_file *f);
/** Continues the delivery after a FIFO was full. */
void pump_file_continue(struct pump_file *f);
/** Returns the present counters in @ret. */
void pump_file_status(struct pump_file *f, struct pump_file_status *ret);
