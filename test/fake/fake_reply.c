/* SPDX-License-Identifier: MPL-2.0 */
/* The answers of the fake dockerd: whole, in chunks, cut off, or as a stream. The server and the
 * engine call these functions. They append to the output of the connection, which the server
 * sends. */
#include "fake/fake_conn.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

void conn_write(struct conn *c, const void *data, size_t len) {
    if (!c->dead && buf_append(&c->out, data, len) < 0)
        c->dead = true;
}

void conn_close_when_written(struct conn *c) {
    c->closing = true;
}

void conn_drop(struct conn *c) {
    c->dead = true;
}

void conn_hear(struct conn *c, bool hear) {
    c->deaf = !hear;
}

void conn_head(struct conn *c, int status, const char *type, const char *header,
               const char *framing) {
    char head[2048];
    const char *extra = header ? header : c->late_header;
    bool api = !extra || strncasecmp(extra, "Api-Version:", 12) != 0;
    int n = snprintf(head, sizeof(head), "HTTP/1.1 %d Scripted\r\n%s%s%s%s%s%s%s%s%s\r\n", status,
                     api ? "Api-Version: " : "", api ? c->api : "", api ? "\r\n" : "",
                     type ? "Content-Type: " : "", type ? type : "", type ? "\r\n" : "",
                     extra ? extra : "", extra ? "\r\n" : "", framing);
    conn_write(c, head, (size_t)n);
}

const char *conn_chunked_framing(const struct conn *c) {
    return c->unframed ? "" : "Transfer-Encoding: chunked\r\n";
}

void conn_reply_text(struct conn *c, int status, const char *type, const char *header, bool chunked,
                     const char *body, size_t len, size_t cut) {
    char framing[96];
    bool bare = status == 204 || status == 304;
    if (bare)
        framing[0] = '\0';
    else if (chunked)
        snprintf(framing, sizeof(framing), "%s", conn_chunked_framing(c));
    else
        snprintf(framing, sizeof(framing), "Content-Length: %zu\r\n", len);
    conn_head(c, status, type, header, framing);
    if (bare)
        return;
    size_t send = cut < len ? cut : len;
    for (size_t at = 0; at < send;) {
        size_t n = send - at > 1000 && chunked ? 1000 : send - at;
        if (chunked)
            conn_chunk(c, body + at, n);
        else
            conn_write(c, body + at, n);
        at += n;
    }
    if (cut < len)
        c->closing = true;
    else if (chunked)
        conn_end_chunks(c);
}

void conn_reply(struct conn *c, int status, json_t *body) {
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    conn_reply_text(c, status, text ? "application/json" : NULL, NULL, false, text ? text : "",
                    text ? strlen(text) : 0, SIZE_MAX);
    free(text);
}

void conn_error(struct conn *c, int status, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    conn_reply(c, status, json_pack("{s:s}", "message", text));
}

void conn_stream(struct conn *c, const char *type) {
    c->streaming = true;
    conn_head(c, 200, type, NULL, conn_chunked_framing(c));
}

void conn_chunk(struct conn *c, const void *data, size_t len) {
    char size[32];
    if (len == 0)
        return;
    if (c->unframed) {
        conn_write(c, data, len);
        return;
    }
    conn_write(c, size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", len));
    conn_write(c, data, len);
    conn_write(c, "\r\n", 2);
}

void conn_end_chunks(struct conn *c) {
    c->streaming = false;
    if (c->unframed)
        c->closing = true;
    else
        conn_write(c, "0\r\n\r\n", 5);
}

void conn_hijack(struct conn *c) {
    static const char head[] =
        "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
        "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
    c->hijacked = true;
    conn_write(c, head, sizeof(head) - 1);
}
