/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Runs `paddock check --json` in a child process, for the page in the browser. The check asks
 * dockerd and the system bus and can take seconds, which would block the control's loop. */
#include "paddock/loop.h"
#include <jansson.h>

struct checker;

/** Makes the checker. @program: the path by which this program is executed, copied. Call it on the
 * loop's thread or before the loop runs. Returns 0 or -ENOMEM. */
int checker_new(struct loop *l, const char *program, struct checker **ret) MUST_CHECK;
/** Frees the checker and ends a running child. Call it before the loop is freed: on its thread, or
 * when the loop is not running. NULL allowed. */
void checker_free(struct checker *c);

/** Returns the last result, and starts a new check when that result is older than CHECKER_AGE_S.
 * Owner: @c, until the next call. NULL = no check has ended yet. Only on the loop's thread. */
json_t *checker_last(struct checker *c);

#define CHECKER_AGE_S 30
