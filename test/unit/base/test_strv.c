/* SPDX-License-Identifier: MPL-2.0 */
/* Lists of strings and of key/value pairs own copies of their texts. */
#include "paddock/strv.h"
#include "unit/cm.h"

static void test_kvs_set__same_key__replaced_in_place(void **state) {
    AUTO_KVS struct kvs s = {0};
    (void)state;
    assert_int_equal(kvs_set(&s, "a", "1"), 0);
    assert_int_equal(kvs_set(&s, "b", "2"), 0);
    assert_int_equal(kvs_set(&s, "a", "3"), 0);
    assert_int_equal(s.n, 2);
    assert_string_equal(kvs_get(&s, "a"), "3");
    assert_string_equal(s.v[0].key, "a");
    assert_null(kvs_get(&s, "c"));
}

static void test_strv_add__list__owns_copies(void **state) {
    AUTO_STRV struct strv a = {0};
    char text[] = "x";
    (void)state;
    assert_int_equal(strv_add(&a, text), 0);
    assert_int_equal(strv_add(&a, "y"), 0);
    text[0] = 'z';
    assert_true(strv_contains(&a, "x"));
    assert_false(strv_contains(&a, "z"));
    assert_int_equal(strv_add_take(&a, NULL), -ENOMEM);
    assert_int_equal(a.n, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kvs_set__same_key__replaced_in_place),
        cmocka_unit_test(test_strv_add__list__owns_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
