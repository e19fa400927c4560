/* SPDX-License-Identifier: MPL-2.0 */
/* The folder of a container and its cpuset files, in a temporary folder with its own /proc. What a
 * plain folder cannot do is wrapped: a file that root cannot write, a process that moves between
 * two reads, and a threaded cgroup that does not list its processes. */
#include "paddock/cgroup.h"
#include "unit/cm.h"
#include "unit/tmp_dir.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define SCOPE "system.slice/docker-" ID ".scope"

static char root[64], scratch[CPUSET_TEXT_MAX];
static int root_fd, proc_fd;
static int refuse_write;           /* errno of an open for writing */
static int procs_error;            /* errno of reading cgroup.procs */
static void (*before_procs)(void); /* called once, before cgroup.procs is opened */

int __real_openat(int dir, const char *path, int flags, mode_t mode);
int __wrap_openat(int dir, const char *path, int flags, mode_t mode);
int __wrap_openat(int dir, const char *path, int flags, mode_t mode) {
    if (refuse_write && (flags & O_ACCMODE) == O_RDWR) {
        errno = refuse_write;
        return -1;
    }
    void (*call)(void) = before_procs;
    if (call && strcmp(path, "cgroup.procs") == 0) {
        before_procs = NULL;
        call();
    }
    return __real_openat(dir, path, flags, mode);
}

static ssize_t no_read(void *cookie, char *buf, size_t size) {
    (void)cookie;
    (void)buf;
    (void)size;
    errno = procs_error;
    return -1;
}

FILE *__real_fdopen(int fd, const char *mode);
FILE *__wrap_fdopen(int fd, const char *mode);
FILE *__wrap_fdopen(int fd, const char *mode) {
    if (!procs_error)
        return __real_fdopen(fd, mode);
    close(fd);
    return fopencookie(NULL, "r", (cookie_io_functions_t){.read = no_read});
}

static void put(int dir, const char *path, const char *text) {
    char copy[PATH_MAX];
    snprintf(copy, sizeof(copy), "%s", path);
    for (char *p = copy; *p; p++)
        if (*p == '/') {
            *p = '\0';
            mkdirat(dir, copy, 0755);
            *p = '/';
        }
    AUTO_FD int fd = __real_openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static int setup(void **state) {
    char path[96];
    (void)state;
    refuse_write = procs_error = 0;
    before_procs = NULL;
    snprintf(root, sizeof(root), "/tmp/paddock-cgroup-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    snprintf(path, sizeof(path), "%s/proc", root);
    mkdir(path, 0755);
    root_fd = open(root, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    proc_fd = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    put(root_fd, SCOPE "/cgroup.procs", "42\n");
    put(proc_fd, "42/cgroup", "0::/" SCOPE "\n");
    return root_fd < 0 || proc_fd < 0 ? -1 : 0;
}

static int teardown(void **state) {
    (void)state;
    close(root_fd);
    close(proc_fd);
    return tmp_dir_remove(root);
}

static void assert_opens(int want) {
    char path[PATH_MAX], own[PATH_MAX];
    AUTO_FD int fd = cgroup_container_open(proc_fd, root_fd, 42, ID, path, own);
    if (want < 0) {
        assert_int_equal(fd, want);
        return;
    }
    assert_true(fd >= 0);
    assert_string_equal(path, SCOPE);
    assert_int_equal(strncmp(own, SCOPE, strlen(SCOPE)), 0);
}

static void test_open__its_folder(void **state) {
    (void)state;
    assert_opens(0);
}

static void test_open__threaded_cgroup__found(void **state) {
    (void)state;
    procs_error = EOPNOTSUPP;
    assert_opens(0);
    procs_error = EIO;
    assert_opens(-EIO);
}

static void test_open__outside_of_the_mount__exdev(void **state) {
    (void)state;
    put(proc_fd, "42/cgroup", "0::/../" SCOPE "\n");
    assert_opens(-EXDEV);
}

static void test_open__not_listed__estale(void **state) {
    (void)state;
    put(root_fd, SCOPE "/cgroup.procs", "41\n");
    assert_opens(-ESTALE);
}

static void move_to_init_scope(void) {
    put(root_fd, SCOPE "/cgroup.procs", "");
    put(root_fd, SCOPE "/init.scope/cgroup.procs", "42\n");
    put(proc_fd, "42/cgroup", "0::/" SCOPE "/init.scope\n");
}

static void test_open__moved_between_the_reads__found(void **state) {
    (void)state;
    before_procs = move_to_init_scope;
    assert_opens(0);
}

static void open_cpus(struct cgroup_file *f) {
    AUTO_FD int dir = cgroup_dir_open(root_fd, SCOPE);
    assert_true(dir >= 0);
    assert_int_equal(cgroup_file_open(dir, "cpuset.cpus", f), 0);
}

static void test_write__read_only__eacces(void **state) {
    static const int refusals[] = {EACCES, EPERM, EROFS};
    (void)state;
    put(root_fd, SCOPE "/cpuset.cpus", "1-3\n");
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        struct cgroup_file f;
        struct cpuset set = {{1}};
        refuse_write = refusals[i];
        open_cpus(&f);
        assert_int_equal(cgroup_file_read(&f, scratch, sizeof(scratch)), 1);
        assert_int_equal(f.r, 0);
        assert_int_equal(cgroup_file_write(&f, &set, scratch, sizeof(scratch)), -EACCES);
        cgroup_file_close(&f);
    }
}

static void test_write__empty_and_closed(void **state) {
    struct cgroup_file f;
    struct cpuset none = {{0}}, one = {{1}};
    (void)state;
    put(root_fd, SCOPE "/cpuset.cpus", "1-3\n");
    open_cpus(&f);
    assert_int_equal(cgroup_file_write(&f, &none, scratch, sizeof(scratch)), -EINVAL);
    assert_int_equal(cgroup_file_write(&f, &one, scratch, 2), -ENOSPC);
    cgroup_file_close(&f);
    assert_int_equal(cgroup_file_write(&f, &one, scratch, sizeof(scratch)), -EBADF);
}

static void test_read__longer_than_the_buffer__eoverflow(void **state) {
    struct cgroup_file f;
    (void)state;
    put(root_fd, SCOPE "/cpuset.cpus", "1-3,5,7\n");
    open_cpus(&f);
    assert_int_equal(cgroup_file_read(&f, scratch, 4), 1);
    assert_int_equal(f.r, -EOVERFLOW);
    assert_int_equal(cgroup_file_read(&f, scratch, sizeof(scratch)), 1);
    assert_int_equal(f.r, 0);
    assert_int_equal(cgroup_file_read(&f, scratch, sizeof(scratch)), 0);
    cgroup_file_close(&f);
}

static void test_write__shorter_text__nothing_of_the_old_stays(void **state) {
    struct cgroup_file f;
    struct cpuset one = {{2}};
    (void)state;
    put(root_fd, SCOPE "/cpuset.cpus", "1-3,5,7\n");
    open_cpus(&f);
    assert_int_equal(cgroup_file_read(&f, scratch, sizeof(scratch)), 1);
    assert_int_equal(cgroup_file_write(&f, &one, scratch, sizeof(scratch)), 0);
    assert_int_equal(cgroup_file_read(&f, scratch, sizeof(scratch)), 0);
    assert_true(cpuset_equal(&f.set, &one));
    cgroup_file_close(&f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        TEST(test_open__its_folder),
        TEST(test_open__threaded_cgroup__found),
        TEST(test_open__outside_of_the_mount__exdev),
        TEST(test_open__not_listed__estale),
        TEST(test_open__moved_between_the_reads__found),
        TEST(test_write__read_only__eacces),
        TEST(test_write__empty_and_closed),
        TEST(test_read__longer_than_the_buffer__eoverflow),
        TEST(test_write__shorter_text__nothing_of_the_old_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
