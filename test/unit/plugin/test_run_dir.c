/* SPDX-License-Identifier: MPL-2.0 */
/* The folder of the sockets, for root and for another user. */
#include "plugin/run_dir.h"
#include "unit/cm.h"

#include "paddock/cleanup.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define OTHER 65534

static char base[64], system_dir[128], user_dir[32], got[RUN_DIR_MAX];
static struct err err;

/* The system call changes the user of this thread alone. */
static void become(uid_t user) {
    assert_int_equal(syscall(SYS_setresuid, -1, user, -1), 0);
}

static int setup(void **state) {
    (void)state;
    if (geteuid() != 0) {
        print_error("needs root: it becomes somebody else\n");
        return -1;
    }
    snprintf(base, sizeof(base), "/tmp/run-dir-XXXXXX");
    if (!mkdtemp(base) || chmod(base, 0755) < 0)
        return -1;
    snprintf(system_dir, sizeof(system_dir), "%s/system", base);
    snprintf(user_dir, sizeof(user_dir), "%s/u", base);
    err = (struct err){.set = false};
    got[0] = '\0';
    return mkdir(user_dir, 0700) < 0 || chown(user_dir, OTHER, OTHER) < 0 ? -1 : 0;
}

static int teardown(void **state) {
    (void)state;
    rmdir(system_dir);
    rmdir(user_dir);
    return rmdir(base);
}

static int choose_as(uid_t user, const char *xdg) {
    become(user);
    int r = run_dir_choose(system_dir, xdg, got, &err);
    become(0);
    return r;
}

static void test_choose__root__system_folder(void **state) {
    (void)state;
    assert_int_equal(choose_as(0, user_dir), 0); /* the folder can be made */
    assert_string_equal(got, system_dir);
    assert_int_equal(mkdir(system_dir, 0700), 0);
    assert_int_equal(choose_as(0, user_dir), 0);
    assert_string_equal(got, system_dir);
}

static void test_choose__root_and_folder_of_another_user__refused(void **state) {
    (void)state;
    assert_int_equal(mkdir(system_dir, 0700), 0);
    assert_int_equal(chown(system_dir, OTHER, OTHER), 0);
    assert_int_equal(choose_as(0, user_dir), -EACCES);
    assert_non_null(strstr(err.text, "it belongs to user 65534"));
}

static void test_choose__other_user__system_folder_made_for_it(void **state) {
    (void)state;
    assert_int_equal(mkdir(system_dir, 0700), 0);
    assert_int_equal(chown(system_dir, OTHER, OTHER), 0);
    assert_int_equal(choose_as(OTHER, user_dir), 0);
    assert_string_equal(got, system_dir);
}

static void test_choose__other_user__runtime_dir(void **state) {
    char want[RUN_DIR_MAX];
    (void)state;
    snprintf(want, sizeof(want), "%s/paddock", user_dir);
    assert_int_equal(choose_as(OTHER, user_dir), 0);
    assert_string_equal(got, want);
    assert_int_equal(mkdir(system_dir, 0700), 0); /* root's folder */
    assert_int_equal(choose_as(OTHER, user_dir), 0);
    assert_string_equal(got, want);
}

static void test_choose__other_user_without_one__error_with_advice(void **state) {
    static const char *const none[] = {NULL, "", "relative", "/nonexistent"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        err = (struct err){.set = false};
        assert_int_equal(choose_as(OTHER, none[i]), -EACCES);
        assert_non_null(strstr(err.text, "user 65534 cannot use "));
        assert_non_null(strstr(err.text, "XDG_RUNTIME_DIR"));
        assert_int_equal(err.cls, ERR_PLAIN);
    }
    assert_string_equal(got, "");
}

/* Another user could create files in it, or hold its lock. */
static void test_choose__folder_that_others_may_enter__made_private(void **state) {
    static const mode_t modes[] = {0777, 0755, 0770, 0711, 0500};
    struct stat st;
    (void)state;
    assert_int_equal(mkdir(system_dir, 0700), 0);
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        assert_int_equal(chmod(system_dir, modes[i]), 0);
        assert_int_equal(choose_as(0, NULL), 0);
        assert_int_equal(stat(system_dir, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
    }
}

/* The folder's mode cannot be changed, because it is a read-only mount in the test's namespace. */
static void test_choose__mode_cannot_be_changed__error_with_the_reason(void **state) {
    (void)state;
    assert_int_equal(mkdir(system_dir, 0755), 0);
    assert_int_equal(unshare(CLONE_NEWNS), 0);
    assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    assert_int_equal(mount(system_dir, system_dir, NULL, MS_BIND, NULL), 0);
    assert_int_equal(mount(NULL, system_dir, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
    int r = choose_as(0, NULL);
    assert_int_equal(umount2(system_dir, MNT_DETACH), 0);
    assert_int_equal(r, -EACCES);
    assert_non_null(strstr(err.text, "its mode cannot be made 0700: "));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        TEST(test_choose__root__system_folder),
        TEST(test_choose__root_and_folder_of_another_user__refused),
        TEST(test_choose__other_user__system_folder_made_for_it),
        TEST(test_choose__other_user__runtime_dir),
        TEST(test_choose__other_user_without_one__error_with_advice),
        TEST(test_choose__folder_that_others_may_enter__made_private),
        TEST(test_choose__mode_cannot_be_changed__error_with_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
