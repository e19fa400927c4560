#pragma once
/* One container's output inside the pump: a log stream from Docker, cut into messages, delivered to
 * two FIFOs. Never blocks: a FIFO whose reader stops pauses this stream and nothing else. A lost
 * stream is opened again behind what was delivered. */
#include "paddock/docker.h"
#include "paddock/docker_multi.h"
#include "paddock/logpump.h"
#include "paddock/loop.h"

#include "pump_record.h"

struct pump_task;

struct pump_task_ops {
    /* The first stream is open (0), or cannot be (-ENOSYS: the log driver cannot be read). Once. */
    void (*opened)(void *ctx, struct pump_task *t, int r);
    /* Everything is delivered and the container has ended, or it is gone. Once; the task may be
     * freed then. */
    void (*drained)(void *ctx, struct pump_task *t);
};

/** @record: taken over (pump_record_close'd by the task). Opens the FIFOs; the stream with
 * pump_task_begin, or after @patience_us in which nobody has asked for it (who prepares a task
 * starts its container then, or has died). Returns 0; -ENXIO/-ENOENT/-ELOOP/-EINVAL a FIFO cannot
 * be opened as one; -ENOMEM. */
int pump_task_new(struct loop *loop, struct docker_multi *http, struct pump_record *record,
                  uint64_t patience_us, const struct pump_task_ops *ops, void *ctx,
                  struct pump_task **ret) MUST_CHECK;
/** The container runs, or did: its output is to come, now. One that is open already: nothing. */
void pump_task_begin(struct pump_task *t);
/** Closes the FIFOs; the record's file stays. */
void pump_task_free(struct pump_task *t);

const struct pump_record *pump_task_record(const struct pump_task *t);
/** The record's file was removed: it is written again, below @dir_fd. Returns 0; -errno. */
int pump_task_move_record(struct pump_task *t, int dir_fd) MUST_CHECK;
/** Is there a log stream? Not while Docker is away, or has no more of a container that has ended.
 */
bool pump_task_is_open(const struct pump_task *t);
/** Was something delivered since the last question, or is it Docker that is waited for? False only
 * while a reader takes nothing. */
bool pump_task_moves(struct pump_task *t);
/** The container has ended: read to the end, then `drained` is told. */
void pump_task_finish(struct pump_task *t);
/** Nomad's logmon may have made new FIFOs: opens them again when they are others. */
int pump_task_reopen(struct pump_task *t) MUST_CHECK;
