/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The reason why a JSON text cannot be parsed, for error texts and logs. */
#include <jansson.h>

#define JSON_REASON_MAX 256

/** Writes, for example, "line 3, column 7: invalid token". jansson's own message continues with
 * the characters at the error ("near 'hunter2'"). They can be a secret from the file, so they
 * are left out. Pure. */
void json_reason(const json_error_t *e, char ret[JSON_REASON_MAX]);
