/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The status document of one driver as text for a person: a head line and one line per task, fitted
 * to the terminal. Pure; any thread. */
#include "paddock/buf.h"
#include <jansson.h>

/** Appends the table to @out. @doc: made by driver_status(). A value that is absent or malformed
 * leaves its cell empty.
 *  @columns: of the terminal, 0 = no limit. Columns that do not fit are omitted in a fixed order,
 *  or cut and marked by "~".
 *  @now_ns: wall clock, for "3 s ago".
 *  Returns 0; -ENOMEM or -EMSGSIZE of @out. */
int status_table_put(struct buf *out, const json_t *doc, size_t columns, int64_t now_ns) MUST_CHECK;
