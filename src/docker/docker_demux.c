/* SPDX-License-Identifier: MPL-2.0 */
/* Parses the frames of a container's output. src/task calls it for the output of exec streams.
 *
 * A frame is: channel (1 byte), three zeros, length (big endian, 4 bytes), payload. A length of 0
 * is allowed. Channel 0 (stdin echoed) is reported as 1 (stdout). Channel 3 is dockerd's own error
 * text; it is reported as 2 (stderr). */
#include "paddock/docker.h"

#include <string.h>

static int open_frame(struct docker_demux *x) {
    const unsigned char *h = x->head;
    if (h[0] > 3 || h[1] || h[2] || h[3])
        return -EPROTO;
    x->channel = h[0] >= 2 ? 2 : 1;
    x->left = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];
    x->head_len = 0;
    return 0;
}

int docker_demux_feed(struct docker_demux *x, const char *data, size_t len,
                      int (*on)(void *ctx, int channel, const char *data, size_t len), void *ctx) {
    while (len > 0) {
        size_t n;
        if (x->left > 0) {
            n = len < x->left ? len : x->left;
            int r = on(ctx, x->channel, data, n);
            if (r < 0)
                return r;
            x->left -= (uint32_t)n;
        } else {
            n = sizeof(x->head) - x->head_len;
            if (n > len)
                n = len;
            memcpy(x->head + x->head_len, data, n);
            x->head_len += (unsigned)n;
            int r = x->head_len == sizeof(x->head) ? open_frame(x) : 0;
            if (r < 0)
                return r;
        }
        data += n;
        len -= n;
    }
    return 0;
}
