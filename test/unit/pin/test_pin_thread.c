/* SPDX-License-Identifier: MPL-2.0 */
/* Whether the reconciler's thread runs with real-time priority: where the kernel allows it, and not
 * where its cgroup gets no real-time CPU time. */
#include "unit/pin/pin_world.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>

static bool may_be_real_time(void) {
    struct sched_param lowest = {.sched_priority = 1}, none = {.sched_priority = 0};
    return sched_setscheduler(0, SCHED_FIFO, &lowest) == 0 &&
           sched_setscheduler(0, SCHED_OTHER, &none) == 0;
}

static pid_t find_thread(const char *name) {
    DIR *d = opendir("/proc/self/task");
    pid_t found = 0;
    for (const struct dirent *e; d && (e = readdir(d));) {
        char path[320], comm[32] = "";
        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", e->d_name);
        AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && read(fd, comm, sizeof(comm) - 1) > 0 &&
            strncmp(comm, name, strlen(name)) == 0 && comm[strlen(name)] == '\n')
            found = (pid_t)strtol(e->d_name, NULL, 10);
    }
    if (d)
        closedir(d);
    return found;
}

static void test_thread__real_time_allowed__used(void **state) {
    (void)state;
    tree_add(&tree, "", "0-3");
    pin_world_start(PIN_WORLD_HOUR);
    assert_true(pin_world_wait_state(0, "pinned"));
    pid_t tid = find_thread("pin");
    assert_true(tid > 0);
    assert_int_equal(sched_getscheduler(tid),
                     may_be_real_time() ? SCHED_FIFO | SCHED_RESET_ON_FORK : SCHED_OTHER);
}

static void test_thread__real_time_switched_off__not_used(void **state) {
    struct pin_options o = tree_options(&tree);
    (void)state;
    tree_add(&tree, "", "0-3");
    o.realtime = false;
    assert_int_equal(pin_new(&o, &pin), 0);
    assert_true(pin_world_wait_state(0, "pinned"));
    assert_int_equal(sched_getscheduler(find_thread("pin")), SCHED_OTHER);
}

static int scheduler_without_cpu(const char *kernel_config) {
    struct pin_options o = tree_options(&tree);
    char path[512];
    tree_add(&tree, "", "0-3");
    tree_put(&tree, "../proc/self/cgroup", "0::/system.slice/nomad.service\n");
    tree_put(&tree, "system.slice/nomad.service/cgroup.controllers", "cpuset memory pids\n");
    if (kernel_config)
        tree_put(&tree, "../proc/config", kernel_config);
    snprintf(path, sizeof(path), "%s/../proc/config", tree.root);
    o.kernel_config = path;
    assert_int_equal(pin_new(&o, &pin), 0);
    assert_true(pin_world_wait_state(0, "pinned"));
    return sched_getscheduler(find_thread("pin"));
}

static void test_thread__cgroup_without_cpu_and_rt_groups__not_real_time(void **state) {
    (void)state;
    assert_int_equal(scheduler_without_cpu("CONFIG_SMP=y\nCONFIG_RT_GROUP_SCHED=y\n"), SCHED_OTHER);
}

static void test_thread__cgroup_without_cpu_and_unknown_kernel__not_real_time(void **state) {
    (void)state;
    assert_int_equal(scheduler_without_cpu(NULL), SCHED_OTHER);
}

static void test_thread__cgroup_without_cpu_and_no_rt_groups__real_time(void **state) {
    (void)state;
    assert_int_equal(scheduler_without_cpu("# CONFIG_RT_GROUP_SCHED is not set\n"),
                     may_be_real_time() ? SCHED_FIFO | SCHED_RESET_ON_FORK : SCHED_OTHER);
}

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        PIN_WORLD_TEST(test_thread__real_time_allowed__used),
        PIN_WORLD_TEST(test_thread__real_time_switched_off__not_used),
        PIN_WORLD_TEST(test_thread__cgroup_without_cpu_and_rt_groups__not_real_time),
        PIN_WORLD_TEST(test_thread__cgroup_without_cpu_and_unknown_kernel__not_real_time),
        PIN_WORLD_TEST(test_thread__cgroup_without_cpu_and_no_rt_groups__real_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
