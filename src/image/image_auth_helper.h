#pragma once
/* Credential helpers: the programs docker-credential-NAME. */
#include "image_auth.h"

/** Runs `docker-credential-@name get` for @registry; ended after 30 s, or with @call.
 *  Returns 1 found (@ret is filled); 0 the helper has no credentials for @registry; -EACCES it
 * failed; -ENOENT no such program; -EPROTO its answer is no JSON; -ETIMEDOUT; -ECANCELED; -errno.
 * @err names helper and registry and quotes at most the start of its stderr.
 *  Context: any thread; blocks. */
int image_auth_helper_ask(const char *name, const char *registry, const struct call *call,
                          struct image_auth *ret, struct err *err) MUST_CHECK;
