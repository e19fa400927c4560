#pragma once
/* Paths as text: nothing is looked up. Context of all: pure, any thread. */
#include <stddef.h>

/** The shortest text of the same path, by text alone: no "//", no ".", ".." taken back ("/.." is
 * "/").
 *  "" gives ".". Owner: caller, free(). NULL when out of memory. */
char *path_text_clean(const char *path);

/** @path when absolute, else @base/@path; cleaned. Owner: caller, free(). NULL when out of memory.
 */
char *path_text_join(const char *base, const char *path);

/** The part of @path after @root: "" or "/...". NULL when @path is not below @root. Both are
 * absolute and cleaned. */
const char *path_text_below(const char *root, const char *path);

/** Length of @text[0..@len] without its last component ("/a/b" -> "/a"), at least @keep. */
size_t path_text_parent_len(const char *text, size_t len, size_t keep);
