/* SPDX-License-Identifier: MPL-2.0 */
/* What a job may mount, from StartTask to DestroyTask, with real mounts (as root): what Docker is
 * sent, and when the mounts are removed. */
#include "fake/task_world.h"

#include <glob.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define JOB "{\"image\":\"busybox\",\"command\":\"sleep\",\"volumes\":[\"local/d:/d\"]}"

static int setup(void **state) {
    int r = world_web_setup(state, "{}", 0, false);
    struct world_web *x = *state;
    task_config_done(&x->task);
    world_task(&x->w, &x->task, "web", JOB);
    return r;
}

/* The number of mount points of the container, 0 or 1. */
static size_t points(const struct world_web *x) {
    char pattern[256];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*-volumes/web-a1/0-d/.", x->w.run_dir);
    size_t n = glob(pattern, 0, NULL, &found) == 0 ? found.gl_pathc : 0;
    globfree(&found);
    return n;
}

/* True when the folder of all mount points exists. */
static bool folder_is_there(const struct world_web *x) {
    char pattern[256];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*-volumes", x->w.run_dir);
    bool is = glob(pattern, 0, NULL, &found) == 0;
    globfree(&found);
    return is;
}

/* The last create sent Docker a volume "*@end". */
static void assert_sent(const struct world_web *x, const char *end) {
    json_t *log = fake_log(&x->w.fake, "POST /containers/create");
    json_t *last = json_array_get(log, json_array_size(log) - 1);
    json_t *body = json_loads(json_string_value(json_object_get(last, "body")), 0, NULL);
    json_t *binds = json_object_get(json_object_get(body, "HostConfig"), "Binds");
    const char *text = json_string_value(json_array_get(binds, 4));
    assert_non_null(text);
    if (strlen(text) < strlen(end) || strcmp(text + strlen(text) - strlen(end), end) != 0)
        fail_msg("%s, want its end to be %s", text, end);
    json_decref(body);
    json_decref(log);
}

static void destroy(struct world_web *x, const char *id) {
    struct call call = fake_call();
    struct err err = {0};
    if (task_destroy(x->w.d, &call, id, true, &err) < 0)
        fail_msg("DestroyTask: %s", err.text);
}

static void test_sources__mounted__until_the_task_is_destroyed(void **state) {
    struct world_web *x = *state;
    char path[256];
    world_run(&x->w, &x->task, NULL);
    assert_sent(x, "-volumes/web-a1/0-d:/d");
    assert_int_equal(points(x), 1);
    snprintf(path, sizeof(path), "%s/web/local/d/new", x->task.alloc_dir);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof(path), "%s/*-volumes/web-a1/0-d/new", x->w.run_dir);
    glob_t found;
    assert_int_equal(glob(path, 0, NULL, &found), 0); /* the same folder */
    globfree(&found);
    destroy(x, x->task.id);
    assert_false(folder_is_there(x));
}

/* An earlier version had another folder for the mount points. */
static void test_sources__mounted_in_an_older_folder__unmounted(void **state) {
    struct world_web *x = *state;
    char pattern[256], older[256];
    glob_t found;
    world_run(&x->w, &x->task, NULL);
    snprintf(pattern, sizeof(pattern), "%s/*-volumes", x->w.run_dir);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    snprintf(older, sizeof(older), "%s/docker-0123456789abcdef-volumes", x->w.run_dir);
    assert_int_equal(rename(found.gl_pathv[0], older), 0);
    globfree(&found);
    assert_int_equal(points(x), 1);
    destroy(x, x->task.id);
    assert_false(folder_is_there(x));
}

static void test_sources__start_fails__unmounted(void **state) {
    struct world_web *x = *state;
    struct driver_started started = {0};
    struct call call = fake_call();
    struct err err = {0};
    fake_rules(&x->w.fake, "POST /containers/*/start status=400 body={\"message\":\"no\"}\n");
    assert_true(task_start(x->w.d, &call, &x->task, &started, &err) < 0);
    assert_sent(x, "-volumes/web-a1/0-d:/d");
    assert_false(folder_is_there(x));
}

/* A restarted task has another id and the same container name. */
static void test_sources__earlier_task_destroyed_late__the_new_ones_stay(void **state) {
    struct world_web *x = *state;
    struct task_config next = x->task;
    next.id = (char *)"a1/web/4567";
    world_run(&x->w, &x->task, NULL);
    world_run(&x->w, &next, NULL);
    destroy(x, x->task.id);
    assert_int_equal(points(x), 1);
    destroy(x, next.id);
    assert_false(folder_is_there(x));
}

static bool is_unmounted(void *ctx) {
    return !folder_is_there(ctx);
}

static void test_sources__container_lost_with_the_plugin__swept(void **state) {
    struct world_web *x = *state;
    struct task_config other;
    world_run(&x->w, &x->task, NULL);
    world_driver_free(&x->w);
    fake_stop(&x->w.fake); /* and forgets its containers */
    fake_start_again(&x->w.fake, NULL);
    world_driver_new(&x->w, "{}");
    assert_int_equal(points(x), 1);
    world_task(&x->w, &other, "other", WORLD_WEB_JOB);
    world_run(&x->w, &other, NULL);
    world_until(is_unmounted, x, "the lost container's mounts are removed");
    destroy(x, other.id);
    task_config_done(&other);
}

/* With gc.container = false the container stays, so that it can be inspected and started by
 * hand. */
static void test_sources__container_is_kept__with_its_mounts(void **state) {
    struct world_web *x = *state;
    world_driver_free(&x->w);
    world_driver_new(&x->w, "{\"gc\":{\"container\":false}}");
    world_run(&x->w, &x->task, NULL);
    destroy(x, x->task.id);
    assert_int_equal(points(x), 1);
    test_sources__container_lost_with_the_plugin__swept(state); /* the next one of that name */
}

/* ---- Where it is impossible ---- */

static void may_mount(bool may) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[2];
    assert_int_equal(syscall(SYS_capget, &head, caps), 0);
    caps[0].effective &= ~(1u << CAP_SYS_ADMIN);
    if (may)
        caps[0].effective |= 1u << CAP_SYS_ADMIN;
    assert_int_equal(syscall(SYS_capset, &head, caps), 0);
}

static void test_sources__no_right_to_mount__by_name(void **state) {
    struct world_web *x = *state;
    for (unsigned i = 0; i < 2; i++) { /* the second time the answer is remembered */
        may_mount(false);
        world_run(&x->w, &x->task, NULL);
        may_mount(true);
        assert_sent(x, "/alloc/a1/web/local/d:/d");
        assert_false(folder_is_there(x));
        destroy(x, x->task.id);
    }
}

/* The last test: from here on this process is in another mount namespace. */
static void test_sources__docker_in_another_mount_namespace__by_name(void **state) {
    struct world_web *x = *state;
    assert_int_equal(unshare(CLONE_NEWNS), 0);
    world_run(&x->w, &x->task, NULL);
    assert_sent(x, "/alloc/a1/web/local/d:/d");
    assert_false(folder_is_there(x));
    destroy(x, x->task.id);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, world_web_teardown)
static const struct CMUnitTest tests[] = {
    T(test_sources__mounted__until_the_task_is_destroyed),
    T(test_sources__mounted_in_an_older_folder__unmounted),
    T(test_sources__start_fails__unmounted),
    T(test_sources__earlier_task_destroyed_late__the_new_ones_stay),
    T(test_sources__container_lost_with_the_plugin__swept),
    T(test_sources__container_is_kept__with_its_mounts),
    T(test_sources__no_right_to_mount__by_name),
    T(test_sources__docker_in_another_mount_namespace__by_name),
};
WORLD_MAIN(tests)
