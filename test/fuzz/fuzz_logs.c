/* SPDX-License-Identifier: MPL-2.0 */
/* Docker's output streams, in one piece and cut in two: both give the same bytes of the same
 * messages. The first byte selects TTY or frames, the second where to cut. */
#include "paddock/docker.h"
#include "src/pump/log_parser.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The output as a sum over every byte and its place. */
struct seen {
    uint64_t sum, bytes;
};

static void add(struct seen *s, uint64_t place, const char *data, size_t len) {
    for (size_t i = 0; i < len; i++)
        s->sum = (s->sum ^ (place + i) ^ (unsigned char)data[i]) * UINT64_C(1099511628211);
    s->bytes += len;
}

static int parse(const char *data, size_t len, bool tty, size_t step, size_t room,
                 struct seen *ret) {
    struct log_parser p;
    log_parser_init(&p, tty);
    for (size_t at = 0; at < len;) {
        size_t n = len - at < step ? len - at : step;
        struct log_piece piece = {0};
        ssize_t taken = log_parser_feed(&p, data + at, n, room, &piece);
        if (taken < 0)
            return (int)taken;
        if ((size_t)taken > n || piece.len > room || (piece.channel == 0 && taken == 0))
            abort();
        if (piece.channel)
            add(ret, ((uint64_t)piece.channel << 60) + (uint64_t)piece.time_ns + piece.offset,
                piece.data, piece.len);
        at += (size_t)taken;
    }
    return 0;
}

static int on_frame(void *ctx, int channel, const char *data, size_t len) {
    struct seen *s = ctx;
    if (channel != 1 && channel != 2)
        abort();
    for (size_t i = 0; i < len; i++)
        add(s, ((uint64_t)channel << 60) + s->bytes, data + i, 1);
    return 0;
}

static int demux(const char *data, size_t len, size_t step, struct seen *ret) {
    struct docker_demux x = {0};
    for (size_t at = 0; at < len; at += step) {
        int r = docker_demux_feed(&x, data + at, len - at < step ? len - at : step, on_frame, ret);
        if (r < 0)
            return r;
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3)
        return 0;
    const char *text = (const char *)data + 2;
    size_t len = size - 2, step = (size_t)data[1] + 1;
    struct seen whole = {0}, cut = {0};
    int a = parse(text, len, data[0] & 1, len, len, &whole);
    int b = parse(text, len, data[0] & 1, step, step, &cut);
    if (a != b || (a == 0 && (whole.sum != cut.sum || whole.bytes != cut.bytes)))
        abort();
    whole = cut = (struct seen){0};
    a = demux(text, len, len, &whole);
    b = demux(text, len, step, &cut);
    if (a != b || whole.sum != cut.sum)
        abort();
    return 0;
}
