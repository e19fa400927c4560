/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The answers of the metrics listener: GET and HEAD of /metrics and of the page at /. */
#include "paddock/cleanup.h"
#include <jansson.h>
#include <stddef.h>

struct web_sources {
    json_t *(*status)(void *ctx); /* the status document, a new reference; NULL = out of memory */
    char *(*metrics)(void *ctx);  /* Prometheus text; free(); NULL = out of memory */
    /* The last output of `paddock check --json`, owner: the callee; NULL = no check has ended yet.
     * The member itself may be NULL. */
    json_t *(*check)(void *ctx);
    void *ctx;
};

/** web_answer - the whole reply to the bytes received so far.
 *  @request: NUL-terminated; changed when it is complete. @len: its bytes.
 *  Returns 0 with *ret (free()); -EAGAIN when more must be received; -ENOMEM. Text that is not a
 *  request, and a head above HTTP_HEAD_MAX, get a reply, too. One thread at a time. */
int web_answer(char *request, size_t len, const struct web_sources *sources, char **ret) MUST_CHECK;
