/* SPDX-License-Identifier: MPL-2.0 */
/* The reconciler when the kernel refuses an operation. Also: which system calls it does not make
 * while nothing changes. */
#include "unit/pin/pin_world.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <linux/netlink.h>
#include <sys/inotify.h>
#include <sys/socket.h>

#define ALWAYS 1000000

/* ---- the kernel and the allocator, as the pin thread sees them ---- */

/* The next @left calls fail with errno @error. */
struct fault {
    atomic_int error, left;
};

static pthread_t test_thread;
static struct fault on_write, on_read, on_inotify, on_watch, on_epoll;
static atomic_ulong opens, allocations, reads;
static int device_events = -EBADF; /* our end; 0 = to be made by the next pin */

static void fail_with(struct fault *f, int error, int left) {
    atomic_store(&f->error, error);
    atomic_store(&f->left, left);
}

static bool fails(struct fault *f) {
    int error = atomic_load(&f->error);
    if (!error || atomic_fetch_sub(&f->left, 1) <= 0)
        return false;
    errno = error;
    return true;
}

static bool in_pin_thread(void) {
    return !pthread_equal(pthread_self(), test_thread);
}

static void count(atomic_ulong *n) {
    if (in_pin_thread())
        atomic_fetch_add(n, 1);
}

/* Writes of cpuset.mems are the kernel's migrations. */
static pthread_mutex_t migration_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t migration_changed = PTHREAD_COND_INITIALIZER;
static bool migrations_take_long;
static int migration_error;
static unsigned migrations, migrations_at_once, migrations_at_once_max;

/* Sets errno and returns true when the write is to fail. */
static bool migration_waits(const char *path) {
    size_t len = strlen(path);
    if (len < 4 || strcmp(path + len - 4, "mems") != 0)
        return false;
    pthread_mutex_lock(&migration_lock);
    migrations++;
    migrations_at_once++;
    if (migrations_at_once > migrations_at_once_max)
        migrations_at_once_max = migrations_at_once;
    pthread_cond_broadcast(&migration_changed);
    while (migrations_take_long)
        pthread_cond_wait(&migration_changed, &migration_lock);
    migrations_at_once--;
    int error = migration_error;
    pthread_mutex_unlock(&migration_lock);
    errno = error;
    return error != 0;
}

static void migrations_set(bool take_long, int error) {
    pthread_mutex_lock(&migration_lock);
    migrations_take_long = take_long;
    migration_error = error;
    pthread_cond_broadcast(&migration_changed);
    pthread_mutex_unlock(&migration_lock);
}

static unsigned migrations_now(unsigned *ret_at_once_max) {
    pthread_mutex_lock(&migration_lock);
    unsigned n = migrations;
    *ret_at_once_max = migrations_at_once_max;
    pthread_mutex_unlock(&migration_lock);
    return n;
}

/* Whether there were @n of them within 10 s. */
static bool migrations_reach(unsigned n) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 10;
    int r = 0;
    pthread_mutex_lock(&migration_lock);
    while (migrations < n && r == 0)
        r = pthread_cond_timedwait(&migration_changed, &migration_lock, &end);
    bool reached = migrations >= n;
    pthread_mutex_unlock(&migration_lock);
    return reached;
}

#define WRAP(type, name, ...)                                                                      \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

WRAP(ssize_t, pwrite, int fd, const void *buf, size_t n, off_t at) {
    char link[64], path[512] = "";
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    if (in_pin_thread() && migration_waits(readlink(link, path, sizeof(path) - 1) > 0 ? path : ""))
        return -1;
    return in_pin_thread() && fails(&on_write) ? -1 : __real_pwrite(fd, buf, n, at);
}
WRAP(ssize_t, pread, int fd, void *buf, size_t n, off_t at) {
    count(&reads);
    return in_pin_thread() && fails(&on_read) ? -1 : __real_pread(fd, buf, n, at);
}
WRAP(int, inotify_init1, int flags) {
    return fails(&on_inotify) ? -1 : __real_inotify_init1(flags);
}
WRAP(int, inotify_add_watch, int fd, const char *path, uint32_t mask) {
    return in_pin_thread() && fails(&on_watch) ? -1 : __real_inotify_add_watch(fd, path, mask);
}
WRAP(int, openat, int dir, const char *path, int flags, mode_t mode) {
    count(&opens);
    return __real_openat(dir, path, flags, mode);
}
WRAP(int, epoll_pwait2, int fd, struct epoll_event *events, int max, const struct timespec *wait,
     const sigset_t *signals) {
    return in_pin_thread() && fails(&on_epoll)
               ? -1
               : __real_epoll_pwait2(fd, events, max, wait, signals);
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

/* ---- what all tests need ---- */

static int setup(void **state) {
    struct fault *const all[] = {&on_write, &on_read, &on_inotify, &on_watch, &on_epoll};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        fail_with(all[i], 0, 0);
    return pin_world_setup(state);
}

static bool wait_ticks(json_int_t n) {
    return tree_wait_counter(pin, "ticks", tree_counter(pin, "ticks") + n);
}

static size_t events_with(const char *text) {
    size_t n = 0;
    pthread_mutex_lock(&tree.lock);
    for (size_t i = 0; i < 64 && i < tree.events_n; i++)
        n += strstr(tree.events[i], text) != NULL;
    pthread_mutex_unlock(&tree.lock);
    return n;
}

/* ---- refusals ---- */

static void test_write_refused__kept_told_once_and_backed_off(void **state) {
    static const int codes[] = {ENOSPC, EBUSY, EINVAL, EACCES};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        char text[128];
        if (i) {
            pin_world_teardown(state);
            setup(state);
        }
        struct tree_task *x = tree_add(&tree, "", "0-3");
        fail_with(&on_write, codes[i], ALWAYS);
        pin_world_start(10 * US_PER_MS);
        snprintf(text, sizeof(text), "cpuset not set to 1-3: %s, retrying [failed, 0-3 > 1-3, ",
                 strerror(codes[i]));
        assert_true(tree_wait_event(&tree, text));
        assert_true(pin_world_wait_state(0, "failed"));
        assert_true(tree_wait_task(pin, 0, "why", strerror(codes[i])));
        assert_true(wait_ticks(20)); /* of which none is a second later than the refusal */
        assert_true(tree_counter(pin, "write_errors") <= 2);
        assert_int_equal(events_with("cpuset not set"), 1);
        assert_true(tree_wait(&tree, tree_cpus(x), "0-3"));
        fail_with(&on_write, 0, 0);
        tree_share(&tree, "2-3", "1"); /* another set: immediately */
        assert_true(tree_wait(&tree, tree_cpus(x), "2-3"));
        assert_true(pin_world_wait_state(0, "pinned"));
    }
}

static void test_read_refused__said(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    pin_world_start(10 * US_PER_MS);
    assert_true(pin_world_wait_state(0, "pinned"));
    fail_with(&on_read, EACCES, ALWAYS);
    assert_true(tree_wait_event(&tree, "cpuset cannot be read: Permission denied, retrying"));
    assert_true(tree_wait_task(pin, 0, "why", "Permission denied"));
    fail_with(&on_read, 0, 0);
    assert_true(pin_world_wait_state(0, "pinned"));
    tree_put(&tree, tree_cpus(x), "0-3");
    assert_true(tree_wait(&tree, tree_cpus(x), "1-3"));
}

static void test_write_refused_once__tried_again(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    fail_with(&on_write, ENOSPC, 1);
    pin_world_start(20 * US_PER_MS);
    assert_true(tree_wait(&tree, tree_cpus(x), "1-3")); /* after the back-off of a second */
    assert_true(pin_world_wait_state(0, "pinned"));
    assert_int_equal(tree_counter(pin, "write_errors"), 1);
}

static void test_cgroup_gone_at_the_write__found_again(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    fail_with(&on_write, ENODEV, 1);
    pin_world_start(PIN_WORLD_HOUR);
    assert_true(tree_wait(&tree, tree_cpus(x), "1-3")); /* in the same pass */
}

static void test_cgroup_replaced__the_new_one_is_found(void **state) {
    (void)state;
    char text[600];
    struct tree_task *x = tree_add(&tree, "", "0-3");
    pin_world_start(PIN_WORLD_HOUR);
    assert_true(pin_world_wait_state(0, "pinned"));
    struct tree_task moved = *x;
    snprintf(moved.cgroup, sizeof(moved.cgroup), "other.slice/docker-%s.scope", x->id);
    tree_put_container(&tree, &moved, "0-3");
    assert_true(tree_wait(&tree, tree_cpus(&moved), "0-3"));
    fail_with(&on_read, ENODEV, 2); /* the online CPUs, the container's set */
    snprintf(text, sizeof(text), "%s/cpuset.cpus", x->cgroup);
    tree_put(&tree, text, "0-3"); /* an event: it is looked at */
    assert_true(tree_wait(&tree, tree_cpus(&moved), "1-3"));
    assert_true(tree_wait_task(pin, 0, "cgroup", moved.cgroup));
    assert_int_equal(tree_counter(pin, "reopened"), 1);
}

/* ---- no events ---- */

static char log_path[128];
static int real_stderr;

static void log_catch(void) {
    snprintf(log_path, sizeof(log_path), "%s/log", tree.dir);
    AUTO_FD int fd = open(log_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    real_stderr = fcntl(2, F_DUPFD_CLOEXEC, 3);
    assert_true(fd >= 0 && real_stderr >= 0 && dup2(fd, 2) == 2);
}

/* How many lines of the log have @text in them. */
static unsigned log_release(const char *text) {
    char line[2048];
    unsigned n = 0;
    dup2(real_stderr, 2);
    close(real_stderr);
    FILE *f = fopen(log_path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        n += strstr(line, text) != NULL;
    fclose(f);
    return n;
}

static void assert_repaired_at_the_tick(const char *events, const char *warning) {
    struct tree_task *shared = tree_add(&tree, "", "0-3"), *cores = tree_add(&tree, "1", "0-3");
    log_catch();
    pin_world_start(20 * US_PER_MS);
    bool ok = tree_wait(&tree, tree_cpus(shared), "2-3");
    tree_put(&tree, tree_cpus(shared), "0-3");
    ok = ok && tree_wait(&tree, tree_cpus(shared), "2-3");
    tree_put(&tree, tree_cpus(cores), "0-3");
    ok = ok && tree_wait(&tree, tree_cpus(cores), "1");
    tree_share(&tree, "3", "1");
    ok = ok && tree_wait(&tree, tree_cpus(shared), "3") && wait_ticks(5);
    assert_int_equal(log_release(warning), 1); /* once for all */
    assert_true(ok);
    for (size_t i = 0; i < 2; i++)
        assert_true(tree_wait_task(pin, i, "changes_seen", "at the tick"));
    json_auto_t *doc = pin_show_status(pin);
    const json_t *host = json_object_get(doc, "host");
    assert_string_equal(json_string_value(json_object_get(host, "events")), events);
    assert_true(tree_counter(pin, "watch_errors") > 0);
    assert_int_equal(tree_counter(pin, "events"), 0);
}

static void test_inotify_refused__the_tick_alone_and_one_warning(void **state) {
    (void)state;
    fail_with(&on_inotify, EMFILE, ALWAYS);
    assert_repaired_at_the_tick("tick only", "changes are seen at the tick only");
}

static void test_watches_run_out__the_tick_and_one_warning(void **state) {
    (void)state;
    fail_with(&on_watch, ENOSPC, ALWAYS);
    assert_repaired_at_the_tick("inotify", "fs.inotify.max_user_watches");
}

static void test_watch_refused_once__retried_without_a_tick(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "1-3");
    fail_with(&on_watch, ENOSPC, 1);
    pin_world_start(PIN_WORLD_HOUR);
    assert_true(tree_wait_task(pin, 0, "changes_seen", "at the tick"));
    assert_true(tree_wait_task(pin, 0, "changes_seen", "by events")); /* after a second */
    tree_put(&tree, tree_cpus(x), "0-3");
    assert_true(tree_wait(&tree, tree_cpus(x), "1-3"));
}

static void test_write_refused__retried_without_a_tick(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    fail_with(&on_write, EBUSY, 1);
    pin_world_start(PIN_WORLD_HOUR);
    assert_true(pin_world_wait_state(0, "failed"));
    assert_true(tree_wait(&tree, tree_cpus(x), "1-3")); /* after a second */
    assert_true(pin_world_wait_state(0, "pinned"));
}

/* ---- the end of the loop ---- */

static atomic_int ended_r;

static void on_ended(void *ctx, int r) {
    (void)ctx;
    atomic_store(&ended_r, r);
}

static bool has_ended(const json_t *status, void *ctx) {
    const json_t *host = json_object_get(status, "host");
    (void)ctx;
    return json_is_false(json_object_get(host, "running")) &&
           strcmp(json_string_value(json_object_get(host, "ended")), strerror(ENOMEM)) == 0 &&
           atomic_load(&ended_r) == -ENOMEM;
}

static void test_loop_ends__reported(void **state) {
    (void)state;
    struct pin_options o = tree_options(&tree);
    o.ended = on_ended;
    o.interval_us = 20 * US_PER_MS;
    log_catch();
    assert_int_equal(pin_new(&o, &pin), 0);
    fail_with(&on_epoll, ENOMEM, ALWAYS);
    bool ended = tree_wait_status(pin, has_ended, NULL);
    fail_with(&on_epoll, 0, 0);
    assert_int_equal(log_release("the reconciler has ended"), 1);
    assert_true(ended);
}

/* ---- the steady state ---- */

#define LOOKS 6 /* after an event: one, and five more within 310 ms */

static void send_device_event(const char *action, const char *subsystem) {
    char event[256];
    int n = snprintf(event, sizeof(event),
                     "%s@/devices/system/cpu/cpu3%cACTION=%s%cSUBSYSTEM=%s%cSEQNUM=7", action, 0,
                     action, 0, subsystem, 0);
    assert_int_equal(send(device_events, event, (size_t)n + 1, 0), n + 1);
}

/* An effective set changes without an event. Six looks are the turns of six tasks of ten, so the
 * others are read only because of the folder above. */
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
    assert_true(tree_wait_counter(pin, "ticks", ticks + LOOKS)); /* all is read and quiet */
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
    assert_true(wait_ticks(5)); /* a new folder above counts as changed for two */
    json_int_t first = tree_counter(pin, "ticks");
    unsigned long before = atomic_load(&reads);
    assert_true(wait_ticks(ticks));
    unsigned long n = atomic_load(&reads) - before,
                  passed = (unsigned long)(tree_counter(pin, "ticks") - first);
    /* Two more at one of ten ticks, and the files that all share. */
    assert_true(n >= ticks * tasks);
    assert_true(n <= (passed + 1) * (tasks + tasks / 5 + 10));
}

static void assert_ticks_cost_nothing(const char *what) {
    assert_true(wait_ticks(2));
    unsigned long opened = atomic_load(&opens), allocated = atomic_load(&allocations);
    assert_true(wait_ticks(20));
    if (atomic_load(&opens) != opened || atomic_load(&allocations) != allocated)
        fail_msg("%s: %lu opens, %lu allocations in 20 ticks", what, atomic_load(&opens) - opened,
                 atomic_load(&allocations) - allocated);
}

/* The kernel changes the effective sets at the event, or soon after it. */
static void test_cpu_hotplug__followed_without_a_tick(void **state) {
    char path[300];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "1-3");
    tree_add(&tree, "3", "3");
    snprintf(path, sizeof(path), "%s/cpuset.cpus.effective", x->cgroup);
    device_events = 0;
    pin_world_start(PIN_WORLD_HOUR);
    assert_true(pin_world_wait_state(0, "pinned") && pin_world_wait_state(1, "pinned"));
    tree_put(&tree, path, "1\n"); /* no event: nobody sees this */
    tree_put(&tree, "cpuset.cpus.effective", "0-1\n");
    json_int_t ticks = tree_counter(pin, "ticks");
    send_device_event("offline", "cpu");
    assert_true(pin_world_wait_state(0, "constrained") && pin_world_wait_state(1, "spilled"));
    assert_true(tree_wait_counter(pin, "ticks", ticks + LOOKS));
    ticks = tree_counter(pin, "ticks");
    send_device_event("online", "cpu");
    assert_true(tree_wait_counter(pin, "ticks", ticks + 1));
    tree_put(&tree, path, "1-2\n"); /* after the first look */
    tree_put(&tree, "cpuset.cpus.effective", "0-3\n");
    assert_true(pin_world_wait_state(0, "pinned") && pin_world_wait_state(1, "pinned"));
    assert_true(tree_wait_counter(pin, "ticks", ticks + LOOKS));
    send_device_event("offline", "block");
    send_device_event("change", "cpu");
    tree_put(&tree, tree_cpus(x), "0-3");
    assert_true(tree_wait(&tree, tree_cpus(x), "1-2"));
    assert_int_equal(tree_counter(pin, "ticks"), ticks + LOOKS); /* nothing more was read */
    close(device_events);
    device_events = -EBADF;
}

/* Two nodes of two CPUs each; @x is a task with cores whose memory is on node 0. */
static const char *mems_of(const struct tree_task *x) {
    static char path[2][600];
    static unsigned at;
    char *p = path[at++ % 2];
    snprintf(p, sizeof(path[0]), "%s/cpuset.mems", x->cgroup);
    return p;
}

static void start_with_nodes(void) {
    char nodes[96];
    tree_put(&tree, "../nodes/has_memory", "0-1\n");
    tree_put(&tree, "../nodes/node0/cpulist", "0-1\n");
    tree_put(&tree, "../nodes/node1/cpulist", "2-3\n");
    snprintf(nodes, sizeof(nodes), "%s/nodes", tree.dir);
    struct pin_options o = tree_options(&tree);
    o.interval_us = PIN_WORLD_HOUR;
    o.mems_follow = true;
    o.node_root = nodes;
    pthread_mutex_lock(&migration_lock);
    migrations = migrations_at_once_max = 0;
    pthread_mutex_unlock(&migration_lock);
    assert_int_equal(pin_new(&o, &pin), 0);
}

static void test_migration__repairs_go_on_and_the_next_one_waits(void **state) {
    (void)state;
    struct tree_task *x[2] = {tree_add(&tree, "2", "2"), tree_add(&tree, "3", "3")};
    struct tree_task *shared = tree_add(&tree, "", "1");
    for (size_t i = 0; i < 2; i++)
        tree_put(&tree, mems_of(x[i]), "0\n");
    migrations_set(true, 0);
    start_with_nodes();
    assert_true(migrations_reach(1));
    tree_put(&tree, tree_cpus(shared), "0-3");
    assert_true(tree_wait(&tree, tree_cpus(shared), "1"));
    for (size_t i = 0; i < 2; i++) {
        tree_put(&tree, tree_cpus(x[i]), "0-3");
        assert_true(tree_wait(&tree, tree_cpus(x[i]), i ? "3" : "2"));
    }
    unsigned at_once;
    assert_int_equal(migrations_now(&at_once), 1);
    migrations_set(false, 0);
    assert_true(tree_wait(&tree, mems_of(x[0]), "1"));
    assert_true(tree_wait(&tree, mems_of(x[1]), "1"));
    assert_int_equal(migrations_now(&at_once), 2);
    assert_int_equal(at_once, 1);
}

static void test_migration__refused__backed_off_and_tried_again(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "2", "2");
    tree_put(&tree, mems_of(x), "0\n");
    migrations_set(false, ENOMEM);
    uint64_t start_us = clock_now_us();
    start_with_nodes();
    assert_true(tree_wait_counter(pin, "write_errors", 1));
    assert_true(pin_world_wait_state(0, "pinned"));
    migrations_set(false, 0);
    assert_true(tree_wait(&tree, mems_of(x), "1"));
    assert_true(clock_now_us() - start_us >= US_PER_SEC);
    unsigned at_once;
    assert_int_equal(migrations_now(&at_once), 2);
}

/* The process need not wait for the kernel to copy 100 GB. */
static void test_migration__reconciler_ends_meanwhile(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "2", "2");
    tree_put(&tree, mems_of(x), "0\n");
    migrations_set(true, 0);
    start_with_nodes();
    assert_true(migrations_reach(1));
    pin_free(pin);
    pin = NULL;
    migrations_set(false, 0);
    assert_true(tree_wait(&tree, mems_of(x), "1"));
}

/* The task ends, and the next one is migrated all the same. */
static void test_migration__task_ends_meanwhile(void **state) {
    (void)state;
    struct tree_task *x[2] = {tree_add(&tree, "2", "2"), tree_add(&tree, "3", "3")};
    for (size_t i = 0; i < 2; i++)
        tree_put(&tree, mems_of(x[i]), "0\n");
    migrations_set(true, 0);
    start_with_nodes();
    assert_true(migrations_reach(1));
    pthread_mutex_lock(&tree.lock);
    x[0]->present = false;
    pthread_mutex_unlock(&tree.lock);
    pin_wake(pin);
    assert_true(tree_wait_task(pin, 1, "state", "gone"));
    migrations_set(false, 0);
    assert_true(tree_wait(&tree, mems_of(x[1]), "1"));
}

static void test_steady_state__no_open_no_allocation(void **state) {
    char path[512];
    (void)state;
    for (int i = 0; i < 5; i++)
        tree_add(&tree, "", "0-3");
    struct tree_task *offline = tree_add(&tree, "1", "0-3");
    pin_world_start(10 * US_PER_MS);
    assert_true(pin_world_wait_state(5, "pinned"));
    assert_true(atomic_load(&opens) > 0 && atomic_load(&allocations) > 0); /* they are counted */
    assert_ticks_cost_nothing("pinned");
    snprintf(path, sizeof(path), "%s/cpuset.cpus.effective", offline->cgroup);
    tree_put(&tree, path, "0");
    assert_true(pin_world_wait_state(5, "spilled"));
    assert_ticks_cost_nothing("spilled");
    tree_share(&tree, "\n", "1-3");
    assert_true(pin_world_wait_state(0, "held"));
    assert_ticks_cost_nothing("held");
}

/* ---- the thread ---- */

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

static void test_thread__real_time_where_that_is_allowed(void **state) {
    (void)state;
    tree_add(&tree, "", "0-3");
    pin_world_start(PIN_WORLD_HOUR);
    assert_true(pin_world_wait_state(0, "pinned"));
    pid_t tid = find_thread("pin");
    assert_true(tid > 0);
    assert_int_equal(sched_getscheduler(tid),
                     may_be_real_time() ? SCHED_FIFO | SCHED_RESET_ON_FORK : SCHED_OTHER);
}

static void test_thread__real_time_switched_off(void **state) {
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, pin_world_teardown)

int main(int argc, char **argv) {
    test_thread = pthread_self();
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        TEST(test_write_refused__kept_told_once_and_backed_off),
        TEST(test_read_refused__said),
        TEST(test_write_refused_once__tried_again),
        TEST(test_cgroup_gone_at_the_write__found_again),
        TEST(test_cgroup_replaced__the_new_one_is_found),
        TEST(test_inotify_refused__the_tick_alone_and_one_warning),
        TEST(test_watches_run_out__the_tick_and_one_warning),
        TEST(test_watch_refused_once__retried_without_a_tick),
        TEST(test_write_refused__retried_without_a_tick),
        TEST(test_loop_ends__reported),
        TEST(test_cpu_hotplug__followed_without_a_tick),
        TEST(test_effective_changes_above__all_below_are_read),
        TEST(test_steady_state__one_read_per_task),
        TEST(test_migration__repairs_go_on_and_the_next_one_waits),
        TEST(test_migration__refused__backed_off_and_tried_again),
        TEST(test_migration__reconciler_ends_meanwhile),
        TEST(test_migration__task_ends_meanwhile),
        TEST(test_steady_state__no_open_no_allocation),
        TEST(test_thread__real_time_where_that_is_allowed),
        TEST(test_thread__real_time_switched_off),
        TEST(test_thread__cgroup_without_cpu_and_rt_groups__not_real_time),
        TEST(test_thread__cgroup_without_cpu_and_unknown_kernel__not_real_time),
        TEST(test_thread__cgroup_without_cpu_and_no_rt_groups__real_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
