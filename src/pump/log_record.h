/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Parses one record of Docker's json-file log, a JSON object on a line:
 *   {"log":"text\n","stream":"stdout","attrs":{"k":"v"},"time":"2024-01-02T03:04:05.678901234Z"}
 *
 * dockerd cuts a program's output at newlines and after 16 KiB, and writes each piece as one
 * record. Only the record that completes a line ends with "\n". So the texts of one stream, put
 * together, are the bytes that the program wrote. There is one exception: dockerd replaces bytes
 * that are not UTF-8 by U+FFFD when it writes the record.
 *
 * Lines of exactly dockerd's form are scanned here. All other lines are passed to jansson, which
 * is about ten times slower. A fuzz target compares the results of both. Pure, except that
 * jansson allocates. */
#include "paddock/cleanup.h"
#include <stddef.h>

#define LOG_RECORD_TIME_MAX 40

struct log_record {
    int stream;      /* 0 stdout, 1 stderr */
    size_t text_len; /* bytes of the message in the caller's buffer */
    char time[LOG_RECORD_TIME_MAX];
};

/** Parses the record in @line, which has no newline. The message is written to @text, which has
 * room for @len + 8 bytes. Returns 0; -EPROTO when it is not a record. */
int log_record_parse(const char *line, size_t len, char *text, struct log_record *ret) MUST_CHECK;

/** Finds where the next record may begin inside a damaged line. When dockerd was killed in the
 * middle of a record, or its disk was full, it continues on the same line. A quote inside a message
 * is escaped, so the start of a record cannot be part of a message. Returns an offset > 0, or @len
 * when no record begins in the line. */
size_t log_record_resync(const char *line, size_t len);
