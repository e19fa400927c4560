/* SPDX-License-Identifier: MPL-2.0 */
/* Counts the pulls of images for the metrics, by result.
 *
 * image_pull.c reports each pull once, however many tasks wait for it. The requests that
 * docker_count.c counts do not show a failed pull: Docker answers 200 and sends the error later, in
 * the stream of the progress. */
#include "src/image/image_count.h"

#include <errno.h>
#include <stdio.h>

static const char *const result_names[IMAGE_RESULTS] = {"ok", "not_found", "timeout", "cancelled",
                                                        "error"};

static enum image_result result_of(int r) {
    switch (r) {
    case 0:
        return IMAGE_RESULT_OK;
    case -ENOENT:
        return IMAGE_RESULT_NOT_FOUND;
    case -ETIMEDOUT:
        return IMAGE_RESULT_TIMEOUT;
    case -ECANCELED:
        return IMAGE_RESULT_CANCELLED;
    default:
        return IMAGE_RESULT_ERROR;
    }
}

void image_count_end(struct image_counts *c, int r, uint64_t bytes, uint64_t us) {
    atomic_fetch_add_explicit(&c->by[result_of(r)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->bytes, bytes, memory_order_relaxed);
    if (r == 0)
        metrics_observe(&c->took, us);
}

/* Results that did not occur are written too: the increase of a series that appears with its first
 * count is 0. */
int image_count_put(const struct image_counts *c, struct buf *b) {
    static const char pulls[] = "paddock_image_pulls_total",
                      took[] = "paddock_image_pull_duration_seconds";
    int r = metrics_family(b, pulls, "counter", "Image pulls that have ended.");
    for (int i = 0; i < IMAGE_RESULTS && r == 0; i++) {
        char label[32];
        snprintf(label, sizeof(label), "result=\"%s\"", result_names[i]);
        r = metrics_sample(b, pulls, label,
                           (double)atomic_load_explicit(&c->by[i], memory_order_relaxed));
    }
    if (r == 0)
        r = metrics_one(b, "paddock_image_pull_bytes_total", "counter",
                        "Bytes that image pulls have downloaded, as far as Docker reports them.",
                        (double)atomic_load_explicit(&c->bytes, memory_order_relaxed));
    if (r == 0)
        r = metrics_family(b, took, "histogram", "Time of the image pulls that succeeded.");
    return r < 0 ? r : metrics_histogram_put(b, took, "", &c->took);
}
