/* SPDX-License-Identifier: MPL-2.0 */
/* The error that the caller owns: the first error stays, and a context is put in front of
 * its text. */
#include "paddock/err.h"
#include "unit/cm.h"

#include <string.h>

static void test_err_set__twice__first_wins(void **state) {
    struct err e = {0};
    (void)state;
    assert_int_equal(err_set(&e, ERR_INVALID, EINVAL, "a.%s: %d", "b", 3), -EINVAL);
    assert_int_equal(err_set(&e, ERR_PLAIN, EIO, "later"), -EIO);
    assert_string_equal(e.text, "a.b: 3");
    assert_int_equal(e.cls, ERR_INVALID);
    assert_int_equal(e.code, EINVAL);
    assert_int_equal(err_set(NULL, ERR_PLAIN, EIO, "not stored"), -EIO);
}

static void test_err_wrap__set__prepends(void **state) {
    struct err e = {0};
    (void)state;
    err_set(&e, ERR_RECOVERABLE, EIO, "inner");
    assert_int_equal(err_wrap(&e, -EIO, "task %s", "t"), -EIO);
    assert_string_equal(e.text, "task t: inner");
    assert_int_equal(e.cls, ERR_RECOVERABLE);
    assert_int_equal(err_wrap(&e, 0, "no failure"), 0);
    assert_string_equal(e.text, "task t: inner");
}

static void test_err_wrap__not_set__errno_text(void **state) {
    struct err e = {0};
    (void)state;
    assert_int_equal(err_wrap(&e, -ENOENT, "opening"), -ENOENT);
    assert_string_equal(e.text, "opening: No such file or directory");
    assert_true(e.set);
}

static void test_err_wrap__text_too_long__cut(void **state) {
    struct err e = {0};
    char big[ERR_TEXT_MAX + 100];
    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    err_set(&e, ERR_PLAIN, EIO, "%s", big);
    assert_int_equal(err_wrap(&e, -EIO, "front"), -EIO);
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    assert_memory_equal(e.text, "front: xx", 9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_set__twice__first_wins),
        cmocka_unit_test(test_err_wrap__set__prepends),
        cmocka_unit_test(test_err_wrap__not_set__errno_text),
        cmocka_unit_test(test_err_wrap__text_too_long__cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
