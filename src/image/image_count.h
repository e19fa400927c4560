/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Counts the pulls of images, for the metrics. Any thread; no lock. */
#include "paddock/metrics.h"
#include <stdint.h>

enum image_result {
    IMAGE_RESULT_OK,
    IMAGE_RESULT_NOT_FOUND, /* the registry does not have it, or not for this host's platform */
    IMAGE_RESULT_TIMEOUT,   /* of the whole pull, or without progress */
    IMAGE_RESULT_CANCELLED,
    IMAGE_RESULT_ERROR,
    IMAGE_RESULTS
};

/* Starts as {0}. */
struct image_counts {
    atomic_ullong by[IMAGE_RESULTS];
    atomic_ullong bytes;
    struct metrics_histogram took; /* pulls that succeeded */
};

/** Counts a pull that ended after @us with @r (0 or -errno). @bytes: what Docker has downloaded for
 * it, as far as it reported that. */
void image_count_end(struct image_counts *c, int r, uint64_t bytes, uint64_t us);

/** Appends the metrics as text. Returns 0; errors of buf_printf(). */
int image_count_put(const struct image_counts *c, struct buf *b) MUST_CHECK;
