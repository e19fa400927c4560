#pragma once
/* One container's output, read from Docker's log API and delivered to two FIFOs: for log drivers
 * other than json-file, and where the log file cannot be read. Never blocks: a FIFO whose reader
 * stops pauses this stream and nothing else. A lost stream is opened again behind what was
 * delivered. All functions are called from the loop's thread. */
#include "paddock/docker_multi.h"
#include "pump_out.h"

struct pump_api;

struct pump_api_ops {
    /* The first stream is open (0), or cannot be (-ENOSYS: the log driver cannot be read). Once. */
    void (*opened)(void *ctx, int r);
    /* Everything is delivered and the container has ended, or it was removed. Once; the reader may
     * be freed in it. */
    void (*drained)(void *ctx);
};

/** @out: of stdout and stderr, with their record; borrowed. Returns 0; -ENOMEM. */
int pump_api_new(struct loop *loop, struct docker_multi *http, struct pump_out *const out[2],
                 const struct pump_api_ops *ops, void *ctx, struct pump_api **ret) MUST_CHECK;
/** NULL allowed. */
void pump_api_free(struct pump_api *t);

/** The container runs, or did: its output is to come now. One that is open already: nothing. */
void pump_api_begin(struct pump_api *t);
/** The container has ended: read to the end, then `drained` is called. */
void pump_api_finish(struct pump_api *t);
/** A FIFO takes something again. */
void pump_api_continue(struct pump_api *t);

/** Is there a log stream? Not while Docker is unavailable. */
bool pump_api_is_open(const struct pump_api *t);
/** Bytes that have come and are not delivered. */
size_t pump_api_waiting(const struct pump_api *t);
