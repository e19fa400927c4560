/* SPDX-License-Identifier: MPL-2.0 */
/* Parses a request of the metrics listener and formats its reply. plugin/web.c decides what the
 * answer is, plugin/control.c moves the bytes.
 *
 * The listener has a loopback address and serves two documents that every user of the machine may
 * read. So this is only the part of HTTP/1 that browsers and Prometheus need. libmicrohttpd could
 * do it, too, but its static library brings all of GnuTLS into the plugin. */
#include "plugin/http.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- reading ---- */

/* Returns the next line of @at; its line end becomes a NUL. Returns NULL when no line is left. */
static char *take_line(char **at) {
    char *line = *at, *end = line ? strchr(line, '\n') : NULL;
    if (!end)
        return NULL;
    *at = end + 1;
    if (end > line && end[-1] == '\r')
        end--;
    *end = '\0';
    return line;
}

static bool has_blank_line(const char *text) {
    return strstr(text, "\r\n\r\n") || strstr(text, "\n\n");
}

static char *trim_blanks(char *text) {
    text += strspn(text, " \t");
    size_t len = strlen(text);
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        text[--len] = '\0';
    return text;
}

static int read_request_line(char *line, struct http_request *ret) {
    char *path = strchr(line, ' ');
    char *version = path ? strchr(path + 1, ' ') : NULL;
    if (!version || strncmp(version + 1, "HTTP/1.", 7) != 0)
        return -EBADMSG;
    *path++ = '\0';
    *version = '\0';
    /* The form for proxies, "http://host/path". */
    if (strncasecmp(path, "http://", 7) == 0)
        path = strchr(path + 7, '/') ?: version;
    path[strcspn(path, "?#")] = '\0';
    ret->method = strcmp(line, "GET") == 0    ? HTTP_GET
                  : strcmp(line, "HEAD") == 0 ? HTTP_HEAD
                                              : HTTP_OTHER;
    ret->path = path[0] ? path : "/";
    return 0;
}

int http_parse(char *text, struct http_request *ret) {
    if (!has_blank_line(text))
        return -EAGAIN;
    char *at = text;
    *ret = (struct http_request){.accept = ""};
    int r = read_request_line(take_line(&at), ret);
    for (char *line; r == 0 && (line = take_line(&at)) && line[0];) {
        char *colon = strchr(line, ':');
        if (!colon)
            return -EBADMSG;
        *colon = '\0';
        if (strcasecmp(line, "Host") == 0)
            ret->host = trim_blanks(colon + 1);
        else if (strcasecmp(line, "Accept") == 0)
            ret->accept = trim_blanks(colon + 1);
    }
    return r;
}

static bool is_port(const char *text) {
    return text[0] == '\0' || (text[0] == ':' && text[1 + strspn(text + 1, "0123456789")] == '\0');
}

bool http_host_is_local(const char *host) {
    if (!host)
        return true; /* HTTP/1.0: no browser sends that */
    if (strncasecmp(host, "localhost", 9) == 0)
        return is_port(host + 9);
    if (strncmp(host, "[::1]", 5) == 0)
        return is_port(host + 5);
    size_t len = strspn(host, "0123456789.");
    return strncmp(host, "127.", 4) == 0 && is_port(host + len);
}

bool http_wants_openmetrics(const char *accept) {
    return strstr(accept, "application/openmetrics-text");
}

/* ---- writing ---- */

static const char *reason_of(unsigned status) {
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 431:
        return "Request Header Fields Too Large";
    default:
        return "Internal Server Error";
    }
}

char *http_reply(const struct http_reply *reply) {
    char *out = NULL;
    if (asprintf(&out,
                 "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                 "X-Content-Type-Options: nosniff\r\n%sConnection: close\r\n\r\n%s",
                 reply->status, reason_of(reply->status), reply->type, strlen(reply->body),
                 reply->fields ? reply->fields : "", reply->head_only ? "" : reply->body) < 0)
        return NULL;
    return out;
}
