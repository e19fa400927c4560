#pragma once
/* What the tables' rows mean to the decoder, and the decoder itself. */
#include "paddock/config.h"

#include <jansson.h>

/* config_field.aux by type:
 *   NUMBER      CONFIG_AUX_OPT: the place is a struct opt_int, else an int64_t
 *   STRING      CONFIG_AUX_MEMS: the place is an enum cpuset_mems, else an owned char *
 *   BOOL        CONFIG_AUX_WINDOWS: there is no place, true is a warning
 *   LIST_STRING offset of a bool that says whether the list was given; 0 = none
 *   BLOCK       offset of a bool that says whether the block was there; 0 = none. Its fields'
 * offsets count from the start of the whole struct BLOCK_LIST  size of one element; the place is a
 * pointer followed by a size_t; fields' offsets count from the start of the element */
enum { CONFIG_AUX_OPT = 1, CONFIG_AUX_MEMS, CONFIG_AUX_WINDOWS };

#define CONFIG_ENTRIES_MAX 4096 /* of one list or map */

/** Places all values of @object (NULL or null = everything absent) into @base, which is zeroed and
 * stays valid for config_table_done also on failure. Returns 0; -EINVAL (ERR_INVALID); -ENOMEM. */
int config_table_decode(const struct config_field *table, const json_t *object, void *base,
                        struct err *err) MUST_CHECK;
/** Releases all that the table's places hold and empties them. */
void config_table_done(const struct config_field *table, void *base);

/** `key: value text`, ERR_INVALID. Returns -EINVAL. */
int config_refuse(struct err *err, const char *key, const char *value, const char *text);
/** Cuts "https://" off the front. */
void config_strip_https(char *image);
