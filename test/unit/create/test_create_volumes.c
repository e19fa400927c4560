/* SPDX-License-Identifier: MPL-2.0 */
/* The text of a volume is split into its parts. */
#include "unit/create/test_create.h"

#include "src/create/create_steps.h"

static const struct {
    const char *text;
    int r;
    const char *src, *dst, *mode;
} volume_rows[] = {
    {"a:b", 0, "a", "b", ""},
    {"a:b:ro", 0, "a", "b", "ro"},
    {"a:b:", 0, "a", "b", ""},
    {"a:b:c:d", 0, "a", "b", "c"},
    {":", 0, "", "", ""},
    {"::", 0, "", "", ""},
    {":b", 0, "", "b", ""},
    {"a:", 0, "a", "", ""},
    {"a", -EINVAL},
    {"", -EINVAL},
};

static void test_create_volumes_parse__table(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(volume_rows); i++) {
        AUTO_FREE char *src = NULL;
        AUTO_FREE char *dst = NULL;
        AUTO_FREE char *mode = NULL;
        int r = create_volumes_parse(volume_rows[i].text, &src, &dst, &mode);
        if (r != volume_rows[i].r || (r == 0 && (strcmp(src, volume_rows[i].src) != 0 ||
                                                 strcmp(dst, volume_rows[i].dst) != 0 ||
                                                 strcmp(mode, volume_rows[i].mode) != 0)))
            fail_msg("\"%s\": %d %s %s %s", volume_rows[i].text, r, src, dst, mode);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_create_volumes_parse__table)};
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
