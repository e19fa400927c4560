/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Reads one container's output from Docker's log API and delivers it to two FIFOs. It is used for
 * log drivers other than json-file, and where the log file cannot be read.
 *
 * It never blocks: a FIFO whose reader stops pauses this stream and nothing else. A lost
 * stream is opened again after the last delivered message. All functions are called from the
 * loop's thread. */
#include "paddock/docker_multi.h"
#include "src/pump/pump_out.h"

struct pump_api;

struct pump_api_ops {
    /* Called once: the first stream is open (@r 0), or cannot be opened (-ENOSYS: the log driver
     * cannot be read). */
    void (*opened)(void *ctx, int r);
    /* Called once: everything is delivered and the container has ended, or it was removed. The
     * callback may free the reader. */
    void (*drained)(void *ctx);
};

/** @out: the FIFOs of stdout and stderr, with their record; borrowed. Returns 0; -ENOMEM.
 * Owner: caller, pump_api_free(). */
int pump_api_new(struct loop *loop, struct docker_multi *http, struct pump_out *const out[2],
                 const struct pump_api_ops *ops, void *ctx, struct pump_api **ret) MUST_CHECK;
/** Ends the reading and frees the reader. NULL allowed. */
void pump_api_free(struct pump_api *t);

/** Starts reading; the container runs or has run. Does nothing when the stream is open already. */
void pump_api_begin(struct pump_api *t);
/** The container has ended: reads to the end, then calls `drained`. */
void pump_api_finish(struct pump_api *t);
/** Continues the delivery after a FIFO was full. */
void pump_api_continue(struct pump_api *t);

/** Returns true when a log stream is open. False while Docker is unavailable. */
bool pump_api_is_open(const struct pump_api *t);
/** Returns the number of bytes that were received and are not delivered. */
size_t pump_api_waiting(const struct pump_api *t);
