#pragma once
/* Why a JSON text cannot be parsed, for error texts and logs. */
#include <jansson.h>

#define JSON_REASON_MAX 256

/** Writes "line 3, column 7: invalid token". jansson's own text goes on with what it met there
 * ("near 'hunter2'"), which can be a secret of the file's; that part is left out. Pure. */
void json_reason(const json_error_t *e, char ret[JSON_REASON_MAX]);
