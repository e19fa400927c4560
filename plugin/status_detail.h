#pragma once
/* Everything about one task as text for a person. Pure; any thread. */
#include "paddock/buf.h"
#include <jansson.h>

/** The tasks of @doc (a status document) that @name names: a task's name, or the first characters
 * of its allocation's or container's id. Each is a copy, with "image_id" and "log" added where the
 * document has them. Owner: caller, a new array; NULL when out of memory. */
json_t *status_detail_find(const json_t *doc, const char *name);

/** Appends one task of status_detail_find. Absent values leave their line out.
 *  Returns 0; -ENOMEM, -EMSGSIZE of @out. */
int status_detail_put(struct buf *out, const json_t *task) MUST_CHECK;
