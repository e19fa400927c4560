#pragma once
/* Docker's log stream (timestamps=1) to messages: frames of 8 bytes head and payload without a TTY,
 * plain text with one. Each message starts with its RFC 3339 time and a blank; one message is one
 * line, or 16 KiB of a longer one. Pull parser: it gives at most what the caller has room for.
 * Pure. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Docker cuts lines into messages of this size (its copier's buffer). */
#define LOG_MESSAGE_MAX 16384

struct log_parser {
    bool tty;
    /* frame */
    unsigned char head[8];
    unsigned head_len;
    uint32_t left; /* bytes of the frame that are still to come */
    int channel;   /* 1 stdout, 2 stderr; 0 = between frames */
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
    bool end; /* the message ends with it */
};

void log_parser_init(struct log_parser *p, bool tty);

/** Takes bytes from @data until there is a piece of at most @max bytes (> 0) or no more input.
 *  Returns the bytes taken; ret->channel is 0 when there is no piece. -EPROTO: no log stream. */
ssize_t log_parse(struct log_parser *p, const char *data, size_t len, size_t max,
                  struct log_piece *ret) MUST_CHECK;
