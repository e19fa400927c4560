/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The decoder, and the meaning of `aux` in the rows of the tables. */
#include "paddock/config.h"

#include <jansson.h>

/* config_field.aux by type:
 * - NUMBER: CONFIG_AUX_OPT = the place is a struct opt_int, else an int64_t.
 * - STRING: CONFIG_AUX_MEMS = the place is an enum cpuset_mems, else an owned char *.
 * - BOOL: CONFIG_AUX_WINDOWS = there is no place, and true logs a warning.
 * - LIST_STRING: offset of a bool that says whether the list was given; 0 = none.
 * - BLOCK: offset of a bool that says whether the block was given; 0 = none. The offsets of its
 *   fields count from the start of the whole struct.
 * - BLOCK_LIST: size of one element. The place is a pointer followed by a size_t. The offsets of
 *   its fields count from the start of the element. */
enum { CONFIG_AUX_OPT = 1, CONFIG_AUX_MEMS, CONFIG_AUX_WINDOWS };

#define CONFIG_ENTRIES_MAX 4096 /* of one list or map */

/** Writes all values of @object (NULL or null = everything absent) to their places in @base. @base
 * must be zeroed. It stays valid for config_table_done(), also on failure. Returns 0; -EINVAL
 * (ERR_INVALID); -ENOMEM. */
int config_table_decode(const struct config_field *table, const json_t *object, void *base,
                        struct err *err) MUST_CHECK;
/** Releases everything in the table's places and empties them. */
void config_table_done(const struct config_field *table, void *base);

/** Sets @err to `key: value text`, ERR_INVALID. Returns -EINVAL. */
int config_table_refuse(struct err *err, const char *key, const char *value, const char *text);
/** Removes "https://" from the front. */
void config_table_strip_https(char *image);
