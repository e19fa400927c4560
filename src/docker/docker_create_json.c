/* For the steps of the create request: building JSON without a check at each line. */
#include "docker_create_priv.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int create_status(const struct create *c) {
    return c->r;
}

int create_fail(struct create *c, int code, const char *fmt, ...) {
    char text[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    c->r = err_set(c->err, ERR_PLAIN, code, "%s", text);
    return c->r;
}

int create_shortage(struct create *c, int r, const char *path) {
    if (r == -ENOMEM)
        c->r = err_oom(c->err);
    else if (r == -EMFILE || r == -ENFILE)
        c->r = err_set(c->err, ERR_RECOVERABLE, -r, "the path \"%s\" cannot be looked at: %s", path,
                       strerror(-r));
    else
        return 0;
    return c->r;
}

static void out_of_memory(struct create *c) {
    if (c->r == 0)
        c->r = err_oom(c->err);
}

/* jansson does not say why it made no string: text that is no UTF-8 or no memory. */
static void text_failed(struct create *c, const char *what, const char *text) {
    AUTO_JSON json_t *unchecked = json_string_nocheck(text);
    AUTO_JSON json_t *checked = unchecked ? json_string(text) : NULL;
    if (unchecked && !checked)
        create_fail(c, EINVAL, "%s: the text is not UTF-8: \"%s\"", what, text);
    else
        out_of_memory(c);
}

/* NULL after a failure. */
static json_t *text_new(struct create *c, const char *what, const char *text) {
    if (c->r < 0)
        return NULL;
    json_t *j = json_string(text_of(text));
    if (!j)
        text_failed(c, what, text_of(text));
    return j;
}

void create_set(struct create *c, json_t *object, const char *key, json_t *value_taken) {
    if (c->r < 0 || !value_taken) {
        json_decref(value_taken);
        out_of_memory(c);
        return;
    }
    if (json_object_set_new(object, key, value_taken) < 0)
        text_failed(c, "name", key);
}

void create_set_text(struct create *c, json_t *object, const char *key, const char *text) {
    json_t *j = text_new(c, key, text);
    if (j)
        create_set(c, object, key, j);
}

void create_set_text_if(struct create *c, json_t *object, const char *key, const char *text) {
    if (!str_empty(text))
        create_set_text(c, object, key, text);
}

void create_set_int(struct create *c, json_t *object, const char *key, int64_t v) {
    if (c->r == 0)
        create_set(c, object, key, json_integer(v));
}

void create_set_true_if(struct create *c, json_t *object, const char *key, bool v) {
    if (v && c->r == 0)
        create_set(c, object, key, json_true());
}

json_t *create_object(struct create *c, json_t *object, const char *key) {
    if (c->r < 0)
        return NULL;
    json_t *child = json_object_get(object, key);
    if (child)
        return child;
    create_set(c, object, key, json_object());
    return json_object_get(object, key);
}

json_t *create_array(struct create *c, json_t *object, const char *key) {
    if (c->r < 0)
        return NULL;
    json_t *child = json_object_get(object, key);
    if (child)
        return child;
    create_set(c, object, key, json_array());
    return json_object_get(object, key);
}

void create_add(struct create *c, json_t *array, json_t *value_taken) {
    if (c->r < 0 || !value_taken) {
        json_decref(value_taken);
        out_of_memory(c);
        return;
    }
    if (json_array_append_new(array, value_taken) < 0)
        out_of_memory(c);
}

void create_add_text(struct create *c, json_t *array, const char *text) {
    json_t *j = text_new(c, "list element", text);
    if (j)
        create_add(c, array, j);
}

void create_set_list_if(struct create *c, json_t *object, const char *key, const struct strv *v) {
    if (v->n == 0)
        return;
    json_t *array = create_array(c, object, key);
    for (size_t i = 0; i < v->n; i++)
        create_add_text(c, array, v->v[i]);
}

void create_set_map(struct create *c, json_t *object, const char *key, const struct kvs *v) {
    json_t *map = create_object(c, object, key);
    for (size_t i = 0; i < v->n; i++)
        create_set_text(c, map, v->v[i].key, v->v[i].value);
}

void create_set_map_if(struct create *c, json_t *object, const char *key, const struct kvs *v) {
    if (v->n)
        create_set_map(c, object, key, v);
}

bool create_glob(const char *pattern, const char *text) {
    const char *star = NULL; /* behind the last star seen */
    const char *resume = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            resume = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

bool create_is_ip(const char *text) {
    struct in6_addr addr;
    return inet_pton(AF_INET, text, &addr) == 1 || inet_pton(AF_INET6, text, &addr) == 1;
}
