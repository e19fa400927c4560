#pragma once
/* One container's output, read from Docker's json-file log and delivered to two FIFOs.
 *
 * The reader keeps no copy of what it has read: its state is a place (file, offset). A record is
 * gathered whole or not at all; when a FIFO is full, the reader stops and later reads again from
 * the first record that was not gathered. The files of the rotation are opened by log_opener.h and
 * held until they are read, so that a slow reader of the FIFO loses nothing. Beyond `backlog_bytes`
 * of held files the oldest are dropped.
 *
 * While lines come the file is read by a timer. dockerd writes once per line, so a notice for each
 * write would cost more than the reading. When the file has been quiet, the timer stops and the
 * next write is announced by inotify.
 *
 * All functions are called from the loop's thread. */
#include "log_opener.h"
#include "pump_out.h"

/* What the readers of one process share. */
struct pump_files {
    struct loop *loop;
    struct log_opener *opener;
    uint64_t backlog_bytes;
    char *buf, *text; /* for what is being read; empty between two calls */
};

/** Starts the opener. Returns 0; -ENOMEM. When no inotify instance is left it returns 0, too, and
 * no reader can be made. Owner: caller, pump_files_done. */
int pump_files_init(struct pump_files *p, struct loop *loop, uint64_t backlog_bytes) MUST_CHECK;
/** All readers were freed before. */
void pump_files_done(struct pump_files *p);

struct pump_file;

struct pump_file_ops {
    /* After pump_file_finish: everything is delivered. Or the container was removed. Once; the
     * reader may be freed in it. */
    void (*drained)(void *ctx);
    /* Something for the operator: a sentence without a full stop. */
    void (*report)(void *ctx, const char *text);
};

struct pump_file_status {
    uint64_t lag_bytes; /* of the log's files, not read yet */
    int64_t newest_ns;  /* the time of the record that was read last; 0: none */
    uint64_t damaged;   /* records that were skipped */
    uint64_t dropped_bytes;
    uint64_t gaps; /* times that files were missed */
};

/** Watches the folder @dir_fd for the log @name. Nothing is delivered before pump_file_begin().
 *  @out: of stdout and stderr, with their record; borrowed. Returns 0; -EMFILE: there is no opener;
 * as log_watch_new. */
int pump_file_new(struct pump_files *shared, int dir_fd, const char *name,
                  struct pump_out *const out[2], const struct pump_file_ops *ops, void *ctx,
                  struct pump_file **ret) MUST_CHECK;
/** NULL allowed. */
void pump_file_free(struct pump_file *f);

/** From where the record says. */
void pump_file_begin(struct pump_file *f);
/** The container has ended: what is in the log now is all. */
void pump_file_finish(struct pump_file *f);
/** A FIFO takes something again. */
void pump_file_continue(struct pump_file *f);
void pump_file_status(struct pump_file *f, struct pump_file_status *ret);
