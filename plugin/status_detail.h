/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* All values of one task as text for a person. Pure; any thread. */
#include "paddock/buf.h"
#include <jansson.h>

/** Returns the tasks of @doc (a status document) that match @name: a task's name or id, or the
 * first characters of its allocation's or container's id. Each one is a copy, with "image_id" and
 * "log" added when the document has them. Owner: caller, a new array; NULL when out of memory. */
json_t *status_detail_find(const json_t *doc, const char *name);

/** Appends one task of status_detail_find(). An absent value omits its line.
 *  Returns 0; -ENOMEM or -EMSGSIZE of @out. */
int status_detail_put(struct buf *out, const json_t *task) MUST_CHECK;
