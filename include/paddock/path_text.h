/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Paths as text only: the file system is not read. Context of all functions: pure, any thread. */
#include <stddef.h>

/** Returns the shortest text of the same path: without "//" and ".", and with each ".." applied
 * ("/.." is "/"). "" gives ".". Owner: caller, free(). NULL when out of memory. */
char *path_text_clean(const char *path);

/** Returns @path when it is absolute, else @base/@path; cleaned in both cases. Owner: caller,
 * free(). NULL when out of memory. */
char *path_text_join(const char *base, const char *path);

/** Returns the part of @path after @root: "" or "/...". Returns NULL when @path is not below @root.
 * Both must be absolute and cleaned. */
const char *path_text_below(const char *root, const char *path);

/** Returns the length of @text[0..@len] without its last component ("/a/b" ->
 * "/a"), at least @keep. */
size_t path_text_parent_len(const char *text, size_t len, size_t keep);
