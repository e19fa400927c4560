#pragma once
/* The error that travels up to whoever reports it: owned by the caller, of fixed size, allowed to
 * be NULL, first one wins, never allocates. Functions return -errno beside it. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stddef.h>

/* What the error means to Nomad. plugin/rpc_status.c alone maps it to a gRPC code; Unavailable and
 * Cancelled are not here on purpose, for they tell Nomad that the plugin is dying.
 *   name            gRPC code             Nomad's reaction */
enum err_class {
    ERR_PLAIN = 0,   /* Unknown: fails the request, no local restart (what Go drivers send) */
    ERR_INVALID,     /* InvalidArgument: bad input; the text names field and value */
    ERR_NOT_FOUND,   /* NotFound */
    ERR_RECOVERABLE, /* FailedPrecondition + RecoverableError{true}: the restart policy applies */
    ERR_UNSUPPORTED, /* Unimplemented */
    ERR_DEADLINE,    /* DeadlineExceeded: something we waited for did not answer in time */
};

#define ERR_TEXT_MAX 2048

struct err {
    bool set;
    int code; /* positive errno */
    enum err_class cls;
    char text[ERR_TEXT_MAX]; /* UTF-8, cut at the end when longer */
};

/** Sets @err unless it is NULL or set already. Returns -@code, so `return err_set(err, ...)`.
 *  Context: any thread. */
int err_set(struct err *err, enum err_class cls, int code, const char *fmt, ...) PRINTF_LIKE(4, 5);

/** Puts "text: " in front of the error. Returns @r unchanged. */
int err_wrap(struct err *err, int r, const char *fmt, ...) PRINTF_LIKE(3, 4);

/** Changes what the error means to Nomad. Returns @r unchanged. */
int err_reclass(struct err *err, int r, enum err_class cls);

/** -ENOMEM with its text. */
int err_oom(struct err *err);

/** Forgets the error, for a second attempt. NULL allowed. */
void err_clear(struct err *err);
