/* SPDX-License-Identifier: MPL-2.0 */
/* Base64 in both directions, with the rows of RFC 4648. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "paddock/base64.h"

#include <string.h>

static void test_base64_url_encode__rfc4648_rows__text(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xfe", "-__-"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_FREE char *out = base64_url_encode(rows[i][0], strlen(rows[i][0]));
        assert_non_null(out);
        assert_string_equal(out, rows[i][1]);
    }
}

static void test_base64_decode__rows(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int r;
        const char *bytes;
        size_t len;
    } rows[] = {
        {"", 0, "", 0},
        {"Zm8=", 0, "fo", 2},
        {"Zm8", 0, "fo", 2},
        {"Zm9v\nYmFy\r\n", 0, "foobar", 6},
        {"-_8=", 0, "\xfb\xff", 2},
        {"+/8=", 0, "\xfb\xff", 2},
        {"AA==", 0, "\0", 1},
        {"Zm8=anything", 0, "fo", 2},
        {"Zm 8", -EINVAL, NULL, 0},
        {"Zm\xc3\xa4", -EINVAL, NULL, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        AUTO_FREE char *bytes = NULL;
        size_t len = 0;
        int r = base64_decode(rows[i].text, &bytes, &len);
        if (r != rows[i].r || len != rows[i].len ||
            (r == 0 && (memcmp(bytes, rows[i].bytes, len) != 0 || bytes[len] != '\0')))
            fail_msg("\"%s\": %d, %zu bytes", rows[i].text, r, len);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64_url_encode__rfc4648_rows__text),
        cmocka_unit_test(test_base64_decode__rows),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
