#pragma once
/* One HTTP/1 request as a value, and the text of a reply. Reading is for GET and HEAD: a body is
 * never read, and each connection carries one request. Pure; any thread. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stddef.h>

#define HTTP_HEAD_MAX 65536u /* bytes of a request's head; a longer one is answered with 431 */

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_OTHER };

/* All texts lie in the request that was read. */
struct http_request {
    enum http_method method;
    const char *path;   /* without the query, "/metrics" */
    const char *host;   /* NULL = none was sent */
    const char *accept; /* "" = none was sent */
};

/** http_parse - reads the head of a request.
 *  @text: NUL-terminated, changed: the parts get their NULs.
 *  Returns 0 with *ret; -EAGAIN the head is not whole yet (nothing is changed); -EBADMSG it is no
 *  HTTP/1 request. */
int http_parse(char *text, struct http_request *ret) MUST_CHECK;

/** Whether @host (a Host header's value, NULL = none) names this machine: localhost, 127.0.0.0/8 or
 *  ::1, with any port. A page of another origin whose name was pointed at the loopback address (DNS
 *  rebinding) sends its own name. */
bool http_host_is_local(const char *host);

/** Whether @accept asks for OpenMetrics. */
bool http_wants_openmetrics(const char *accept);

struct http_reply {
    unsigned status;    /* 200, 400, 403, 404, 405, 431, 500 */
    const char *type;   /* Content-Type */
    const char *fields; /* more header lines, each with its \r\n; NULL = none */
    const char *body;
    bool head_only; /* as for HEAD: the length is sent, the body is not */
};

/** The whole reply; free(). NULL when out of memory. */
char *http_reply(const struct http_reply *reply);
