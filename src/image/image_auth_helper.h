/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Credential helpers: the programs docker-credential-NAME. */
#include "src/image/image_auth.h"

/** Runs `docker-credential-@name get` for @registry. The helper is killed after 30 s, or when
 * @call ends.
 *  Returns 1 found (@ret is filled); 0 the helper has no credentials for @registry; -EACCES the
 * helper failed; -ENOENT no such program; -EPROTO its answer is no JSON; -ETIMEDOUT; -ECANCELED;
 * -errno. @err names the helper and the registry, and quotes at most the start of the
 * helper's stderr.
 *  Context: any thread; blocks. */
int image_auth_helper_ask(const char *name, const char *registry, const struct call *call,
                          struct image_auth *ret, struct err *err) MUST_CHECK;
