/* SPDX-License-Identifier: MPL-2.0 */
/* Growing buffers: the limit, and what remains in the buffer. */
#include "paddock/buf.h"
#include "unit/cm.h"

#include <string.h>

static void test_buf_append__beyond_limit__emsgsize_and_unchanged(void **state) {
    AUTO_BUF struct buf b;
    (void)state;
    buf_init(&b, 4);
    assert_int_equal(buf_append(&b, "abc", 3), 0);
    assert_int_equal(buf_append(&b, "de", 2), -EMSGSIZE);
    assert_string_equal(buf_text(&b), "abc");
    assert_int_equal(buf_append(&b, "d", 1), 0);
    assert_string_equal(buf_text(&b), "abcd");
    assert_int_equal(buf_append(&b, NULL, SIZE_MAX), -EMSGSIZE);
}

static void test_buf_printf__text__appended(void **state) {
    AUTO_BUF struct buf b;
    (void)state;
    buf_init(&b, 0);
    assert_string_equal(buf_text(&b), "");
    assert_int_equal(buf_printf(&b, "%d-%s", 7, "x"), 0);
    assert_int_equal(buf_puts(&b, "!"), 0);
    assert_string_equal(buf_text(&b), "7-x!");
    assert_int_equal(b.len, 4);
}

static void test_buf_consume__part_and_all__rest_stays(void **state) {
    AUTO_BUF struct buf b;
    (void)state;
    buf_init(&b, 0);
    assert_int_equal(buf_puts(&b, "hello"), 0);
    buf_consume(&b, 2);
    assert_string_equal(buf_text(&b), "llo");
    buf_consume(&b, 99);
    assert_string_equal(buf_text(&b), "");
}

static void test_buf_take__empty__fresh_text(void **state) {
    AUTO_BUF struct buf b;
    (void)state;
    buf_init(&b, 0);
    AUTO_FREE char *text = buf_take(&b);
    assert_string_equal(text, "");
    assert_int_equal(buf_puts(&b, "again"), 0);
    AUTO_FREE char *more = buf_take(&b);
    assert_string_equal(more, "again");
    assert_null(b.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_append__beyond_limit__emsgsize_and_unchanged),
        cmocka_unit_test(test_buf_printf__text__appended),
        cmocka_unit_test(test_buf_consume__part_and_all__rest_stays),
        cmocka_unit_test(test_buf_take__empty__fresh_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
