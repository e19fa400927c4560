/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The page for the browser: the node's cores as a map, its tasks, and the results of the check. It
 * is one document without scripts and without external resources. Pure; any thread. */
#include "paddock/buf.h"
#include <jansson.h>

/** Appends the page to @out. Every text of the documents is escaped. A value that is absent or
 * malformed leaves its place empty.
 *  @doc: the status document. @check: the output of `paddock check --json`, NULL = unknown.
 *  @now_ns: wall clock. @nonce: of the reply's Content-Security-Policy, only letters and digits.
 *  Returns 0; -ENOMEM or -EMSGSIZE of @out. */
int web_page_put(struct buf *out, const json_t *doc, const json_t *check, int64_t now_ns,
                 const char *nonce) MUST_CHECK;
