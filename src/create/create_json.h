/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* These functions fail when out of memory, or when a text is not UTF-8. After the first failure
 * they do nothing, and create_fail_code() returns that failure. So a step ends with `return
 * create_fail_code(c)` instead of a check at each line. */
#include "src/create/create_fail.h"

/* The returned objects and arrays are borrowed from their parent. They are NULL after a failure,
 * and all functions accept NULL as a parent. */
void create_json_set(struct create *c, json_t *object, const char *key, json_t *value_taken);
void create_json_set_text(struct create *c, json_t *object, const char *key, const char *text);
void create_json_set_text_if(struct create *c, json_t *object, const char *key,
                             const char *text); /* does nothing for "" */
void create_json_set_int(struct create *c, json_t *object, const char *key, int64_t v);
void create_json_set_true_if(struct create *c, json_t *object, const char *key, bool v);
void create_json_set_list_if(struct create *c, json_t *object, const char *key,
                             const struct strv *v);
void create_json_set_map(struct create *c, json_t *object, const char *key, const struct kvs *v);
void create_json_set_map_if(struct create *c, json_t *object, const char *key, const struct kvs *v);
json_t *create_json_object(struct create *c, json_t *object, const char *key); /* found or made */
json_t *create_json_array(struct create *c, json_t *object, const char *key);  /* found or made */
void create_json_add(struct create *c, json_t *array, json_t *value_taken);
void create_json_add_text(struct create *c, json_t *array, const char *text);
