/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* A byte buffer that grows up to a limit. A NUL that is not counted always follows its data. */
#include "paddock/cleanup.h"
#include <stddef.h>

struct buf {
    char *data; /* NULL until something is added */
    size_t len;
    size_t cap;
    size_t limit; /* the most bytes that it may hold; 0 = 1 MiB */
};

/** Context: any thread, one thread at a time for each struct; no lock. */
void buf_init(struct buf *b, size_t limit);
/** Frees the data. The limit is kept, so the buffer can be used again. */
void buf_done(struct buf *b);

/** Each returns 0; -EMSGSIZE beyond the limit; -ENOMEM. On failure nothing is added. */
int buf_append(struct buf *b, const void *data, size_t len) MUST_CHECK;
int buf_puts(struct buf *b, const char *text) MUST_CHECK;
int buf_printf(struct buf *b, const char *fmt, ...) MUST_CHECK PRINTF_LIKE(2, 3);

/** Removes the first @len bytes and moves the rest to the front. */
void buf_consume(struct buf *b, size_t len);

/** The text, or "" when nothing was added. Owner: the buffer. */
const char *buf_text(const struct buf *b);

/** Returns the text and empties the buffer. Owner: caller, free(). An empty buffer gives a new "".
 * Returns NULL when out of memory. */
char *buf_take(struct buf *b);

#define AUTO_BUF __attribute__((cleanup(buf_done)))
