#pragma once
/* One container's output inside the pump: two FIFOs, the record of what was delivered, and one of
 * two readers. pump_file.h reads Docker's log file; pump_api.h asks Docker's API when the file
 * cannot be read (pump_locate.h says when). All functions are called from the loop's thread; none
 * blocks. */
#include "pump_api.h"
#include "pump_file.h"
#include "pump_locate.h"

struct pump_task;

/* What the tasks of one process share. All are borrowed. */
struct pump_task_shared {
    struct loop *loop;
    struct docker_multi *http;
    struct pump_files *files;
    struct pump_locate *locate;
    uint64_t patience_us; /* with a plugin that prepares a task, and with Docker */
};

struct pump_task_ops {
    /* The log can be read (0), or cannot be (-ENOSYS: by the log driver). Once. */
    void (*opened)(void *ctx, struct pump_task *t, int r);
    /* Everything is delivered and the container has ended, or it was removed. Once; the task may be
     * freed in it. */
    void (*drained)(void *ctx, struct pump_task *t);
    /* Something for the operator, for example that lines are missing: a sentence without a full
     * stop. */
    void (*report)(void *ctx, struct pump_task *t, const char *text);
};

/** Opens the FIFOs; the reading begins with pump_task_begin, or after @patience_us in which nobody
 * has asked for it (a plugin that prepares a task starts its container then, or has died).
 *  @record: the task takes it over, also on failure. Returns 0; -ENXIO/-ENOENT/-ELOOP/-EINVAL: a
 * FIFO cannot be opened as one; -ENOMEM. */
int pump_task_new(const struct pump_task_shared *shared, struct pump_record *record,
                  const struct pump_task_ops *ops, void *ctx, struct pump_task **ret) MUST_CHECK;
/** The container runs, or did: its output is to come now. One that is read already: nothing. */
void pump_task_begin(struct pump_task *t);
/** Closes the FIFOs; the record's file stays. NULL allowed. */
void pump_task_free(struct pump_task *t);

const struct pump_record *pump_task_record(const struct pump_task *t);
/** The record's file was removed: it is written again, below @dir_fd. Returns 0; -errno. */
int pump_task_move_record(struct pump_task *t, int dir_fd) MUST_CHECK;
/** Does the container run, by what Docker last said? */
bool pump_task_runs(const struct pump_task *t);
/** Can there be more output? With the file, by what Docker last said of the container, which is
 * asked for anew; with the API, while there is a stream. */
bool pump_task_is_open(struct pump_task *t);
/** Was something delivered since the last call, or is it Docker that is waited for? False only
 * while a reader takes nothing. */
bool pump_task_moves(struct pump_task *t);
/** The container has ended: read to the end, then `drained` is called. */
void pump_task_finish(struct pump_task *t);
/** Nomad's logmon may have made new FIFOs: opens them again when they are others. */
int pump_task_reopen(struct pump_task *t) MUST_CHECK;

enum pump_way { PUMP_WAY_NONE, PUMP_WAY_FILE, PUMP_WAY_API };

struct pump_task_status {
    enum pump_way way; /* none: not decided yet */
    uint64_t
        lag_bytes;    /* known to be in the log and not delivered; by the API only what has come */
    int64_t lag_ns;   /* age of the oldest of them */
    uint64_t damaged; /* records that were skipped */
    uint64_t dropped_bytes;
    uint64_t gaps; /* times that files were missed */
};
void pump_task_status(struct pump_task *t, struct pump_task_status *ret);
