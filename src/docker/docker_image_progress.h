#pragma once
/* A pull's progress stream (JSON documents in a row) as figures that people read. Pure; one thread.
 */
#include "paddock/buf.h"
#include <stdbool.h>
#include <stdint.h>

#define IMAGE_LAYERS_MAX 256 /* Docker's own limit is 127 */

struct image_layer {
    char id[24];
    bool waiting, pulling, pulled; /* pulled: all bytes are here, unpacked or not */
    int64_t current, total;        /* bytes */
};

struct image_progress {
    struct buf line; /* an unfinished document */
    struct image_layer layers[IMAGE_LAYERS_MAX];
    size_t n;
    char error[512]; /* "" = none was told */
};

void image_progress_init(struct image_progress *p);
void image_progress_done(struct image_progress *p);

/** Takes bytes as they come. Returns 0; -EPROTO what is no such stream; -EMSGSIZE; -ENOMEM. */
int image_progress_feed(struct image_progress *p, const char *data, size_t len) MUST_CHECK;

/** The stream has ended: what comes behind the last newline counts too. Returns as
 * image_progress_feed. */
int image_progress_end(struct image_progress *p) MUST_CHECK;

/** "Pulled 1/3 (5.2MiB/20.1MiB) layers: 1 waiting/1 pulling - est 12.5s remaining". @elapsed_us:
 * since the pull began. */
void image_progress_text(const struct image_progress *p, uint64_t elapsed_us, char *out,
                         size_t size);
