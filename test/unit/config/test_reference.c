/* The README's reference is what the tables say. `test_reference --print` writes the text to paste.
 */
#include "unit/cm.h"

#include "paddock/config.h"

#include <string.h>

static char *reference(void) {
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    assert_int_equal(config_reference_markdown(out), 0);
    fclose(out);
    return text;
}

static void test_reference__readme__same(void **state) {
    static const char begin[] = "<!-- reference: begin -->\n", end[] = "<!-- reference: end -->";
    (void)state;
    const char *path = getenv("PADDOCK_README");
    assert_non_null(path);
    FILE *in = fopen(path, "re");
    if (!in)
        fail_msg("%s: %s", path, strerror(errno));
    char *readme = NULL;
    size_t size = 0;
    assert_true(getdelim(&readme, &size, '\0', in) > 0);
    fclose(in);
    char *from = strstr(readme, begin), *to = from ? strstr(from, end) : NULL;
    if (!to)
        fail_msg("the README has no reference section between its markers");
    *to = '\0';
    AUTO_FREE char *expected = reference();
    assert_string_equal(from + sizeof(begin) - 1, expected);
    free(readme);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--print") == 0)
        return config_reference_markdown(stdout) < 0;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reference__readme__same)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
