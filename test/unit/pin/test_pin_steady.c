/* SPDX-License-Identifier: MPL-2.0 */
/* What the reconciler does while nothing changes: one read for each task, no open, no allocation.
 * Also: the kernel's device events, which make it check the tasks without a tick. */
#include "unit/pin/pin_world.h"

#include <linux/netlink.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Counted calls and device events ---- */

static pthread_t test_thread;
static atomic_ulong opens, allocations, reads;
static int device_events = -EBADF; /* our end; 0: the next reconciler's socket() makes it */

static void count(atomic_ulong *n) {
    if (!pthread_equal(pthread_self(), test_thread))
        atomic_fetch_add(n, 1);
}

#define WRAP(type, name, ...)                                                                      \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

WRAP(ssize_t, pread, int fd, void *buf, size_t n, off_t at) {
    count(&reads);
    return __real_pread(fd, buf, n, at);
}
WRAP(int, openat, int dir, const char *path, int flags, mode_t mode) {
    count(&opens);
    return __real_openat(dir, path, flags, mode);
}
/* The kernel's device events come from the other end of a socket pair. */
WRAP(int, socket, int domain, int type, int protocol) {
    int ends[2];
    if (domain != AF_NETLINK || protocol != NETLINK_KOBJECT_UEVENT || device_events < 0)
        return __real_socket(domain, type, protocol);
    assert_int_equal(socketpair(AF_UNIX, type, 0, ends), 0);
    device_events = ends[1];
    return ends[0];
}
WRAP(int, bind, int fd, const struct sockaddr *to, socklen_t size) {
    return to->sa_family == AF_NETLINK && device_events >= 0 ? 0 : __real_bind(fd, to, size);
}
WRAP(void *, malloc, size_t n) {
    count(&allocations);
    return __real_malloc(n);
}
WRAP(void *, calloc, size_t n, size_t size) {
    count(&allocations);
    return __real_calloc(n, size);
}
WRAP(void *, realloc, void *p, size_t n) {
    count(&allocations);
    return __real_realloc(p, n);
}
WRAP(char *, strdup, const char *text) {
    count(&allocations);
    return __real_strdup(text);
}

/* ---- Tests ---- */

#define CHECKS 6 /* after an event: one, and five more within 310 ms */

static void send_device_event(const char *action, const char *subsystem) {
    char event[256];
    int n = snprintf(event, sizeof(event),
                     "%s@/devices/system/cpu/cpu3%cACTION=%s%cSUBSYSTEM=%s%cSEQNUM=7", action, 0,
                     action, 0, subsystem, 0);
    assert_int_equal(send(device_events, event, (size_t)n + 1, 0), n + 1);
}

/* An effective set changes without an event. Each check reads one task in turn, so six checks read
 * six of the ten tasks. The others are read only because the folder above them has changed. */
static void test_effective_changes_above__all_below_are_read(void **state) {
    char path[300];
    (void)state;
    for (int i = 0; i < 10; i++)
        tree_add(&tree, "", "1-3");
    device_events = 0;
    pin_world_start(PIN_WORLD_HOUR);
    for (size_t i = 0; i < 10; i++)
        assert_true(pin_world_wait_state(i, "pinned"));
    json_int_t ticks = tree_counter(pin, "ticks");
    send_device_event("online", "cpu");
    assert_true(tree_wait_counter(pin, "ticks", ticks + CHECKS)); /* no more checks follow */
    for (size_t i = 0; i < 10; i++) {
        snprintf(path, sizeof(path), "%s/cpuset.cpus.effective", tree.tasks[i].cgroup);
        tree_put(&tree, path, "1\n");
    }
    tree_put(&tree, "system.slice/cpuset.cpus.effective", "0-1\n");
    send_device_event("offline", "cpu");
    for (size_t i = 0; i < 10; i++)
        assert_true(pin_world_wait_state(i, "constrained"));
    close(device_events);
    device_events = -EBADF;
}

static void test_steady_state__one_read_per_task(void **state) {
    const unsigned tasks = 100, ticks = 20;
    (void)state;
    for (unsigned i = 0; i < tasks; i++)
        tree_add(&tree, "", "1-3");
    pin_world_start(10 * US_PER_MS);
    assert_true(pin_world_wait_state(tasks - 1, "pinned"));
    assert_true(pin_world_wait_ticks(5)); /* a new folder above counts as changed for two ticks */
    json_int_t first = tree_counter(pin, "ticks");
    unsigned long before = atomic_load(&reads);
    assert_true(pin_world_wait_ticks(ticks));
    unsigned long n = atomic_load(&reads) - before,
                  passed = (unsigned long)(tree_counter(pin, "ticks") - first);
    /* Each tenth tick reads two more files per task; some files are shared by all tasks. */
    assert_true(n >= ticks * tasks);
    assert_true(n <= (passed + 1) * (tasks + tasks / 5 + 10));
}

static void assert_ticks_cost_nothing(const char *what) {
    assert_true(pin_world_wait_ticks(2));
    unsigned long opened = atomic_load(&opens), allocated = atomic_load(&allocations);
    assert_true(pin_world_wait_ticks(20));
    if (atomic_load(&opens) != opened || atomic_load(&allocations) != allocated)
        fail_msg("%s: %lu opens, %lu allocations in 20 ticks", what, atomic_load(&opens) - opened,
                 atomic_load(&allocations) - allocated);
}

/* The kernel changes the effective sets at the event or shortly after it. */
static void test_cpu_hotplug__followed_without_a_tick(void **state) {
    char path[300];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "1-3");
    tree_add(&tree, "3", "3");
    snprintf(path, sizeof(path), "%s/cpuset.cpus.effective", x->cgroup);
    device_events = 0;
    pin_world_start(PIN_WORLD_HOUR);
    assert_true(pin_world_wait_state(0, "pinned") && pin_world_wait_state(1, "pinned"));
    tree_put(&tree, path, "1\n"); /* raises no event */
    tree_put(&tree, "cpuset.cpus.effective", "0-1\n");
    json_int_t ticks = tree_counter(pin, "ticks");
    send_device_event("offline", "cpu");
    assert_true(pin_world_wait_state(0, "constrained") && pin_world_wait_state(1, "spilled"));
    assert_true(tree_wait_counter(pin, "ticks", ticks + CHECKS));
    ticks = tree_counter(pin, "ticks");
    send_device_event("online", "cpu");
    assert_true(tree_wait_counter(pin, "ticks", ticks + 1));
    tree_put(&tree, path, "1-2\n"); /* after the first check */
    tree_put(&tree, "cpuset.cpus.effective", "0-3\n");
    assert_true(pin_world_wait_state(0, "pinned") && pin_world_wait_state(1, "pinned"));
    assert_true(tree_wait_counter(pin, "ticks", ticks + CHECKS));
    send_device_event("offline", "block");
    send_device_event("change", "cpu");
    tree_put(&tree, tree_cpus(x), "0-3");
    assert_true(tree_wait(&tree, tree_cpus(x), "1-2"));
    assert_int_equal(tree_counter(pin, "ticks"), ticks + CHECKS); /* no further check */
    close(device_events);
    device_events = -EBADF;
}

static void test_steady_state__no_open_no_allocation(void **state) {
    char path[512];
    (void)state;
    for (int i = 0; i < 5; i++)
        tree_add(&tree, "", "0-3");
    struct tree_task *offline = tree_add(&tree, "1", "0-3");
    pin_world_start(10 * US_PER_MS);
    assert_true(pin_world_wait_state(5, "pinned"));
    assert_true(atomic_load(&opens) > 0 && atomic_load(&allocations) > 0); /* the wraps count */
    assert_ticks_cost_nothing("pinned");
    snprintf(path, sizeof(path), "%s/cpuset.cpus.effective", offline->cgroup);
    tree_put(&tree, path, "0");
    assert_true(pin_world_wait_state(5, "spilled"));
    assert_ticks_cost_nothing("spilled");
    tree_share(&tree, "\n", "1-3");
    assert_true(pin_world_wait_state(0, "held"));
    assert_ticks_cost_nothing("held");
}

int main(int argc, char **argv) {
    test_thread = pthread_self();
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        PIN_WORLD_TEST(test_effective_changes_above__all_below_are_read),
        PIN_WORLD_TEST(test_steady_state__one_read_per_task),
        PIN_WORLD_TEST(test_cpu_hotplug__followed_without_a_tick),
        PIN_WORLD_TEST(test_steady_state__no_open_no_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
