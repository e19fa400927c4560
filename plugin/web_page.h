#pragma once
/* The page for the browser: the node's cores as a map, its tasks, what was checked. One document
 * without scripts and without anything from elsewhere. Pure; any thread. */
#include "paddock/buf.h"
#include <jansson.h>

/** Appends the page to @out. Every text of the documents is escaped; absent and odd values leave
 * their place empty.
 *  @doc: the status document. @check: what `paddock check --json` prints, NULL = not known.
 *  @now_ns: wall clock. @nonce: of the reply's Content-Security-Policy, letters and digits alone.
 *  Returns 0; -ENOMEM, -EMSGSIZE of @out. */
int web_page_put(struct buf *out, const json_t *doc, const json_t *check, int64_t now_ns,
                 const char *nonce) MUST_CHECK;
