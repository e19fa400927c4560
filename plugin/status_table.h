#pragma once
/* The status document of one driver as text for a person: a head line and one line a task, made to
 * fit. Pure; any thread. */
#include "paddock/buf.h"
#include <jansson.h>

/** Appends to @out. @doc: what driver_status makes; absent and odd values leave their cell empty.
 *  @columns: of the terminal, 0 = no limit. What does not fit is left out in a fixed order or cut,
 * marked by "~".
 *  @now_ns: wall clock, for "3 s ago". Returns 0; -ENOMEM, -EMSGSIZE of @out. */
int status_table_put(struct buf *out, const json_t *doc, size_t columns, int64_t now_ns) MUST_CHECK;
