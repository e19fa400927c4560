/* SPDX-License-Identifier: MPL-2.0 */
/* A container's cgroup in the text of /proc, and its figures in the files of cgroup v1 and v2. */
#include "paddock/cgroup_stats.h"
#include "src/cgroup/cgroup_path.h"
#include "unit/cm.h"
#include "unit/tmp_dir.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char root[] = "/tmp/paddock-stats-XXXXXX";
static int root_fd;

static int setup(void **state) {
    (void)state;
    snprintf(root, sizeof(root), "/tmp/paddock-stats-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    root_fd = open(root, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    return root_fd < 0 ? -1 : 0;
}

static int teardown(void **state) {
    (void)state;
    close(root_fd);
    return tmp_dir_remove(root);
}

/* Writes @text to @path below the root. Makes the folders. */
static void put(const char *path, const char *text) {
    char copy[PATH_MAX];
    snprintf(copy, sizeof(copy), "%s", path);
    for (char *p = copy; *p; p++) {
        if (*p == '/') {
            *p = '\0';
            mkdirat(root_fd, copy, 0755);
            *p = '/';
        }
    }
    int fd = openat(root_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void test_cgroup_path_of__table__cut_at_the_container(void **state) {
    static const struct {
        const char *text, *controller;
        int r;
        const char *want;
    } rows[] = {
        {"0::/system.slice/docker-" ID ".scope\n", "", 0, "/system.slice/docker-" ID ".scope"},
        {"0::/system.slice/docker-" ID ".scope/init.scope\n", "", 0,
         "/system.slice/docker-" ID ".scope"},
        {"0::/docker/" ID "\n", "", 0, "/docker/" ID},
        {"12:cpuset:/x\n0::/a.slice/b/" ID "/c/d", "", 0, "/a.slice/b/" ID},
        {"4:cpu,cpuacct:/docker/" ID "\n0::/\n", "cpuacct", 0, "/docker/" ID},
        {"4:cpu,cpuacct:/docker/" ID "\n", "cpuacc", -ENODATA, NULL},
        {"4:cpu,cpuacct:/docker/" ID "\n", "", -ENODATA, NULL},
        {"0::/user.slice/user-0.slice\n", "", -ENODATA, NULL},
        {"0::/\n", "", -ENODATA, NULL},
        {"", "", -ENODATA, NULL},
        {"nonsense", "", -ENODATA, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char path[PATH_MAX];
        assert_int_equal(cgroup_path_of(rows[i].text, rows[i].controller, ID, path), rows[i].r);
        if (rows[i].want)
            assert_string_equal(path, rows[i].want);
    }
}

static void test_cgroup_path_of__no_id__whole_path(void **state) {
    char path[PATH_MAX];
    (void)state;
    assert_int_equal(cgroup_path_of("1:cpu:/v1\n0::/docker/" ID "/init.scope\n", "", NULL, path),
                     0);
    assert_string_equal(path, "/docker/" ID "/init.scope");
    assert_int_equal(cgroup_path_of("0::/a\n", "", "", path), -ENODATA);
}

static void test_cgroup_stats_flat_value__prefix_of_another_key__ignored(void **state) {
    uint64_t v = 7;
    (void)state;
    assert_false(cgroup_stats_flat_value("user_usec 5\n", "user", &v));
    assert_true(cgroup_stats_flat_value("a 1\nuser 5\nuser_x 9", "user", &v));
    assert_int_equal(v, 5);
    assert_false(cgroup_stats_flat_value("user x\n", "user", &v));
    assert_false(cgroup_stats_flat_value("", "user", &v));
}

static void test_cgroup_stats__v2__all_figures(void **state) {
    struct cgroup_stats s;
    struct cgroup_usage u;
    (void)state;
    put("proc/7/cgroup", "0::/docker/" ID "\n");
    put("docker/" ID "/cpu.stat", "usage_usec 300\nuser_usec 200\nsystem_usec 100\nnr_throttled 4\n"
                                  "throttled_usec 50\n");
    put("docker/" ID "/memory.current", "4096\n");
    put("docker/" ID "/memory.stat", "anon 1000\nfile 2000\nkernel 96\n");
    put("docker/" ID "/memory.swap.current", "5\n");
    int proc = openat(root_fd, "proc", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    assert_int_equal(cgroup_stats_open(proc, root_fd, true, 7, ID, &s), 0);
    assert_int_equal(cgroup_stats_read(&s, &u), 0);
    assert_int_equal(u.cpu_ns, 300000);
    assert_int_equal(u.user_ns, 200000);
    assert_int_equal(u.system_ns, 100000);
    assert_int_equal(u.throttled_periods, 4);
    assert_int_equal(u.throttled_ns, 50000);
    assert_int_equal(u.usage, 4096);
    assert_int_equal(u.rss, 1000);
    assert_int_equal(u.cache, 2000);
    assert_int_equal(u.kernel, 96);
    assert_int_equal(u.swap, 5);
    assert_false(u.has_max_usage); /* kernels before 5.19 have no memory.peak */
    cgroup_stats_close(&s);
    close(proc);
}

static void test_cgroup_stats__v1__all_figures(void **state) {
    struct cgroup_stats s;
    struct cgroup_usage u;
    (void)state;
    put("proc/7/cgroup",
        "3:memory:/docker/" ID "\n2:cpu:/docker/" ID "\n1:cpuacct:/docker/" ID "\n");
    put("cpuacct/docker/" ID "/cpuacct.usage", "123456\n");
    put("cpuacct/docker/" ID "/cpuacct.stat", "user 3\nsystem 2\n");
    put("cpu/docker/" ID "/cpu.stat", "nr_periods 9\nnr_throttled 8\nthrottled_time 77\n");
    put("memory/docker/" ID "/memory.usage_in_bytes", "8192\n");
    put("memory/docker/" ID "/memory.max_usage_in_bytes", "9000\n");
    put("memory/docker/" ID "/memory.stat", "rss 1\ntotal_rss 10\ntotal_cache 20\ntotal_swap 30\n");
    int proc = openat(root_fd, "proc", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    assert_int_equal(cgroup_stats_open(proc, root_fd, false, 7, ID, &s), 0);
    assert_int_equal(cgroup_stats_read(&s, &u), 0);
    assert_int_equal(u.cpu_ns, 123456);
    assert_int_equal(u.user_ns, 30000000);
    assert_int_equal(u.system_ns, 20000000);
    assert_int_equal(u.throttled_periods, 8);
    assert_int_equal(u.throttled_ns, 77);
    assert_int_equal(u.usage, 8192);
    assert_int_equal(u.max_usage, 9000);
    assert_int_equal(u.rss, 10);
    assert_int_equal(u.cache, 20);
    assert_int_equal(u.swap, 30);
    cgroup_stats_close(&s);
    close(proc);
}

static void test_cgroup_stats_open__no_process_or_not_docker__errno(void **state) {
    struct cgroup_stats s;
    (void)state;
    put("proc/8/cgroup", "0::/init.scope\n");
    int proc = openat(root_fd, "proc", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    assert_int_equal(cgroup_stats_open(proc, root_fd, true, 9, ID, &s), -ESRCH);
    assert_int_equal(cgroup_stats_open(proc, root_fd, true, 8, ID, &s), -ENODATA);
    put("proc/8/cgroup", "0::/docker/" ID "\n");
    assert_int_equal(cgroup_stats_open(proc, root_fd, true, 8, ID, &s), -ENOENT);
    close(proc);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_cgroup_path_of__table__cut_at_the_container),
        CASE(test_cgroup_path_of__no_id__whole_path),
        CASE(test_cgroup_stats_flat_value__prefix_of_another_key__ignored),
        CASE(test_cgroup_stats__v2__all_figures),
        CASE(test_cgroup_stats__v1__all_figures),
        CASE(test_cgroup_stats_open__no_process_or_not_docker__errno),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
