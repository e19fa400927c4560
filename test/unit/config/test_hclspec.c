/* SPDX-License-Identifier: MPL-2.0 */
/* The schema messages follow the tables, row by row. */
#include "unit/cm.h"

#include "paddock/config.h"
#include "plugin/hclspec.h"

#include "hclspec.pb-c.h"

#include <string.h>

static const Hclspec__Spec *child(const Hclspec__Spec *spec, const char *name) {
    assert_int_equal(spec->block_case, HCLSPEC__SPEC__BLOCK_OBJECT);
    for (size_t i = 0; i < spec->object->n_attributes; i++)
        if (strcmp(spec->object->attributes[i]->key, name) == 0)
            return spec->object->attributes[i]->value;
    fail_msg("%s is missing", name);
    return NULL;
}

static void check_object(const struct config_field *table, const Hclspec__Spec *spec) {
    size_t n = 0;
    for (const struct config_field *f = table; f->name; f++, n++) {
        const Hclspec__Spec *s = child(spec, f->name);
        if (f->default_literal) {
            assert_int_equal(s->block_case, HCLSPEC__SPEC__BLOCK_DEFAULT_VALUE);
            assert_int_equal(s->default_value->fallback->block_case, HCLSPEC__SPEC__BLOCK_LITERAL);
            assert_string_equal(s->default_value->fallback->literal->value, f->default_literal);
            s = s->default_value->primary;
        }
        if (f->type == CONFIG_BLOCK) {
            assert_int_equal(s->block_case, HCLSPEC__SPEC__BLOCK_BLOCK_VALUE);
            assert_string_equal(s->block_value->name, f->name);
            check_object(f->fields, s->block_value->nested);
        } else if (f->type == CONFIG_BLOCK_LIST) {
            assert_int_equal(s->block_case, HCLSPEC__SPEC__BLOCK_BLOCK_LIST);
            assert_string_equal(s->block_list->name, f->name);
            check_object(f->fields, s->block_list->nested);
        } else if (f->type == CONFIG_ATTRS) {
            assert_int_equal(s->block_case, HCLSPEC__SPEC__BLOCK_BLOCK_ATTRS);
            assert_string_equal(s->block_attrs->name, f->name);
            assert_string_equal(s->block_attrs->type, "string");
        } else {
            assert_int_equal(s->block_case, HCLSPEC__SPEC__BLOCK_ATTR);
            assert_string_equal(s->attr->name, f->name);
            assert_int_equal(s->attr->required, f->required);
        }
    }
    assert_int_equal(spec->object->n_attributes, n);
}

static void test_build__both_tables__row_by_row(void **state) {
    (void)state;
    const struct config_field *tables[] = {config_plugin_table(), config_job_table()};
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        Hclspec__Spec *spec = NULL;
        assert_int_equal(hclspec_build(tables[i], &spec), 0);
        check_object(tables[i], spec);
        hclspec_free(spec);
    }
    hclspec_free(NULL);
}

static void test_build__types_as_hcl_writes_them(void **state) {
    static const struct {
        const char *name, *type;
    } rows[] = {{"image", "string"},
                {"tty", "bool"},
                {"shm_size", "number"},
                {"args", "list(string)"},
                {"labels", "list(map(string))"},
                {"port_map", "list(map(number))"},
                {"image_pull_timeout", "string"}};
    (void)state;
    Hclspec__Spec *spec = NULL;
    assert_int_equal(hclspec_build(config_job_table(), &spec), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(child(spec, rows[i].name)->attr->type, rows[i].type);
    hclspec_free(spec);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_build__both_tables__row_by_row),
        cmocka_unit_test(test_build__types_as_hcl_writes_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
