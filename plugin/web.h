#pragma once
/* What the metrics listener answers: GET and HEAD of /metrics and of the page at /. */
#include "paddock/cleanup.h"
#include <jansson.h>
#include <stddef.h>

struct web_sources {
    json_t *(*status)(void *ctx); /* the status document, a new reference; NULL = out of memory */
    char *(*metrics)(void *ctx);  /* Prometheus text; free(); NULL = out of memory */
    /* What `paddock check --json` printed last, owner: the callee; NULL = nothing yet. May be NULL
     * itself. */
    json_t *(*check)(void *ctx);
    void *ctx;
};

/** web_answer - the whole reply to what came so far.
 *  @request: NUL-terminated; changed when it is whole. @len: its bytes.
 *  Returns 0 with *ret (free()); -EAGAIN more has to come; -ENOMEM. A request that is none, or a
 *  head above HTTP_HEAD_MAX, has a reply too. One thread at a time. */
int web_answer(char *request, size_t len, const struct web_sources *sources, char **ret) MUST_CHECK;
