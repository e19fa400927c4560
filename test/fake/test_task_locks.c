/* SPDX-License-Identifier: MPL-2.0 */
/* Neither the driver's lock nor the store's lock is held while a file is looked up. A path can be
 * on a network file system that hangs, and every call takes these locks. The functions that look up
 * paths are wrapped here, and check whether their own thread holds one of the locks. */
#include "fake/task_world.h"
#include "src/task/driver_priv.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

static struct driver *_Atomic watched;
static atomic_uint lookups;
static char found[256]; /* "": none held a lock */
static pthread_mutex_t found_lock = PTHREAD_MUTEX_INITIALIZER;

static bool is_mine(const pthread_mutex_t *m) {
    return m->__data.__owner == gettid();
}

static void look(const char *function, const char *path) {
    struct driver *d = atomic_load(&watched);
    if (!d)
        return;
    atomic_fetch_add(&lookups, 1);
    bool driver = is_mine(&d->lock);
    /* The lock is the first member of the store. */
    bool store = is_mine((const pthread_mutex_t *)(const void *)d->store);
    if (!driver && !store)
        return;
    pthread_mutex_lock(&found_lock);
    if (!found[0])
        snprintf(found, sizeof(found), "%s of %s with the %s's lock", function, path,
                 driver ? "driver" : "store");
    pthread_mutex_unlock(&found_lock);
}

/* WRAP(result, name, the path, (parameters), (arguments)) */
#define WRAP(type, name, path, params, args)                                                       \
    type __real_##name params;                                                                     \
    type __wrap_##name params;                                                                     \
    type __wrap_##name params {                                                                    \
        look(#name, path);                                                                         \
        return __real_##name args;                                                                 \
    }
WRAP(int, open, p, (const char *p, int flags, mode_t mode), (p, flags, mode))
WRAP(int, openat, p, (int fd, const char *p, int flags, mode_t mode), (fd, p, flags, mode))
WRAP(int, mkdir, p, (const char *p, mode_t mode), (p, mode))
WRAP(int, mkdirat, p, (int fd, const char *p, mode_t mode), (fd, p, mode))
WRAP(int, rmdir, p, (const char *p), (p))
WRAP(int, unlink, p, (const char *p), (p))
WRAP(int, unlinkat, p, (int fd, const char *p, int flags), (fd, p, flags))
WRAP(int, rename, p, (const char *p, const char *to), (p, to))
WRAP(int, stat, p, (const char *p, struct stat *st), (p, st))
WRAP(int, lstat, p, (const char *p, struct stat *st), (p, st))
WRAP(int, fstatat, p, (int fd, const char *p, struct stat *st, int flags), (fd, p, st, flags))
WRAP(int, access, p, (const char *p, int mode), (p, mode))
WRAP(int, faccessat, p, (int fd, const char *p, int mode, int flags), (fd, p, mode, flags))
WRAP(ssize_t, readlink, p, (const char *p, char *out, size_t size), (p, out, size))
WRAP(ssize_t, readlinkat, p, (int fd, const char *p, char *out, size_t size), (fd, p, out, size))
WRAP(int, statfs, p, (const char *p, struct statfs *fs), (p, fs))

static int setup(void **state) {
    found[0] = '\0';
    int r = world_web_setup(state, "{\"volumes\":{\"enabled\":false}}", 0, false);
    struct world_web *x = *state;
    /* The activation holds the driver's lock when it opens /proc and /sys/fs/cgroup. These
     * cannot hang. */
    assert_int_equal(driver_activate(x->w.d, NULL), 0);
    atomic_store(&lookups, 0);
    atomic_store(&watched, x->w.d);
    return r;
}

static int teardown(void **state) {
    atomic_store(&watched, NULL);
    return world_web_teardown(state);
}

static void none_found(void) {
    pthread_mutex_lock(&found_lock);
    char text[sizeof(found)];
    memcpy(text, found, sizeof(text));
    pthread_mutex_unlock(&found_lock);
    assert_string_equal(text, "");
    assert_true(atomic_load(&lookups) > 0);
}

/* The job has a volume, so that its folders are opened and kept open, too. */
static void test_locks__a_tasks_life__none_is_held(void **state) {
    struct world_web *x = *state;
    struct call call = fake_call();
    struct driver_started started = {0};
    task_config_done(&x->task);
    world_task(&x->w, &x->task, "web",
               "{\"image\":\"busybox\",\"command\":\"sleep\",\"volumes\":[\"local/x:/x\"]}");
    world_run(&x->w, &x->task, &started);
    none_found();
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    assert_int_equal(task_destroy(x->w.d, &call, x->task.id, false, NULL), 0);
    none_found();
    task_start_done(&started);
}

static void test_locks__recovery__none_is_held(void **state) {
    struct world_web *x = *state;
    struct call call = fake_call();
    struct driver_started started = {0};
    world_run(&x->w, &x->task, &started);
    atomic_store(&watched, NULL);
    world_driver_restart(&x->w);
    atomic_store(&watched, x->w.d);
    assert_int_equal(driver_activate(x->w.d, NULL), 0);
    assert_int_equal(task_recover(x->w.d, &call, &x->task, started.state, started.state_len, NULL),
                     0);
    none_found();
    task_start_done(&started);
}

/* A container that cannot be removed is noted in a file. */
static void test_locks__docker_away_at_the_end__none_is_held(void **state) {
    struct world_web *x = *state;
    struct call call = fake_call();
    world_run(&x->w, &x->task, NULL);
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    fake_rules(&x->w.fake, "DELETE /containers/* drop\n");
    assert_int_equal(task_destroy(x->w.d, &call, x->task.id, false, NULL), 0);
    none_found();
}

/* The test itself detects a lock that is held. */
static void test_locks__a_lock_is_held__seen(void **state) {
    struct world_web *x = *state;
    pthread_mutex_lock(&x->w.d->lock);
    assert_int_equal(access("/", F_OK), 0);
    pthread_mutex_unlock(&x->w.d->lock);
    assert_string_equal(found, "access of / with the driver's lock");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static const struct CMUnitTest tests[] = {
    T(test_locks__a_tasks_life__none_is_held),
    T(test_locks__recovery__none_is_held),
    T(test_locks__docker_away_at_the_end__none_is_held),
    T(test_locks__a_lock_is_held__seen),
};
WORLD_MAIN(tests)
