/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Parses Docker's log stream (timestamps=1) into messages.
 *
 * Without a TTY the stream consists of frames, each with a head of 8 bytes and a payload. With a
 * TTY it is plain text. Each message starts with its RFC 3339 time and a space. One message is one
 * line, or 16 KiB of a longer one.
 *
 * It is a pull parser: it returns at most as much as the caller has room for. Pure. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Docker cuts lines into messages of this size (its copier's buffer). */
#define LOG_MESSAGE_MAX 16384

struct log_parser {
    bool tty;
    /* current frame */
    unsigned char head[8];
    unsigned head_len;
    uint32_t left; /* bytes of the frame that are still missing */
    int channel;   /* 1 stdout, 2 stderr; 0 between frames */
    /* message */
    char time[40];
    unsigned time_len;
    bool in_text; /* the time is complete */
    int64_t time_ns;
    size_t offset; /* of the next byte in the message */
};

struct log_piece {
    int channel;
    int64_t time_ns;
    size_t offset; /* of data in its message */
    const char *data;
    size_t len;
    bool end; /* true: the message ends with this piece */
};

/** @tty: whether the container has a TTY. @p needs no release. */
void log_parser_init(struct log_parser *p, bool tty);

/** Takes bytes from @data until there is a piece of at most @max bytes (> 0), or no more input.
 * Returns the number of bytes taken. ret->channel is 0 when there is no piece; otherwise ret->data
 * points into @data. Returns -EPROTO when it is not a log stream. */
ssize_t log_parser_feed(struct log_parser *p, const char *data, size_t len, size_t max,
                        struct log_piece *ret) MUST_CHECK;
