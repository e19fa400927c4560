/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Metrics as Prometheus text (format 0.0.4), and histograms that several threads fill. Names follow
 * Prometheus' rules: base units (seconds, bytes), and "_total" for counters. */
#include "paddock/buf.h"
#include <stdatomic.h>
#include <stdint.h>

/** Appends the HELP and TYPE lines of a family; its samples follow. @type: "counter",
 * "gauge" or "histogram".
 *  Returns as buf_printf(). */
int metrics_family(struct buf *b, const char *name, const char *type, const char *help) MUST_CHECK;

/** Appends one sample. @labels: `a="b",c="d"`, with values that metrics_label() has
 * escaped; "" = none. */
int metrics_sample(struct buf *b, const char *name, const char *labels, double value) MUST_CHECK;

/** Appends a family with one sample that has no labels. */
int metrics_one(struct buf *b, const char *name, const char *type, const char *help,
                double value) MUST_CHECK;

/** Appends `name="value"`, with @value escaped, after a comma when @b is not empty. */
int metrics_label(struct buf *b, const char *name, const char *value) MUST_CHECK;

/** Appends the metrics of this process: CPU, memory, fds and start time, under the names that every
 * exporter uses. Values that cannot be read are left out. */
int metrics_process(struct buf *b) MUST_CHECK;

/* Upper bounds of the buckets: 100 us to 30 min (an image pull). */
#define METRICS_BUCKETS 18u

/* Starts as {0}. */
struct metrics_histogram {
    atomic_ullong counts[METRICS_BUCKETS + 1]; /* the last bucket: above all bounds */
    atomic_ullong sum_us;
};

/** Counts one duration. Any thread, no lock. */
void metrics_observe(struct metrics_histogram *h, uint64_t us);
/** Returns the number of durations that were counted. Any thread. */
uint64_t metrics_count(const struct metrics_histogram *h);
/** Appends the samples of one histogram: _bucket, _sum, _count. @labels: as
 * for metrics_sample(). */
int metrics_histogram_put(struct buf *b, const char *name, const char *labels,
                          const struct metrics_histogram *h) MUST_CHECK;
