/* SPDX-License-Identifier: MPL-2.0 */
/* Builds the JSON of the create request without a check at each line.
 *
 * The steps call it. After the first failure, which is kept in struct create, all functions do
 * nothing, and accept the NULL that create_json_object() and create_json_array() return then. */
#include "src/create/create_json.h"

static void out_of_memory(struct create *c) {
    if (c->r == 0)
        c->r = err_oom(c->err);
}

/* jansson does not report why it made no string: the text is not UTF-8, or out of memory. This
 * function finds it out. */
static void text_failed(struct create *c, const char *what, const char *text) {
    AUTO_JSON json_t *unchecked = json_string_nocheck(text);
    AUTO_JSON json_t *checked = unchecked ? json_string(text) : NULL;
    if (unchecked && !checked)
        create_fail(c, EINVAL, "%s: the text is not UTF-8: \"%s\"", what, text);
    else
        out_of_memory(c);
}

/* Returns NULL after a failure. */
static json_t *text_new(struct create *c, const char *what, const char *text) {
    if (c->r < 0)
        return NULL;
    json_t *j = json_string(text_of(text));
    if (!j)
        text_failed(c, what, text_of(text));
    return j;
}

void create_json_set(struct create *c, json_t *object, const char *key, json_t *value_taken) {
    if (c->r < 0 || !value_taken) {
        json_decref(value_taken);
        out_of_memory(c);
        return;
    }
    if (json_object_set_new(object, key, value_taken) < 0)
        text_failed(c, "name", key);
}

void create_json_set_text(struct create *c, json_t *object, const char *key, const char *text) {
    json_t *j = text_new(c, key, text);
    if (j)
        create_json_set(c, object, key, j);
}

void create_json_set_text_if(struct create *c, json_t *object, const char *key, const char *text) {
    if (!str_empty(text))
        create_json_set_text(c, object, key, text);
}

void create_json_set_int(struct create *c, json_t *object, const char *key, int64_t v) {
    if (c->r == 0)
        create_json_set(c, object, key, json_integer(v));
}

void create_json_set_true_if(struct create *c, json_t *object, const char *key, bool v) {
    if (v && c->r == 0)
        create_json_set(c, object, key, json_true());
}

json_t *create_json_object(struct create *c, json_t *object, const char *key) {
    if (c->r < 0)
        return NULL;
    json_t *child = json_object_get(object, key);
    if (child)
        return child;
    create_json_set(c, object, key, json_object());
    return json_object_get(object, key);
}

json_t *create_json_array(struct create *c, json_t *object, const char *key) {
    if (c->r < 0)
        return NULL;
    json_t *child = json_object_get(object, key);
    if (child)
        return child;
    create_json_set(c, object, key, json_array());
    return json_object_get(object, key);
}

void create_json_add(struct create *c, json_t *array, json_t *value_taken) {
    if (c->r < 0 || !value_taken) {
        json_decref(value_taken);
        out_of_memory(c);
        return;
    }
    if (json_array_append_new(array, value_taken) < 0)
        out_of_memory(c);
}

void create_json_add_text(struct create *c, json_t *array, const char *text) {
    json_t *j = text_new(c, "list element", text);
    if (j)
        create_json_add(c, array, j);
}

void create_json_set_list_if(struct create *c, json_t *object, const char *key,
                             const struct strv *v) {
    if (v->n == 0)
        return;
    json_t *array = create_json_array(c, object, key);
    for (size_t i = 0; i < v->n; i++)
        create_json_add_text(c, array, v->v[i]);
}

void create_json_set_map(struct create *c, json_t *object, const char *key, const struct kvs *v) {
    json_t *map = create_json_object(c, object, key);
    for (size_t i = 0; i < v->n; i++)
        create_json_set_text(c, map, v->v[i].key, v->v[i].value);
}

void create_json_set_map_if(struct create *c, json_t *object, const char *key,
                            const struct kvs *v) {
    if (v->n)
        create_json_set_map(c, object, key, v);
}
