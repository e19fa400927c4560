/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Writes the output of the commands to stdout. Names come from job files and labels, so their
 * control characters must not reach a terminal. */
#include "paddock/cleanup.h"
#include <jansson.h>

/** Writes @text. Each control character except the line end is written as "?": C0, DEL, and C1
 * in its UTF-8 form. */
void cli_out_text(const char *text);
/** The same for formatted text. When out of memory, ends the process with status 1. */
void cli_out_printf(const char *fmt, ...) PRINTF_LIKE(1, 2);
/** Writes @doc as JSON and a line end, in ASCII, so that it has no control characters either. When
 * out of memory, ends the process with status 1. */
void cli_out_json(const json_t *doc, size_t flags);
/** Flushes. Returns @status, or 1 with a message on stderr when something could not be written. */
int cli_out_end(int status);
