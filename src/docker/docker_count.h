/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Counts the requests to dockerd, for the metrics: by operation and result. Any thread; no lock. */
#include "paddock/metrics.h"
#include <stdbool.h>

enum docker_op {
    DOCKER_OP_CREATE,
    DOCKER_OP_START,
    DOCKER_OP_STOP,
    DOCKER_OP_KILL,
    DOCKER_OP_REMOVE,
    DOCKER_OP_INSPECT,
    DOCKER_OP_LIST,
    DOCKER_OP_UPDATE,
    DOCKER_OP_EXEC,
    DOCKER_OP_PULL,
    DOCKER_OP_IMAGE,
    DOCKER_OP_NETWORK,
    DOCKER_OP_STATS,
    DOCKER_OP_SYSTEM, /* info, version, ping */
    DOCKER_OP_OTHER,
    DOCKER_OPS
};

enum docker_result {
    DOCKER_RESULT_OK,
    DOCKER_RESULT_CLIENT_ERROR, /* 4xx */
    DOCKER_RESULT_SERVER_ERROR, /* 5xx */
    DOCKER_RESULT_UNREACHABLE,
    DOCKER_RESULT_TIMEOUT,
    DOCKER_RESULT_OTHER, /* cancelled, no valid answer, out of memory */
    DOCKER_RESULTS
};

/* Starts as {0}. */
struct docker_counts {
    atomic_ullong by[DOCKER_OPS][DOCKER_RESULTS];
    struct metrics_histogram took[DOCKER_OPS];
    atomic_bool down;            /* the last request that ended did not reach dockerd */
    atomic_ullong event_streams; /* how often the event stream was opened */
};

/** Returns the operation of a request. @path: below /v1.xx, with its query. Pure. */
enum docker_op docker_count_op(const char *method, const char *path);

/** Counts a request that ended after @us with @r (0 or -errno) and @status (of HTTP, 0 = none). */
void docker_count_end(struct docker_counts *c, const char *method, const char *path, int r,
                      int status, uint64_t us);

/** Appends all metrics as text. Returns 0; errors of buf_printf(). */
int docker_count_put(const struct docker_counts *c, struct buf *b) MUST_CHECK;
