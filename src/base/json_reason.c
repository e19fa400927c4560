/* SPDX-License-Identifier: MPL-2.0 */
/* Formats the reason why a JSON text cannot be parsed, without any part of that text.
 *
 * All code that parses JSON with jansson and reports the error calls it. jansson's own message ends
 * with the characters at the error, which can be a password from an auth file. */
#include "paddock/json_reason.h"

#include <stdio.h>
#include <string.h>

void json_reason(const json_error_t *e, char ret[JSON_REASON_MAX]) {
    const char *met = strstr(e->text, " near '");
    size_t len = met ? (size_t)(met - e->text) : strlen(e->text);
    snprintf(ret, JSON_REASON_MAX, "line %d, column %d: %.*s", e->line, e->column, (int)len,
             e->text);
}
