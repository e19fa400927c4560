/* SPDX-License-Identifier: MPL-2.0 */
/* Paths are walked without following links, and the kind of a file is checked before it
 * is opened. */
#include "paddock/path.h"
#include "unit/opens.h"
#include "unit/tmp_dir.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

struct fixture {
    char dir[64];
    int fd;
};

static void at(const struct fixture *x, const char *name, char out[160]) {
    snprintf(out, 160, "%s/%s", x->dir, name);
}

static int setup(void **state) {
    struct fixture *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    snprintf(x->dir, sizeof(x->dir), "/tmp/paddock-path-XXXXXX");
    assert_non_null(mkdtemp(x->dir));
    x->fd = open(x->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(x->fd >= 0);
    *state = x;
    return 0;
}

static int teardown(void **state) {
    struct fixture *x = *state;
    assert_int_equal(tmp_dir_remove(x->dir), 0);
    fd_close(x->fd);
    free(x);
    return 0;
}

/* ---- Walk ---- */

static void test_path_walk__table__arrives_or_errno(void **state) {
    const struct fixture *x = *state;
    char command[512], too_long[NAME_MAX + 2];
    snprintf(command, sizeof(command),
             "cd %s && mkdir -p a/b && echo x >a/b/f && ln -s a to-a && ln -s b a/to-b && "
             "ln -s f a/b/to-f && ln -s nowhere a/dangles && ln -s / a/root",
             x->dir);
    assert_int_equal(system(command), 0);
    memset(too_long, 'n', NAME_MAX + 1);
    too_long[NAME_MAX + 1] = '\0';
    const struct {
        const char *path;
        int r;
    } rows[] = {
        {"a", 0},
        {"a/b/f", 0},
        {"/a//b/./f", 0},
        {"", 0},
        {"a/b/", 0},
        {"to-a", -ELOOP},
        {"to-a/b/f", -ELOOP},
        {"a/to-b/f", -ELOOP},
        {"a/b/to-f", -ELOOP},
        {"a/dangles", -ELOOP},
        {"a/root/etc/passwd", -ELOOP},
        {"..", -EXDEV},
        {"a/../a/b/f", -EXDEV},
        {"a/b/none", -ENOENT},
        {"none/b", -ENOENT},
        {"a/b/f/g", -ENOTDIR},
        {too_long, -ENAMETOOLONG},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_FD int fd = -EBADF;
        int r = path_walk(x->fd, rows[i].path, &fd);
        print_message("%.40s: %d\n", rows[i].path, r);
        assert_int_equal(r, rows[i].r);
        assert_int_equal(fd >= 0, r == 0);
    }
    AUTO_FD int fd = -EBADF;
    struct stat st;
    assert_int_equal(path_walk(x->fd, "a/b/f", &fd), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(S_ISREG(st.st_mode) && st.st_size == 2);
}

/* ---- Kinds of files ---- */

/* A file of each kind. Only root can make a device node, so the FIFO stands for a file that must
 * not be opened as a regular file. */
static void make_kinds(const struct fixture *x) {
    char command[256], path[160];
    snprintf(command, sizeof(command), "cd %s && mkdir dir && echo x >file && mkfifo fifo", x->dir);
    assert_int_equal(system(command), 0);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    at(x, "socket", path);
    assert_true(strlen(path) < sizeof(addr.sun_path));
    memcpy(addr.sun_path, path, strlen(path) + 1);
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
}

static void expect_only(const struct fixture *x, int (*open_it)(int, int *), const char *right) {
    static const char *const kinds[] = {"dir", "file", "fifo", "socket"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        char path[160];
        at(x, kinds[i], path);
        bool is_right = strcmp(kinds[i], right) == 0;
        AUTO_FD int found = -EBADF;
        AUTO_FD int fd = -EBADF;
        AUTO_FD int opens = opens_watch(path);
        print_message("%s, want %s\n", kinds[i], right);
        assert_int_equal(path_find(path, &found), 0);
        assert_int_equal(open_it(found, &fd), is_right ? 0 : -EINVAL);
        assert_int_equal(fd >= 0, is_right);
        assert_int_equal(opens_seen(opens), is_right);
    }
}

static void test_path_open_regular__other_kinds__not_opened(void **state) {
    make_kinds(*state);
    expect_only(*state, path_open_regular, "file");
}

static void test_path_open_fifo__other_kinds__not_opened(void **state) {
    make_kinds(*state);
    expect_only(*state, path_open_fifo, "fifo");
}

static void test_path_open_fifo__flags(void **state) {
    make_kinds(*state);
    char path[160];
    at(*state, "fifo", path);
    AUTO_FD int found = -EBADF;
    AUTO_FD int fd = -EBADF;
    assert_int_equal(path_find(path, &found), 0);
    assert_int_equal(path_open_fifo(found, &fd), 0);
    int flags = fcntl(fd, F_GETFL);
    assert_int_equal(flags & O_ACCMODE, O_RDWR);
    assert_true(flags & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

/* The file that was checked is opened, even when another file has its name by then. */
static void test_path_open_regular__name_swapped__the_file_that_was_found(void **state) {
    const struct fixture *x = *state;
    make_kinds(x);
    char path[160], fifo[160], text[4] = "";
    at(x, "file", path);
    at(x, "fifo", fifo);
    AUTO_FD int found = -EBADF;
    AUTO_FD int fd = -EBADF;
    assert_int_equal(path_find(path, &found), 0);
    assert_int_equal(rename(fifo, path), 0);
    assert_int_equal(path_open_regular(found, &fd), 0);
    assert_int_equal(read(fd, text, sizeof(text)), 2);
    assert_string_equal(text, "x\n");
}

/* open() must not wait until the owner of a lease gives it up. */
static void test_path_open_regular__leased__eagain(void **state) {
    const struct fixture *x = *state;
    make_kinds(x);
    char path[160];
    at(x, "file", path);
    AUTO_FD int holder = open(path, O_RDWR | O_CLOEXEC);
    signal(SIGIO, SIG_IGN);
    assert_int_equal(fcntl(holder, F_SETLEASE, F_WRLCK), 0);
    AUTO_FD int found = -EBADF;
    AUTO_FD int fd = -EBADF;
    assert_int_equal(path_find(path, &found), 0);
    assert_int_equal(path_open_regular(found, &fd), -EAGAIN);
    signal(SIGIO, SIG_DFL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_path_walk__table__arrives_or_errno),
        T(test_path_open_regular__other_kinds__not_opened),
        T(test_path_open_fifo__other_kinds__not_opened),
        T(test_path_open_fifo__flags),
        T(test_path_open_regular__name_swapped__the_file_that_was_found),
        T(test_path_open_regular__leased__eagain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
