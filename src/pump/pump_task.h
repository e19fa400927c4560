/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* One container's output inside the pump: two FIFOs, the record of what was delivered, and one of
 * two readers.
 *
 * pump_file.h reads Docker's log file. pump_api.h asks Docker's API when the file cannot be
 * read (pump_locate.h lists the conditions). All functions are called from the loop's thread;
 * none blocks. */
#include "src/pump/pump_api.h"
#include "src/pump/pump_file.h"
#include "src/pump/pump_locate.h"

struct pump_task;

/* What all tasks of one process share; borrowed. */
struct pump_task_shared {
    struct loop *loop;
    struct docker_multi *http;
    struct pump_files *files;
    struct pump_locate *locate;
    uint64_t patience_us; /* how long to wait for a plugin that prepared a task, and for Docker */
};

struct pump_task_ops {
    /* Called once: the log can be read (@r 0), or cannot (-ENOSYS: because of the log driver). */
    void (*opened)(void *ctx, struct pump_task *t, int r);
    /* Called once: everything is delivered and the container has ended, or it was removed. The
     * callback may free the task. */
    void (*drained)(void *ctx, struct pump_task *t);
    /* Receives a message for the operator, for example that lines are missing: a sentence without a
     * full stop. */
    void (*report)(void *ctx, struct pump_task *t, const char *text);
};

/** Opens the FIFOs. Reading begins with pump_task_begin(), or after @patience_us without that call:
 * the plugin that prepared the task has then started the container, or has died.
 *
 * @record: the task takes ownership, also on failure. Returns 0; -ENXIO, -ENOENT, -ELOOP or -EINVAL
 * when a FIFO cannot be opened as one; -ENOMEM. Owner: caller, pump_task_free(). */
int pump_task_new(const struct pump_task_shared *shared, struct pump_record *record,
                  const struct pump_task_ops *ops, void *ctx, struct pump_task **ret) MUST_CHECK;
/** Starts reading; the container runs or has run. Does nothing when it is read already. */
void pump_task_begin(struct pump_task *t);
/** Closes the FIFOs and the record. The record's file stays. NULL allowed. */
void pump_task_free(struct pump_task *t);

/** Returns the record; owner: @t. */
const struct pump_record *pump_task_record(const struct pump_task *t);
/** The record's file was removed: writes it again, below @dir_fd. Returns 0; -errno. */
int pump_task_move_record(struct pump_task *t, int dir_fd) MUST_CHECK;
/** Returns true when the container runs, according to Docker's last answer. */
bool pump_task_runs(const struct pump_task *t);
/** Returns true when more output can come. With the file, this is what Docker last answered about
 * the container, and Docker is asked again. With the API, it is true while a stream is open. */
bool pump_task_is_open(struct pump_task *t);
/** Returns true when something was delivered since the last call, or when Docker has yet to send
 * something. Returns false only while the reader of a FIFO takes nothing. */
bool pump_task_moves(struct pump_task *t);
/** The container has ended: reads to the end, then calls `drained`. */
void pump_task_finish(struct pump_task *t);
/** Opens the FIFOs again when Nomad's logmon has made new ones. Returns 0; -errno. */
int pump_task_reopen(struct pump_task *t) MUST_CHECK;

enum pump_way { PUMP_WAY_NONE, PUMP_WAY_FILE, PUMP_WAY_API };

struct pump_task_status {
    enum pump_way way; /* PUMP_WAY_NONE: not decided yet */
    /* Bytes that are known to be in the log and are not delivered. With the API, these are only the
     * bytes that were received. */
    uint64_t lag_bytes;
    int64_t lag_ns;   /* age of the oldest of these bytes */
    uint64_t damaged; /* records that were skipped */
    uint64_t dropped_bytes;
    uint64_t gaps; /* how often files were missed */
};
/** Returns the present state in @ret. */
void pump_task_status(struct pump_task *t, struct pump_task_status *ret);
