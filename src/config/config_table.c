/* SPDX-License-Identifier: MPL-2.0 */
/* Decodes JSON values into a struct by a table.
 *
 * config_plugin.c, config_job.c and task_state.c call it, each with its own table. It is the only
 * place that handles absent and null values, given values and defaults. Values of secret fields
 * never get into an error text. */
#include "src/config/config_table.h"

#include "src/config/config_wire.h"
#include "paddock/log.h"
#include "paddock/parse.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define VALUE_SHOWN_MAX 200 /* of a wrong value in an error text */

struct place {
    const struct config_field *field;
    bool secret;      /* no text shows the value: of the field, or of a block around it */
    const char *path; /* "gc.image_delay", "mount[1].type" */
    void *at;
    struct err *err;
};

int config_table_refuse(struct err *err, const char *key, const char *value, const char *text) {
    return err_set(err, ERR_INVALID, EINVAL, "%s: \"%.*s\" %s", key, VALUE_SHOWN_MAX, value, text);
}

/* The list or map of a block is never shown, because one of its fields can be a secret. */
static bool is_shown(const struct place *p, const json_t *v) {
    bool compound = json_is_object(v) || json_is_array(v);
    return !p->secret && !(p->field->fields && compound);
}

static int wrong_value(const struct place *p, const json_t *v, const char *text) {
    if (!is_shown(p, v))
        return err_set(p->err, ERR_INVALID, EINVAL, "%s: the value %s", p->path, text);
    AUTO_FREE char *shown = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    if (!shown)
        return err_oom(p->err);
    return err_set(p->err, ERR_INVALID, EINVAL, "%s: %.*s %s", p->path, VALUE_SHOWN_MAX, shown,
                   text);
}

/* A null element of a list or map counts as "", as in the built-in driver. */
static const char *text_of(const json_t *v) {
    return json_is_null(v) ? "" : json_string_value(v);
}

static int set_mems(const struct place *p, const json_t *v) {
    enum cpuset_mems *at = p->at;
    const char *text = json_string_value(v);
    if (strcmp(text, "off") == 0)
        *at = CPUSET_MEMS_OFF;
    else if (strcmp(text, "follow") == 0)
        *at = CPUSET_MEMS_FOLLOW;
    else
        return wrong_value(p, v, "is neither \"off\" nor \"follow\"");
    return 0;
}

static int set_string(const struct place *p, const json_t *v) {
    if (!json_is_string(v))
        return wrong_value(p, v, "is not a string");
    if (p->field->aux == CONFIG_AUX_MEMS)
        return set_mems(p, v);
    return str_set(p->at, json_string_value(v)) < 0 ? err_oom(p->err) : 0;
}

static int set_bool(const struct place *p, const json_t *v) {
    const char *text = json_string_value(v);
    bool yes = json_is_true(v) || (text && strcmp(text, "true") == 0);
    if (!yes && !json_is_false(v) && !(text && strcmp(text, "false") == 0))
        return wrong_value(p, v, "is not a bool");
    if (p->field->aux != CONFIG_AUX_WINDOWS)
        *(bool *)p->at = yes;
    else if (yes)
        log_warn("config", LOG_KV("field", p->path), "the field is for Windows only, ignoring");
    return 0;
}

/* A number that HCL cannot represent exactly arrives as text. */
static int number_of(const struct place *p, const json_t *v, int64_t *ret) {
    if (json_is_integer(v)) {
        *ret = json_integer_value(v);
        return 0;
    }
    if (json_is_real(v)) {
        double d = json_real_value(v);
        if (d < -0x1p63 || d >= 0x1p63)
            return wrong_value(p, v, "is out of range");
        if ((double)(int64_t)d < d || (double)(int64_t)d > d)
            return wrong_value(p, v, "is not a whole number");
        *ret = (int64_t)d;
        return 0;
    }
    const char *text = json_string_value(v);
    if (!text)
        return wrong_value(p, v, "is not a number");
    int r = parse_i64(text, ret);
    if (r == -ERANGE)
        return wrong_value(p, v, "is out of range");
    if (r < 0) /* "0.1" is a number, "abc" is not */
        return wrong_value(p, v,
                           text[0] && strspn(text, "0123456789.eE+-") == strlen(text)
                               ? "is not a whole number"
                               : "is not a number");
    return 0;
}

static int set_number(const struct place *p, const json_t *v) {
    int64_t n;
    int r = number_of(p, v, &n);
    if (r < 0)
        return r;
    if (p->field->aux == CONFIG_AUX_OPT)
        *(struct opt_int *)p->at = (struct opt_int){.set = true, .v = n};
    else
        *(int64_t *)p->at = n;
    return 0;
}

static int set_duration(const struct place *p, const json_t *v) {
    const char *text = json_string_value(v);
    int64_t us;
    int r = text ? parse_duration_us(text, &us) : -EINVAL;
    if (text && text[0] == '\0') { /* "" counts as not given, as in the built-in driver */
        us = 0;
        r = 0;
    }
    if (r < 0)
        return wrong_value(p, v, r == -ERANGE ? "is out of range" : "is not a duration");
    if (us < 0)
        return wrong_value(p, v, "must not be negative");
    *(int64_t *)p->at = us;
    return 0;
}

static int set_list(const struct place *p, const json_t *v, void *base, bool given) {
    if (!json_is_array(v))
        return wrong_value(p, v, "is not a list of strings");
    if (json_array_size(v) > CONFIG_ENTRIES_MAX)
        return err_set(p->err, ERR_INVALID, EINVAL, "%s: more than %d entries", p->path,
                       CONFIG_ENTRIES_MAX);
    if (p->field->aux)
        *(bool *)((char *)base + p->field->aux) = given;
    size_t i;
    json_t *one;
    json_array_foreach(v, i, one) {
        const char *text = text_of(one);
        if (!text)
            return wrong_value(p, v, "is not a list of strings");
        if (strv_add(p->at, text) < 0)
            return err_oom(p->err);
    }
    return 0;
}

static int merge_map(const struct place *p, const json_t *v) {
    const char *key;
    json_t *one;
    struct kvs *to = p->at;
    bool numbers = p->field->type == CONFIG_MAP_NUMBER;
    json_object_foreach((json_t *)v, key, one) {
        char decimal[24];
        const char *text = text_of(one);
        if (numbers) {
            int64_t n = 0;
            int r = json_is_null(one) ? 0 : number_of(p, one, &n);
            if (r < 0)
                return r;
            snprintf(decimal, sizeof(decimal), "%" PRId64, n);
            text = decimal;
        }
        if (!text)
            return wrong_value(p, v, "is not a map of strings");
        if (to->n >= CONFIG_ENTRIES_MAX)
            return err_set(p->err, ERR_INVALID, EINVAL, "%s: more than %d entries", p->path,
                           CONFIG_ENTRIES_MAX);
        if (kvs_set(to, key, text) < 0)
            return err_oom(p->err);
    }
    return 0;
}

/* Accepts a map, or a list of maps, which HCL1 makes of a block. The later key
 * replaces the earlier one. */
static int set_map(const struct place *p, const json_t *v) {
    if (json_is_object(v))
        return merge_map(p, v);
    if (!json_is_array(v))
        return wrong_value(p, v, "is not a map");
    size_t i;
    json_t *one;
    json_array_foreach(v, i, one) {
        if (json_is_null(one))
            continue;
        int r = json_is_object(one) ? merge_map(p, one) : wrong_value(p, v, "is not a map");
        if (r < 0)
            return r;
    }
    return 0;
}

static int decode_fields(const struct place *block, const json_t *object, void *base);

static int set_block_list(const struct place *p, const json_t *v) {
    if (!json_is_array(v))
        return wrong_value(p, v, "is not a list of blocks");
    void **elements = p->at;
    size_t *count = (size_t *)((char *)p->at + sizeof(void *));
    size_t add = json_array_size(v), size = p->field->aux, i;
    if (add == 0)
        return 0;
    if (*count + add > CONFIG_ENTRIES_MAX)
        return err_set(p->err, ERR_INVALID, EINVAL, "%s: more than %d entries", p->path,
                       CONFIG_ENTRIES_MAX);
    char *grown = reallocarray(*elements, *count + add, size);
    if (!grown)
        return err_oom(p->err);
    *elements = grown;
    json_t *one;
    json_array_foreach(v, i, one) {
        char path[256];
        snprintf(path, sizeof(path), "%s[%zu]", p->path, i);
        struct place inner = *p;
        inner.path = path;
        void *element = memset(grown + *count * size, 0, size);
        (*count)++;
        int r = json_is_object(one) ? decode_fields(&inner, one, element)
                                    : wrong_value(p, v, "is not a list of blocks");
        if (r < 0)
            return r;
    }
    return 0;
}

static int set_block(const struct place *p, const json_t *v, void *base, bool given) {
    /* A block can arrive as a list with one element. */
    if (json_is_array(v) && json_array_size(v) <= 1)
        v = json_array_get(v, 0);
    if (v && !json_is_object(v) && !json_is_null(v))
        return wrong_value(p, v, "is not a block");
    if (p->field->aux)
        *(bool *)((char *)base + p->field->aux) = given && json_is_object(v);
    return decode_fields(p, v, base);
}

static int set_value(const struct place *p, const json_t *v, void *base, bool given) {
    switch (p->field->type) {
    case CONFIG_STRING:
        return set_string(p, v);
    case CONFIG_BOOL:
        return set_bool(p, v);
    case CONFIG_NUMBER:
        return set_number(p, v);
    case CONFIG_DURATION:
        return set_duration(p, v);
    case CONFIG_LIST_STRING:
        return set_list(p, v, base, given);
    case CONFIG_MAP_STRING:
    case CONFIG_MAP_NUMBER:
    case CONFIG_ATTRS:
        return set_map(p, v);
    case CONFIG_BLOCK:
        return set_block(p, v, base, given);
    case CONFIG_BLOCK_LIST:
        return set_block_list(p, v);
    }
    return -EINVAL;
}

static int decode_one(const struct place *p, const json_t *v, void *base) {
    const struct config_field *f = p->field;
    if (f->type == CONFIG_STRING && f->aux == 0 && !*(char **)p->at && str_set(p->at, "") < 0)
        return err_oom(p->err);
    if (v && !json_is_null(v))
        return set_value(p, v, base, true);
    if (f->default_literal) {
        AUTO_CONFIG_JSON json_t *fallback = json_loads(f->default_literal, JSON_DECODE_ANY, NULL);
        if (!fallback)
            return err_oom(p->err);
        return set_value(p, fallback, base, false);
    }
    return f->type == CONFIG_BLOCK ? set_block(p, NULL, base, false) : 0;
}

/* Decodes all fields of @block from @object. */
static int decode_fields(const struct place *block, const json_t *object, void *base) {
    for (const struct config_field *f = block->field->fields; f->name; f++) {
        char path[256];
        snprintf(path, sizeof(path), "%s%s%s", block->path, block->path[0] ? "." : "", f->name);
        const struct place p = {.field = f,
                                .secret = block->secret || f->secret,
                                .path = path,
                                .at = (char *)base + f->offset,
                                .err = block->err};
        int r = decode_one(&p, json_object_get(object, f->name), base);
        if (r < 0)
            return r;
    }
    return 0;
}

int config_table_decode(const struct config_field *table, const json_t *object, void *base,
                        struct err *err) {
    if (object && !json_is_object(object) && !json_is_null(object))
        return err_set(err, ERR_INVALID, EINVAL, "configuration: not a map");
    const struct config_field all = {.fields = table};
    const struct place top = {.field = &all, .path = "", .err = err};
    return decode_fields(&top, object, base);
}

static void done_block_list(const struct config_field *f, void *at) {
    void **elements = at;
    size_t *count = (size_t *)((char *)at + sizeof(void *));
    for (size_t i = 0; i < *count; i++)
        config_table_done(f->fields, (char *)*elements + i * f->aux);
    cleanup_free(elements);
    *elements = NULL;
    *count = 0;
}

void config_table_done(const struct config_field *table, void *base) {
    for (const struct config_field *f = table; f->name; f++) {
        void *at = (char *)base + f->offset;
        switch (f->type) {
        case CONFIG_STRING:
            if (f->aux == 0) {
                cleanup_free(at);
                *(char **)at = NULL;
            }
            break;
        case CONFIG_LIST_STRING:
            strv_done(at);
            break;
        case CONFIG_MAP_STRING:
        case CONFIG_MAP_NUMBER:
        case CONFIG_ATTRS:
            kvs_done(at);
            break;
        case CONFIG_BLOCK:
            config_table_done(f->fields, base);
            break;
        case CONFIG_BLOCK_LIST:
            done_block_list(f, at);
            break;
        case CONFIG_BOOL:
        case CONFIG_NUMBER:
        case CONFIG_DURATION:
            break;
        }
    }
}

void config_table_strip_https(char *image) {
    static const char prefix[] = "https://";
    size_t n = sizeof(prefix) - 1;
    if (strncmp(image, prefix, n) == 0)
        memmove(image, image + n, strlen(image + n) + 1);
}
