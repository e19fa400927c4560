/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* An error text that is passed up to the code that reports it. The struct has a fixed size and
 * belongs to the caller; a NULL pointer is allowed. The first error is kept. Nothing here
 * allocates. Functions that fill it also return -errno. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stddef.h>

/* What the error means to Nomad. Only plugin/rpc_status.c maps it to a gRPC code. Unavailable and
 * Cancelled are missing on purpose: Nomad takes them as a sign that the plugin is dying.
 *   name            gRPC code             Nomad's reaction */
enum err_class {
    ERR_PLAIN = 0,   /* Unknown: the request fails, no local restart (Go drivers send it, too) */
    ERR_INVALID,     /* InvalidArgument: bad input; the text names field and value */
    ERR_NOT_FOUND,   /* NotFound */
    ERR_RECOVERABLE, /* FailedPrecondition + RecoverableError{true}: the restart policy applies */
    ERR_UNSUPPORTED, /* Unimplemented */
    ERR_DEADLINE,    /* DeadlineExceeded: something that we waited for did not answer in time */
};

#define ERR_TEXT_MAX 2048

struct err {
    bool set;
    int code; /* positive errno */
    enum err_class cls;
    char text[ERR_TEXT_MAX]; /* UTF-8, cut at the end when longer */
};

/** Sets @err unless it is NULL or set already. Returns -@code, for `return err_set(err, ...)`.
 *  Context: any thread. */
int err_set(struct err *err, enum err_class cls, int code, const char *fmt, ...) PRINTF_LIKE(4, 5);

/** Puts "text: " in front of the error. Returns @r unchanged. */
int err_wrap(struct err *err, int r, const char *fmt, ...) PRINTF_LIKE(3, 4);

/** Changes what the error means to Nomad. Returns @r unchanged. */
int err_reclass(struct err *err, int r, enum err_class cls);

/** Sets the text for -ENOMEM. Returns -ENOMEM. */
int err_oom(struct err *err);

/** Removes the error, before a second attempt. NULL allowed. */
void err_clear(struct err *err);
