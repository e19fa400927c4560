/* SPDX-License-Identifier: MPL-2.0 */
/* The routes of the metrics listener; plugin/control.c calls web_answer() with the bytes
 * that a client sent.
 *
 * All routes are read-only. A request must name this machine in its Host header. So a page of
 * another origin whose name was pointed at 127.0.0.1 cannot read anything. */
#include "plugin/web.h"

#include "plugin/http.h"
#include "plugin/openmetrics.h"
#include "plugin/web_page.h"

#include "paddock/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define PLAIN "text/plain; charset=utf-8"
#define PAGE_MAX (32u << 20)

static char *answer_text(unsigned status, const char *fields, const char *text, bool head_only) {
    return http_reply(&(struct http_reply){
        .status = status, .type = PLAIN, .fields = fields, .body = text, .head_only = head_only});
}

static char *answer_metrics(const struct web_sources *s, const struct http_request *rq) {
    bool open = http_wants_openmetrics(rq->accept);
    AUTO_FREE char *text = s->metrics(s->ctx);
    AUTO_FREE char *converted = text && open ? openmetrics_from(text) : NULL;
    const char *body = open ? converted : text;
    if (!body)
        return NULL;
    return http_reply(&(struct http_reply){
        .status = 200,
        .type = open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                     : "text/plain; version=0.0.4; charset=utf-8",
        .body = body,
        .head_only = rq->method == HTTP_HEAD,
    });
}

static char *answer_page(const struct web_sources *s, const struct http_request *rq) {
    char nonce[33], fields[512];
    uint64_t random[2];
    AUTO_BUF struct buf page;
    buf_init(&page, PAGE_MAX);
    if (getrandom(random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
        return answer_text(500, NULL, "no random numbers yet\n", rq->method == HTTP_HEAD);
    snprintf(nonce, sizeof(nonce), "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    snprintf(fields, sizeof(fields),
             "Content-Security-Policy: default-src 'none'; style-src 'nonce-%s'; base-uri 'none'; "
             "form-action 'none'; frame-ancestors 'none'\r\n"
             "Referrer-Policy: no-referrer\r\nCache-Control: no-store\r\n"
             "Cross-Origin-Resource-Policy: same-origin\r\n",
             nonce);
    json_t *doc = s->status(s->ctx);
    const json_t *check = s->check ? s->check(s->ctx) : NULL;
    int r = doc ? web_page_put(&page, doc, check, clock_wall_ns(), nonce) : -ENOMEM;
    json_decref(doc);
    if (r < 0)
        return NULL;
    return http_reply(&(struct http_reply){.status = 200,
                                           .type = "text/html; charset=utf-8",
                                           .fields = fields,
                                           .body = buf_text(&page),
                                           .head_only = rq->method == HTTP_HEAD});
}

static char *answer_request(const struct web_sources *s, const struct http_request *rq) {
    bool head = rq->method == HTTP_HEAD;
    bool page = strcmp(rq->path, "/") == 0, metrics = strcmp(rq->path, "/metrics") == 0;
    if (!http_host_is_local(rq->host))
        return answer_text(403, NULL, "the Host header must name localhost or a loopback address\n",
                           head);
    if (!page && !metrics)
        return answer_text(404, NULL, "there are / and /metrics\n", head);
    if (rq->method == HTTP_OTHER)
        return answer_text(405, "Allow: GET, HEAD\r\n", "GET and HEAD are allowed\n", false);
    return page ? answer_page(s, rq) : answer_metrics(s, rq);
}

int web_answer(char *request, size_t len, const struct web_sources *sources, char **ret) {
    struct http_request rq;
    char *reply;
    int r = http_parse(request, &rq);
    if (r == -EAGAIN && len < HTTP_HEAD_MAX)
        return r;
    if (r == -EAGAIN)
        reply = answer_text(431, NULL, "the head of the request is too long\n", false);
    else if (r < 0)
        reply = answer_text(400, NULL, "this is no HTTP/1 request\n", false);
    else
        reply = answer_request(sources, &rq);
    if (!reply)
        return -ENOMEM;
    *ret = reply;
    return 0;
}
