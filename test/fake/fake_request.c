/* SPDX-License-Identifier: MPL-2.0 */
/* HTTP requests of the fake dockerd, for its server: taken from the input of a connection, with a
 * body of a known length or in chunks. The version of the API is removed from the path, so that
 * rules and engine do not depend on it. */
#include "fake/fake_conn.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

void request_done(struct request *rq) {
    free(rq->path);
    free(rq->query);
    free(rq->auth);
    free(rq->type);
    free(rq->body_text);
    *rq = (struct request){0};
}

char *request_copy(const char *from, size_t len) {
    char *out = malloc(len + 1);
    if (!out)
        abort();
    memcpy(out, from, len);
    out[len] = '\0';
    return out;
}

char *request_param(const struct request *rq, const char *key) {
    size_t n = strlen(key);
    for (const char *p = rq->query; p && *p; p = strchr(p, '&')) {
        if (*p == '&')
            p++;
        if (strncmp(p, key, n) != 0 || p[n] != '=')
            continue;
        const char *from = p + n + 1;
        char *out = calloc(1, strcspn(from, "&") + 1), *at = out;
        for (; out && *from && *from != '&'; from++) {
            unsigned code;
            if (*from == '%' && sscanf(from + 1, "%2x", &code) == 1) {
                *at++ = (char)code;
                from += 2;
            } else {
                *at++ = *from == '+' ? ' ' : *from;
            }
        }
        return out;
    }
    return NULL;
}

static const char *header_of(const char *head, const char *name) {
    size_t n = strlen(name);
    for (const char *p = strstr(head, "\r\n"); p; p = strstr(p, "\r\n")) {
        p += 2;
        if (strncasecmp(p, name, n) == 0 && p[n] == ':')
            return p + n + 1 + strspn(p + n + 1, " ");
    }
    return NULL;
}

/* All values of header @name, separated by commas, so that a header that is sent twice shows.
 * Returns "" when there is none. free() it. */
static char *headers_of(const char *head, const char *name) {
    AUTO_BUF struct buf all;
    buf_init(&all, 0);
    for (const char *v = header_of(head, name); v; v = header_of(v, name))
        if (buf_printf(&all, "%s%.*s", all.len ? "," : "", (int)strcspn(v, "\r\n"), v) < 0)
            abort();
    return request_copy(buf_text(&all), all.len);
}

/* Decodes a chunked body at @p into @out. Returns true when the body is complete. @ret_used:
 * bytes of input. */
static bool take_chunks(const char *p, size_t len, struct buf *out, size_t *ret_used) {
    size_t at = 0;
    for (;;) {
        const char *eol = memmem(p + at, len - at, "\r\n", 2);
        if (!eol)
            return false;
        size_t n = strtoul(p + at, NULL, 16);
        at = (size_t)(eol - p) + 2;
        if (len - at < n + 2)
            return false;
        if (buf_append(out, p + at, n) < 0)
            abort();
        at += n + 2;
        if (n == 0) {
            *ret_used = at;
            return true;
        }
    }
}

bool request_take(struct conn *c, struct request *rq) {
    const char *in = c->in.data, *end = c->in.len ? memmem(in, c->in.len, "\r\n\r\n", 4) : NULL;
    if (!end)
        return false;
    size_t head_len = (size_t)(end - in) + 4, used = 0;
    AUTO_FREE char *head = request_copy(in, head_len);
    const char *length = header_of(head, "Content-Length"),
               *coding = header_of(head, "Transfer-Encoding");
    AUTO_BUF struct buf body;
    buf_init(&body, 1u << 30);
    if (coding && strncasecmp(coding, "chunked", 7) == 0) {
        if (!take_chunks(in + head_len, c->in.len - head_len, &body, &used))
            return false;
    } else {
        used = length ? strtoul(length, NULL, 10) : 0;
        if (c->in.len - head_len < used)
            return false;
        if (buf_append(&body, in + head_len, used) < 0)
            abort();
    }
    char target[65536] = "", version[16] = "";
    if (sscanf(head, "%15s %65535s %15s", rq->method, target, version) != 3) {
        c->dead = true;
        return false;
    }
    c->unframed = rq->unframed = strcmp(version, "HTTP/1.0") == 0;
    char *path = target, *query = strchr(target, '?');
    if (query)
        *query++ = '\0';
    if (strncmp(path, "/v1.", 4) == 0 && strchr(path + 1, '/'))
        path = strchr(path + 1, '/');
    rq->path = strdup(path);
    rq->query = strdup(query ? query : "");
    const char *auth = header_of(head, "X-Registry-Auth");
    rq->auth = auth ? request_copy(auth, strcspn(auth, "\r\n")) : NULL;
    rq->type = headers_of(head, "Content-Type");
    rq->body_len = body.len;
    rq->body_text = buf_take(&body);
    buf_consume(&c->in, head_len + used);
    return true;
}
