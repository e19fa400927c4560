/* SPDX-License-Identifier: MPL-2.0 */
/* The reference in the docs and in paddock-config(5) agrees with the tables.
 *
 * `test_reference --print` and `test_reference --print-man` write the text to paste. */
#include "unit/cm.h"

#include "paddock/config.h"

#include <stdlib.h>
#include <string.h>

static char *written_by(int (*write)(FILE *)) {
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    assert_int_equal(write(out), 0);
    fclose(out);
    return text;
}

/* Reads the file whose path is in the environment variable @variable. */
static char *content_of(const char *variable) {
    const char *path = getenv(variable);
    char *text = NULL;
    size_t size = 0;
    assert_non_null(path);
    FILE *in = fopen(path, "re");
    if (!in)
        fail_msg("%s: %s", path, strerror(errno));
    assert_true(getdelim(&text, &size, '\0', in) > 0);
    fclose(in);
    return text;
}

static void test_reference__docs__same(void **state) {
    static const char begin[] = "<!-- reference: begin -->\n", end[] = "<!-- reference: end -->";
    (void)state;
    AUTO_FREE char *page = content_of("PADDOCK_REFERENCE");
    char *from = strstr(page, begin), *to = from ? strstr(from, end) : NULL;
    if (!to)
        fail_msg("the page has no reference section between its markers");
    *to = '\0';
    AUTO_FREE char *expected = written_by(config_reference_markdown);
    assert_string_equal(from + sizeof(begin) - 1, expected);
}

static void test_reference__manual_page__same(void **state) {
    (void)state;
    AUTO_FREE char *page = content_of("PADDOCK_CONFIG_MAN");
    AUTO_FREE char *expected = written_by(config_reference_man);
    assert_string_equal(page, expected);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--print") == 0)
        return config_reference_markdown(stdout) < 0;
    if (argc > 1 && strcmp(argv[1], "--print-man") == 0)
        return config_reference_man(stdout) < 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference__docs__same),
        cmocka_unit_test(test_reference__manual_page__same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
