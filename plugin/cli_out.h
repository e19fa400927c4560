#pragma once
/* What the commands write to stdout. Names come from job files and labels: no control character of
 * theirs reaches a terminal. */
#include "paddock/cleanup.h"
#include <jansson.h>

/** Writes @text; each control character but the line end (C0, DEL, and C1 as UTF-8 writes it) is
 * written as "?". */
void cli_out_text(const char *text);
/** The same for formatted text. Out of memory ends the process with status 1. */
void cli_out_printf(const char *fmt, ...) PRINTF_LIKE(1, 2);
/** @doc as JSON and a line end, in ASCII, so that it has no control characters either. Out of
 * memory ends the process with status 1. */
void cli_out_json(const json_t *doc, size_t flags);
/** Flushes. Returns @status; 1 with a message on stderr when something could not be written. */
int cli_out_end(int status);
