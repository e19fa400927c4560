/* SPDX-License-Identifier: MPL-2.0 */
/* Parses Docker's log stream. pump_api.c calls it for each part of the stream that arrives.
 *
 * A part can end anywhere: in a frame's head, in the time of a message, or in its text. Therefore
 * the parser keeps its state in struct log_parser, and it collects the head and the time there. It
 * copies no text: a piece points into the caller's data. */
#include "src/pump/log_parser.h"

#include "paddock/parse.h"

#include <string.h>
#include <sys/types.h>

void log_parser_init(struct log_parser *p, bool tty) {
    *p = (struct log_parser){.tty = tty};
}

static void begin_message(struct log_parser *p) {
    p->time_len = 0;
    p->in_text = false;
    p->offset = 0;
}

/* Takes bytes of the frame's head. Returns the number of bytes taken; -EPROTO. */
static ssize_t take_head(struct log_parser *p, const char *data, size_t len) {
    size_t n = sizeof(p->head) - p->head_len;
    if (n > len)
        n = len;
    memcpy(p->head + p->head_len, data, n);
    p->head_len += (unsigned)n;
    if (p->head_len < sizeof(p->head))
        return (ssize_t)n;
    /* Some log drivers write 0 (stdin) for stdout. 3 is an error of the daemon itself. */
    int channel = p->head[0] == 0 ? 1 : p->head[0];
    if (channel > 2 || p->head[1] || p->head[2] || p->head[3])
        return -EPROTO;
    p->head_len = 0;
    p->channel = channel;
    p->left = (uint32_t)p->head[4] << 24 | (uint32_t)p->head[5] << 16 | (uint32_t)p->head[6] << 8 |
              p->head[7];
    if (p->left == 0)
        p->channel = 0;
    begin_message(p);
    return (ssize_t)n;
}

/* Takes bytes of the time before the message and the space after it. Returns their
 * number; -EPROTO. */
static ssize_t take_time(struct log_parser *p, const char *data, size_t len) {
    size_t n = 0;
    while (n < len) {
        char c = data[n++];
        if (c == ' ') {
            p->time[p->time_len] = '\0';
            p->in_text = true;
            return parse_rfc3339_ns(p->time, &p->time_ns) < 0 ? -EPROTO : (ssize_t)n;
        }
        if (p->time_len == sizeof(p->time) - 1)
            return -EPROTO;
        p->time[p->time_len++] = c;
    }
    return (ssize_t)n;
}

/* Takes up to @max bytes of text. Without a TTY a message ends with its frame. With a TTY it ends
 * at the newline, or when it is full. */
static size_t take_text(struct log_parser *p, const char *data, size_t len, size_t max,
                        struct log_piece *ret) {
    size_t n = len < max ? len : max;
    bool end;
    if (p->tty) {
        if (n > LOG_MESSAGE_MAX - p->offset)
            n = LOG_MESSAGE_MAX - p->offset;
        const char *newline = memchr(data, '\n', n);
        if (newline)
            n = (size_t)(newline - data) + 1;
        end = newline || p->offset + n == LOG_MESSAGE_MAX;
    } else {
        end = n == p->left;
    }
    *ret = (struct log_piece){.channel = p->tty ? 1 : p->channel,
                              .time_ns = p->time_ns,
                              .offset = p->offset,
                              .data = data,
                              .len = n,
                              .end = end};
    p->offset += n;
    return n;
}

ssize_t log_parser_feed(struct log_parser *p, const char *data, size_t len, size_t max,
                        struct log_piece *ret) {
    size_t taken = 0;
    ret->channel = 0;
    while (taken < len && ret->channel == 0) {
        const char *at = data + taken;
        size_t room = len - taken;
        ssize_t n;
        if (!p->tty && p->channel == 0) {
            n = take_head(p, at, room);
            if (n < 0)
                return n;
            taken += (size_t)n;
            continue;
        }
        if (!p->tty && room > p->left)
            room = p->left;
        if (p->in_text)
            n = (ssize_t)take_text(p, at, room, max, ret);
        else
            n = take_time(p, at, room);
        if (n < 0)
            return n;
        taken += (size_t)n;
        if (!p->tty) {
            p->left -= (uint32_t)n;
            if (p->left == 0)
                p->channel = 0;
        } else if (ret->channel && ret->end) {
            begin_message(p);
        }
    }
    return (ssize_t)taken;
}
