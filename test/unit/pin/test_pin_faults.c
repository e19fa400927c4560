/* SPDX-License-Identifier: MPL-2.0 */
/* The reconciler when the kernel refuses an operation: writes, reads, inotify, epoll, and memory
 * migrations that fail or take long. */
#include "unit/pin/pin_world.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

#define ALWAYS 1000000

/* ---- The kernel, as the pin thread sees it ---- */

/* The next @left calls fail with errno @error. */
struct fault {
    atomic_int error, left;
};

static pthread_t test_thread;
static struct fault on_write, on_read, on_inotify, on_watch, on_epoll;

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

/* The kernel migrates memory during a write of cpuset.mems. */
static pthread_mutex_t migration_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t migration_changed = PTHREAD_COND_INITIALIZER;
static bool migrations_take_long;
static int migration_error;
static unsigned migrations, migrations_running, migrations_running_max;

/* Sets errno and returns true when the write is to fail. */
static bool migration_waits(const char *path) {
    size_t len = strlen(path);
    if (len < 4 || strcmp(path + len - 4, "mems") != 0)
        return false;
    pthread_mutex_lock(&migration_lock);
    migrations++;
    migrations_running++;
    if (migrations_running > migrations_running_max)
        migrations_running_max = migrations_running;
    pthread_cond_broadcast(&migration_changed);
    while (migrations_take_long)
        pthread_cond_wait(&migration_changed, &migration_lock);
    migrations_running--;
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

static unsigned migrations_now(unsigned *ret_running_max) {
    pthread_mutex_lock(&migration_lock);
    unsigned n = migrations;
    *ret_running_max = migrations_running_max;
    pthread_mutex_unlock(&migration_lock);
    return n;
}

/* Waits up to 10 s for @n migrations. Returns whether they started. */
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
    return in_pin_thread() && fails(&on_read) ? -1 : __real_pread(fd, buf, n, at);
}
WRAP(int, inotify_init1, int flags) {
    return fails(&on_inotify) ? -1 : __real_inotify_init1(flags);
}
WRAP(int, inotify_add_watch, int fd, const char *path, uint32_t mask) {
    return in_pin_thread() && fails(&on_watch) ? -1 : __real_inotify_add_watch(fd, path, mask);
}
WRAP(int, epoll_pwait2, int fd, struct epoll_event *events, int max, const struct timespec *wait,
     const sigset_t *signals) {
    return in_pin_thread() && fails(&on_epoll)
               ? -1
               : __real_epoll_pwait2(fd, events, max, wait, signals);
}

static int setup(void **state) {
    struct fault *const all[] = {&on_write, &on_read, &on_inotify, &on_watch, &on_epoll};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        fail_with(all[i], 0, 0);
    return pin_world_setup(state);
}

static size_t events_with(const char *text) {
    size_t n = 0;
    pthread_mutex_lock(&tree.lock);
    for (size_t i = 0; i < 64 && i < tree.events_n; i++)
        n += strstr(tree.events[i], text) != NULL;
    pthread_mutex_unlock(&tree.lock);
    return n;
}

/* ---- Refusals ---- */

static void test_write_refused__reported_once_and_backed_off(void **state) {
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
        assert_true(pin_world_wait_ticks(20)); /* all of them within a second after the refusal */
        assert_true(tree_counter(pin, "write_errors") <= 2);
        assert_int_equal(events_with("cpuset not set"), 1);
        assert_true(tree_wait(&tree, tree_cpus(x), "0-3"));
        fail_with(&on_write, 0, 0);
        tree_share(&tree, "2-3", "1"); /* another set is written immediately */
        assert_true(tree_wait(&tree, tree_cpus(x), "2-3"));
        assert_true(pin_world_wait_state(0, "pinned"));
    }
}

static void test_read_refused__reported(void **state) {
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

static void test_cgroup_removed_at_the_write__found_again(void **state) {
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
    tree_put(&tree, text, "0-3"); /* raises an event, so the set is checked */
    assert_true(tree_wait(&tree, tree_cpus(&moved), "1-3"));
    assert_true(tree_wait_task(pin, 0, "cgroup", moved.cgroup));
    assert_int_equal(tree_counter(pin, "reopened"), 1);
}

/* ---- No events ---- */

static char log_path[128];
static int real_stderr;

static void log_catch(void) {
    snprintf(log_path, sizeof(log_path), "%s/log", tree.dir);
    AUTO_FD int fd = open(log_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    real_stderr = fcntl(2, F_DUPFD_CLOEXEC, 3);
    assert_true(fd >= 0 && real_stderr >= 0 && dup2(fd, 2) == 2);
}

/* Restores stderr. Returns how many lines of the log contain @text. */
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
    ok = ok && tree_wait(&tree, tree_cpus(shared), "3") && pin_world_wait_ticks(5);
    assert_int_equal(log_release(warning), 1); /* once for all tasks */
    assert_true(ok);
    for (size_t i = 0; i < 2; i++)
        assert_true(tree_wait_task(pin, i, "changes_seen", "at the tick"));
    json_auto_t *doc = pin_show_status(pin);
    const json_t *host = json_object_get(doc, "host");
    assert_string_equal(json_string_value(json_object_get(host, "events")), events);
    assert_true(tree_counter(pin, "watch_errors") > 0);
    assert_int_equal(tree_counter(pin, "events"), 0);
}

static void test_inotify_refused__repaired_at_the_tick_and_one_warning(void **state) {
    (void)state;
    fail_with(&on_inotify, EMFILE, ALWAYS);
    assert_repaired_at_the_tick("tick only", "changes are seen at the tick only");
}

static void test_watches_run_out__repaired_at_the_tick_and_one_warning(void **state) {
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

/* ---- End of the loop ---- */

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

/* ---- Memory migrations ---- */

/* The file with the memory nodes of @x. Valid until the second next call. */
static const char *mems_of(const struct tree_task *x) {
    static char path[2][600];
    static unsigned at;
    char *p = path[at++ % 2];
    snprintf(p, sizeof(path[0]), "%s/cpuset.mems", x->cgroup);
    return p;
}

/* Two nodes of two CPUs each. */
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
    migrations = migrations_running_max = 0;
    pthread_mutex_unlock(&migration_lock);
    assert_int_equal(pin_new(&o, &pin), 0);
}

static void test_migration__repairs_continue_and_the_next_migration_waits(void **state) {
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
    unsigned most;
    assert_int_equal(migrations_now(&most), 1);
    migrations_set(false, 0);
    assert_true(tree_wait(&tree, mems_of(x[0]), "1"));
    assert_true(tree_wait(&tree, mems_of(x[1]), "1"));
    assert_int_equal(migrations_now(&most), 2);
    assert_int_equal(most, 1);
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
    unsigned most;
    assert_int_equal(migrations_now(&most), 2);
}

/* The plugin can exit while the kernel still copies memory. */
static void test_migration__reconciler_ends_during_it(void **state) {
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

static void test_migration__task_ends_during_it__next_task_migrated(void **state) {
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, pin_world_teardown)

int main(int argc, char **argv) {
    test_thread = pthread_self();
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        TEST(test_write_refused__reported_once_and_backed_off),
        TEST(test_read_refused__reported),
        TEST(test_write_refused_once__tried_again),
        TEST(test_cgroup_removed_at_the_write__found_again),
        TEST(test_cgroup_replaced__the_new_one_is_found),
        TEST(test_inotify_refused__repaired_at_the_tick_and_one_warning),
        TEST(test_watches_run_out__repaired_at_the_tick_and_one_warning),
        TEST(test_watch_refused_once__retried_without_a_tick),
        TEST(test_write_refused__retried_without_a_tick),
        TEST(test_loop_ends__reported),
        TEST(test_migration__repairs_continue_and_the_next_migration_waits),
        TEST(test_migration__refused__backed_off_and_tried_again),
        TEST(test_migration__reconciler_ends_during_it),
        TEST(test_migration__task_ends_during_it__next_task_migrated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
