#pragma once
/* Runs `paddock check --json` in a child process, for the page in the browser. The check asks
 * dockerd and the system bus and can take seconds, which the control's loop cannot spare. */
#include "paddock/loop.h"
#include <jansson.h>

struct checker;

/** @program: this program's path, copied. Call on the loop's thread or before it runs. Returns 0;
 * -ENOMEM. */
int checker_new(struct loop *l, const char *program, struct checker **ret) MUST_CHECK;
/** Ends a child that runs. The loop lives still and is not running, or this is its thread. NULL
 * allowed. */
void checker_free(struct checker *c);

/** The last result; starts a new check when that is older than CHECKER_AGE_S. Owner: @c, until the
 * next call. NULL = no check has ended yet. The loop's thread. */
json_t *checker_last(struct checker *c);

#define CHECKER_AGE_S 30
