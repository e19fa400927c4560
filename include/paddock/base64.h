#pragma once
/* base64 (RFC 4648). Context: pure, any thread. */
#include "paddock/cleanup.h"
#include <stddef.h>

/** base64url with padding (section 5), as X-Registry-Auth wants it. Returns NULL when out of
 * memory. Owner: caller, free(). */
char *base64_url_encode(const void *data, size_t len);

/** Decodes either alphabet. Line breaks are ignored, and the text ends at the first '='.
 *  @ret: the bytes with a NUL after them. Owner: caller, free(). @ret_len: without that NUL.
 *  Returns 0; -EINVAL another character; -ENOMEM. */
int base64_decode(const char *text, char **ret, size_t *ret_len) MUST_CHECK;
