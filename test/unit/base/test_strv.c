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

static void test_strv_copy__list__independent(void **state) {
    AUTO_STRV struct strv a = {0}, b = {0};
    (void)state;
    assert_int_equal(strv_add(&a, "x"), 0);
    assert_int_equal(strv_add(&a, "y"), 0);
    assert_int_equal(strv_copy(&a, &b), 0);
    a.v[0][0] = 'z';
    assert_true(strv_contains(&b, "x"));
    assert_false(strv_contains(&b, "z"));
    assert_int_equal(strv_add_take(&a, NULL), -ENOMEM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kvs_set__same_key__replaced_in_place),
        cmocka_unit_test(test_strv_copy__list__independent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
