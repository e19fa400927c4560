#pragma once
/* These functions fail when out of memory, or when a text is not UTF-8. They do nothing after the
 * first failure, which create_fail_code() returns: a step ends with `return create_fail_code(c)`
 * instead of a check at each line. */
#include "create_fail.h"

/* Objects and arrays that they return are borrowed from their parent; NULL after a failure, which
 * all of them accept as a parent. */
void create_json_set(struct create *c, json_t *object, const char *key, json_t *value_taken);
void create_json_set_text(struct create *c, json_t *object, const char *key, const char *text);
void create_json_set_text_if(struct create *c, json_t *object, const char *key,
                             const char *text); /* not "" */
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
