/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Parses one HTTP/1 request and formats a reply. It is made for GET and HEAD: a body is never read,
 * and each connection carries one request. Pure; any thread. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stddef.h>

#define HTTP_HEAD_MAX 65536u /* bytes of a request's head; a longer one is answered with 431 */

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_OTHER };

/* All texts point into the request that was parsed. */
struct http_request {
    enum http_method method;
    const char *path;   /* without the query, "/metrics" */
    const char *host;   /* NULL = none was sent */
    const char *accept; /* "" = none was sent */
};

/** http_parse - reads the head of a request.
 *  @text: NUL-terminated. It is changed: each part gets its own NUL.
 *  Returns 0 with *ret; -EAGAIN when the head is incomplete (then nothing is changed); -EBADMSG
 *  when it is not an HTTP/1 request. */
int http_parse(char *text, struct http_request *ret) MUST_CHECK;

/** True when @host (the value of a Host header, NULL = none) names this machine: localhost,
 * 127.0.0.0/8 or ::1, with any port. A page of another origin whose name was pointed at the
 * loopback address (DNS rebinding) sends its own name instead. */
bool http_host_is_local(const char *host);

/** True when @accept asks for OpenMetrics. */
bool http_wants_openmetrics(const char *accept);

struct http_reply {
    unsigned status;    /* 200, 400, 403, 404, 405, 431, 500 */
    const char *type;   /* Content-Type */
    const char *fields; /* further header lines, each with its \r\n; NULL = none */
    const char *body;
    bool head_only; /* for HEAD: the length is sent, the body is not */
};

/** Returns the whole reply. Owner: caller, free(). NULL when out of memory. */
char *http_reply(const struct http_reply *reply);
