/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* base64 (RFC 4648). Context: pure, any thread. */
#include "paddock/cleanup.h"
#include <stddef.h>

/** Encodes as base64url with padding (RFC 4648, section 5), which the X-Registry-Auth header
 * requires. Returns NULL when out of memory. Owner: caller, free(). */
char *base64_url_encode(const void *data, size_t len);

/** Decodes both alphabets. Line breaks are ignored, and the text ends at the first '='.
 *  @ret: the bytes, followed by a NUL. Owner: caller, free(). @ret_len: without that NUL.
 *  Returns 0; -EINVAL for any other character; -ENOMEM. */
int base64_decode(const char *text, char **ret, size_t *ret_len) MUST_CHECK;
