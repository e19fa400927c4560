/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
#include "src/create/create_step.h"

/** Returns the first failure of a create_json_ function or of create_fail(), 0 = none. */
int create_fail_code(const struct create *c) MUST_CHECK;
/** Fails with @code (EINVAL and the like) and a text: `return create_fail(c, EINVAL, "...", ...)`.
 * Never returns 0. */
int create_fail(struct create *c, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/** Fails when @r, the result of a check of @path, is a shortage of this host: out of memory, or no
 * descriptors (then ERR_RECOVERABLE). Returns 0 for any other @r. */
int create_fail_shortage(struct create *c, int r, const char *path) MUST_CHECK;
