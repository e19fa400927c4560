/* SPDX-License-Identifier: MPL-2.0 */
/* Which position files of an earlier pump are kept when a task cannot be resumed. */
#include "src/pump/pump_entry.h"
#include "unit/cm.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define ID "c0de000000000000000000000000000000000000000000000000000000000001"

/* The result of pump_record_open(). A unit test cannot fill a file system, for example. */
static int open_r;

int __wrap_pump_record_open(int dir_fd, const char *name, struct pump_record **ret,
                            bool *ret_fresh);
int __wrap_pump_record_open(int dir_fd, const char *name, struct pump_record **ret,
                            bool *ret_fresh) {
    (void)dir_fd;
    (void)name;
    (void)ret;
    (void)ret_fresh;
    return open_r;
}

static void ignore(void *ctx) {
    (void)ctx;
}

static void test_pump_entries_resume__record_fails__kept_unless_lost(void **state) {
    static const struct {
        int r;
        bool kept;
    } rows[] = {
        {-ENOSPC, true}, {-EDQUOT, true}, {-EIO, true},     {-ENOMEM, true},   {-EMFILE, true},
        {-ENFILE, true}, {-EPROTO, true}, {-EISDIR, true},  {-EROFS, true},    {-ENOENT, false},
        {-ENXIO, false}, {-ELOOP, false}, {-EINVAL, false}, {-ENODATA, false}, {-ENOTDIR, false},
    };
    char dir[] = "/tmp/paddock-entry-XXXXXX";
    (void)state;
    assert_non_null(mkdtemp(dir));
    AUTO_FD int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct pump_entries_options o = {
        .records_fd = dir_fd, .changed = ignore, .fifo_opened = ignore};
    struct pump_entries *s;
    assert_int_equal(loop_new(&o.tasks.loop), 0);
    assert_int_equal(pump_entries_new(&o, &s), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stat st;
        int fd = openat(dir_fd, ID, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        close(fd);
        open_r = rows[i].r;
        assert_int_equal(pump_entries_resume(s), 0);
        if ((fstatat(dir_fd, ID, &st, 0) == 0) != rows[i].kept)
            fail_msg("%s: not %s", strerror(-rows[i].r), rows[i].kept ? "kept" : "removed");
    }
    unlinkat(dir_fd, ID, 0);
    pump_entries_free(s);
    loop_free(o.tasks.loop);
    assert_int_equal(rmdir(dir), 0);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pump_entries_resume__record_fails__kept_unless_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
