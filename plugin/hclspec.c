/* SPDX-License-Identifier: MPL-2.0 */
/* Converts a configuration table to the schema message that Nomad asks for. svc_base.c
 * (ConfigSchema) and svc_driver.c (TaskConfigSchema) call it.
 *
 * Each message is owned by the enclosing message as soon as it exists. After a failure at any
 * point, one hclspec_free() of the top message frees everything. */
#include "plugin/hclspec.h"

#include "paddock/config.h"

#include "hclspec.pb-c.h"

#include <string.h>

/* NOLINTBEGIN(bugprone-macro-parentheses): @type is a type */
#define NEW(type, lower)                                                                           \
    __extension__({                                                                                \
        type *new_ = malloc(sizeof(*new_));                                                        \
        if (new_)                                                                                  \
            lower##__init(new_);                                                                   \
        new_;                                                                                      \
    })
/* NOLINTEND(bugprone-macro-parentheses) */

static const char *attr_type(enum config_type type) {
    switch (type) {
    case CONFIG_BOOL:
        return "bool";
    case CONFIG_NUMBER:
        return "number";
    case CONFIG_LIST_STRING:
        return "list(string)";
    case CONFIG_MAP_STRING:
        return "list(map(string))";
    case CONFIG_MAP_NUMBER:
        return "list(map(number))";
    default:
        return "string"; /* durations, and the elements of block attributes */
    }
}

static int fill_object(const struct config_field *table, Hclspec__Spec *spec);

static int set_text(char **at, const char *text) {
    char *copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    *at = copy;
    return 0;
}

static int fill_nested(const struct config_field *table, Hclspec__Spec **at) {
    *at = NEW(Hclspec__Spec, hclspec__spec);
    return *at ? fill_object(table, *at) : -ENOMEM;
}

static int fill_attr(const struct config_field *f, Hclspec__Spec *spec) {
    Hclspec__Attr *m = NEW(Hclspec__Attr, hclspec__attr);
    if (!m)
        return -ENOMEM;
    spec->attr = m;
    spec->block_case = HCLSPEC__SPEC__BLOCK_ATTR;
    m->required = f->required;
    int r = set_text(&m->name, f->name);
    return r == 0 ? set_text(&m->type, attr_type(f->type)) : r;
}

static int fill_attrs(const struct config_field *f, Hclspec__Spec *spec) {
    Hclspec__BlockAttrs *m = NEW(Hclspec__BlockAttrs, hclspec__block_attrs);
    if (!m)
        return -ENOMEM;
    spec->block_attrs = m;
    spec->block_case = HCLSPEC__SPEC__BLOCK_BLOCK_ATTRS;
    m->required = f->required;
    int r = set_text(&m->name, f->name);
    return r == 0 ? set_text(&m->type, attr_type(f->type)) : r;
}

static int fill_block(const struct config_field *f, Hclspec__Spec *spec) {
    Hclspec__Block *m = NEW(Hclspec__Block, hclspec__block);
    if (!m)
        return -ENOMEM;
    spec->block_value = m;
    spec->block_case = HCLSPEC__SPEC__BLOCK_BLOCK_VALUE;
    m->required = f->required;
    int r = set_text(&m->name, f->name);
    return r == 0 ? fill_nested(f->fields, &m->nested) : r;
}

static int fill_block_list(const struct config_field *f, Hclspec__Spec *spec) {
    Hclspec__BlockList *m = NEW(Hclspec__BlockList, hclspec__block_list);
    if (!m)
        return -ENOMEM;
    spec->block_list = m;
    spec->block_case = HCLSPEC__SPEC__BLOCK_BLOCK_LIST;
    int r = set_text(&m->name, f->name);
    return r == 0 ? fill_nested(f->fields, &m->nested) : r;
}

static int fill_plain(const struct config_field *f, Hclspec__Spec *spec) {
    switch (f->type) {
    case CONFIG_BLOCK:
        return fill_block(f, spec);
    case CONFIG_BLOCK_LIST:
        return fill_block_list(f, spec);
    case CONFIG_ATTRS:
        return fill_attrs(f, spec);
    default:
        return fill_attr(f, spec);
    }
}

static int fill_literal(const char *text, Hclspec__Spec **at) {
    *at = NEW(Hclspec__Spec, hclspec__spec);
    Hclspec__Literal *m = *at ? NEW(Hclspec__Literal, hclspec__literal) : NULL;
    if (!m)
        return -ENOMEM;
    (*at)->literal = m;
    (*at)->block_case = HCLSPEC__SPEC__BLOCK_LITERAL;
    return set_text(&m->value, text);
}

static int fill_field(const struct config_field *f, Hclspec__Spec *spec) {
    if (!f->default_literal)
        return fill_plain(f, spec);
    Hclspec__Default *m = NEW(Hclspec__Default, hclspec__default);
    if (!m)
        return -ENOMEM;
    spec->default_value = m;
    spec->block_case = HCLSPEC__SPEC__BLOCK_DEFAULT_VALUE;
    m->primary = NEW(Hclspec__Spec, hclspec__spec);
    int r = m->primary ? fill_plain(f, m->primary) : -ENOMEM;
    return r == 0 ? fill_literal(f->default_literal, &m->fallback) : r;
}

static int fill_object(const struct config_field *table, Hclspec__Spec *spec) {
    Hclspec__Object *m = NEW(Hclspec__Object, hclspec__object);
    if (!m)
        return -ENOMEM;
    spec->object = m;
    spec->block_case = HCLSPEC__SPEC__BLOCK_OBJECT;
    size_t n = 0;
    while (table[n].name)
        n++;
    m->attributes = calloc(n ? n : 1, sizeof(*m->attributes));
    if (!m->attributes)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        Hclspec__Object__AttributesEntry *e =
            NEW(Hclspec__Object__AttributesEntry, hclspec__object__attributes_entry);
        if (!e)
            return -ENOMEM;
        m->attributes[m->n_attributes++] = e;
        e->value = NEW(Hclspec__Spec, hclspec__spec);
        int r = set_text(&e->key, table[i].name);
        if (r == 0)
            r = e->value ? fill_field(&table[i], e->value) : -ENOMEM;
        if (r < 0)
            return r;
    }
    return 0;
}

int hclspec_build(const struct config_field *table, Hclspec__Spec **ret) {
    Hclspec__Spec *spec = NULL;
    int r = fill_nested(table, &spec);
    if (r < 0) {
        hclspec_free(spec);
        return r;
    }
    *ret = spec;
    return 0;
}

void hclspec_free(Hclspec__Spec *spec) {
    if (spec)
        hclspec__spec__free_unpacked(spec, NULL);
}
