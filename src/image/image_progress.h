/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Parses a pull's progress stream (a sequence of JSON documents) and builds a text for people from
 * it. Pure; one thread. */
#include "paddock/buf.h"
#include <stdbool.h>
#include <stdint.h>

#define IMAGE_LAYERS_MAX 256 /* Docker's own limit is 127 */

struct image_layer {
    char id[24];
    bool waiting, pulling, pulled; /* pulled: all bytes have arrived, unpacked or not */
    int64_t current, total;        /* bytes */
    uint64_t last;                 /* hash of its last document */
};

struct image_progress {
    struct buf line; /* an unfinished document */
    struct image_layer layers[IMAGE_LAYERS_MAX];
    size_t n;
    uint64_t other;    /* hash of the last document that belongs to no layer */
    uint64_t changes;  /* documents with new contents: progress */
    bool passing_over; /* skipping until the end of a line that is too long */
    char error[512];   /* "" = no error was reported */
};

void image_progress_init(struct image_progress *p);
void image_progress_done(struct image_progress *p);

/** Parses the next bytes of the stream. A line longer than 64 KiB is skipped, except for an error
 * in it. Returns 0; -EPROTO when this is no such stream; -ENOMEM. */
int image_progress_feed(struct image_progress *p, const char *data, size_t len) MUST_CHECK;

/** Ends the stream, and parses the text after the last newline. Returns the same values
 * as image_progress_feed(). */
int image_progress_end(struct image_progress *p) MUST_CHECK;

/** Returns the bytes of all layers that were downloaded. A layer of which Docker reported no
 * progress counts as 0. */
uint64_t image_progress_bytes(const struct image_progress *p);

/** "Pulled 1/3 (5.2MiB/20.1MiB) layers: 1 waiting/1 pulling - est 12.5s remaining". @elapsed_us:
 * since the pull began. */
void image_progress_text(const struct image_progress *p, uint64_t elapsed_us, char *out,
                         size_t size);
