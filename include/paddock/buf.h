#pragma once
/* A growing byte buffer with a ceiling. Its data always ends with a NUL that is not counted. */
#include "paddock/cleanup.h"
#include <stddef.h>

struct buf {
    char *data; /* NULL while nothing was added */
    size_t len;
    size_t cap;
    size_t limit; /* most bytes that may be held; 0 = 1 MiB */
};

/** Context: any thread, one at a time per struct; no lock. */
void buf_init(struct buf *b, size_t limit);
void buf_done(struct buf *b);

/** Returns 0; -EMSGSIZE beyond the limit; -ENOMEM. Nothing is added on failure. */
int buf_append(struct buf *b, const void *data, size_t len) MUST_CHECK;
int buf_puts(struct buf *b, const char *text) MUST_CHECK;
int buf_printf(struct buf *b, const char *fmt, ...) MUST_CHECK PRINTF_LIKE(2, 3);

/** Drops the first @len bytes (moves the rest to the front). */
void buf_consume(struct buf *b, size_t len);

/** The text, "" when nothing was added. Owner: the buffer. */
const char *buf_text(const struct buf *b);

/** Hands the text over (free()), "" as a fresh string when empty; NULL without memory. */
char *buf_take(struct buf *b);

#define AUTO_BUF __attribute__((cleanup(buf_done)))
