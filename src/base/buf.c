/* SPDX-License-Identifier: MPL-2.0 */
/* A byte buffer with a limit. Every layer uses it for texts of unknown length.
 *
 * The capacity is doubled as needed. The limit applies to the length, so a peer that sends without
 * end causes -EMSGSIZE instead of filling the memory. */
#include "paddock/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BUF_LIMIT_DEFAULT ((size_t)1 << 20)

void buf_init(struct buf *b, size_t limit) {
    *b = (struct buf){.limit = limit};
}

void buf_done(struct buf *b) {
    cleanup_free(&b->data);
    *b = (struct buf){.limit = b->limit};
}

/* Makes room for @more bytes and the NUL. */
static int buf_reserve(struct buf *b, size_t more) {
    size_t limit = b->limit ? b->limit : BUF_LIMIT_DEFAULT;
    if (more > limit || b->len > limit - more)
        return -EMSGSIZE;
    size_t need = b->len + more + 1;
    if (need <= b->cap)
        return 0;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap *= 2;
    char *data = realloc(b->data, cap);
    if (!data)
        return -ENOMEM;
    b->data = data;
    b->cap = cap;
    return 0;
}

int buf_append(struct buf *b, const void *data, size_t len) {
    int r = buf_reserve(b, len);
    if (r < 0)
        return r;
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return 0;
}

int buf_puts(struct buf *b, const char *text) {
    return buf_append(b, text, strlen(text));
}

int buf_printf(struct buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return -EINVAL;
    int r = buf_reserve(b, (size_t)n);
    if (r < 0)
        return r;
    va_start(ap, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return 0;
}

void buf_consume(struct buf *b, size_t len) {
    if (len >= b->len) {
        b->len = 0;
    } else {
        memmove(b->data, b->data + len, b->len - len);
        b->len -= len;
    }
    if (b->data)
        b->data[b->len] = '\0';
}

const char *buf_text(const struct buf *b) {
    return b->data ? b->data : "";
}

char *buf_take(struct buf *b) {
    char *text = b->data ? TAKE_PTR(b->data) : calloc(1, 1);
    *b = (struct buf){.limit = b->limit};
    return text;
}
