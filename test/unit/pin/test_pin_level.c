/* SPDX-License-Identifier: MPL-2.0 */
/* When the effective set of a folder counts as changed. */
#include "src/pin/pin_level.h"
#include "unit/cm.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char root[] = "/tmp/paddock-level-XXXXXX";
static int root_fd;
static char scratch[CPUSET_TEXT_MAX];
static struct pin_level *levels;

static int setup(void **state) {
    (void)state;
    memcpy(root + sizeof(root) - 7, "XXXXXX", 6);
    if (!mkdtemp(root))
        return -1;
    root_fd = open(root, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    levels = NULL;
    return root_fd >= 0 && mkdirat(root_fd, "s", 0755) == 0 ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    unlinkat(root_fd, "s/cpuset.cpus.effective", 0);
    unlinkat(root_fd, "s", AT_REMOVEDIR);
    close(root_fd);
    return rmdir(root);
}

static void put(const char *text) {
    int fd =
        openat(root_fd, "s/cpuset.cpus.effective", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static bool changed(struct pin_level *x, bool full) {
    pin_level_read(x, full, root_fd, scratch, sizeof(scratch));
    return x->changed;
}

static void test_read__a_change_counts_for_two_full_passes(void **state) {
    (void)state;
    put("0-3\n");
    struct pin_level *x = pin_level_hold(&levels, "s/docker-1.scope");
    assert_true(changed(x, true)); /* a new folder */
    assert_false(changed(x, false));
    assert_true(changed(x, true));
    assert_false(changed(x, true));
    put("0-2\n");
    assert_false(changed(x, false));
    assert_true(changed(x, true));
    assert_true(changed(x, true));
    assert_false(changed(x, true));
    pin_level_drop(&levels, x);
    assert_null(levels);
}

static void test_read__not_readable__always_changed(void **state) {
    (void)state;
    struct pin_level *x = pin_level_hold(&levels, "s/docker-1.scope");
    for (int i = 0; i < 4; i++)
        assert_true(changed(x, true));
    put("0-3\n");
    assert_true(changed(x, true));
    assert_true(changed(x, true));
    assert_false(changed(x, true));
    put("x");
    for (int i = 0; i < 4; i++)
        assert_true(changed(x, true));
    pin_level_drop(&levels, x);
}

static void test_hold__one_for_all_in_a_folder(void **state) {
    (void)state;
    struct pin_level *a = pin_level_hold(&levels, "s/docker-1.scope");
    assert_ptr_equal(pin_level_hold(&levels, "s/docker-2.scope"), a);
    struct pin_level *top = pin_level_hold(&levels, "docker-3.scope");
    assert_true(top != a && top->path[0] == '\0');
    pin_level_drop(&levels, a);
    assert_ptr_equal(pin_level_hold(&levels, "s/docker-4.scope"), a);
    pin_level_drop(&levels, a);
    pin_level_drop(&levels, a);
    assert_ptr_equal(levels, top);
    pin_level_drop(&levels, top);
    assert_null(levels);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read__a_change_counts_for_two_full_passes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_read__not_readable__always_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hold__one_for_all_in_a_folder, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
