/* SPDX-License-Identifier: MPL-2.0 */
/* The cpuset of a container before it runs: the shared pool changes while Docker creates the
 * container. A folder stands for the cgroup v2 mount. */
#include "fake/task_world.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

int __real_fstatfs(int fd, struct statfs *fs);
int __wrap_fstatfs(int fd, struct statfs *fs);
int __wrap_fstatfs(int fd, struct statfs *fs) {
    int r = __real_fstatfs(fd, fs);
    fs->f_type = CGROUP2_SUPER_MAGIC;
    return r;
}

#define SHARE "nomad.slice/share.slice"
#define SCOPE SHARE "/1.web.scope"

static void put(const struct world_web *x, const char *file, const char *text) {
    char path[512];
    snprintf(path, sizeof(path), "%s/cgroup/%s", x->w.dir, file);
    for (char *p = path + strlen(x->w.dir) + 1; *p; p++)
        if (*p == '/') {
            *p = '\0';
            assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
            *p = '/';
        }
    AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void put_pool(const struct world_web *x, const char *pool, const char *reserved) {
    put(x, "nomad.slice/reserve.slice/cpuset.cpus", reserved);
    put(x, SHARE "/cpuset.cpus", pool);
    put(x, SCOPE "/cpuset.cpus", "\n");
    put(x, SCOPE "/cpuset.cpus.effective", pool);
}

static int setup(void **state) {
    int r = world_web_setup(state, "{\"disable_log_collection\":true}", 0, false);
    struct world_web *x = *state;
    if (r < 0)
        return r;
    put(x, "cpuset.cpus.effective", "0-3\n");
    put_pool(x, "1-3\n", "\n");
    free(x->task.resources.cpuset_cgroup);
    return asprintf(&x->task.resources.cpuset_cgroup, "%s/cgroup/" SCOPE, x->w.dir) < 0;
}

static void *start(void *arg) {
    struct world_web *x = arg;
    struct call call = fake_call();
    struct err err = {0};
    int r = task_start(x->w.d, &call, &x->task, &x->started, &err);
    if (r < 0)
        fprintf(stderr, "StartTask: %s\n", err.text);
    else
        task_start_reported(x->w.d, &x->started);
    return (void *)(intptr_t)r;
}

/* A core is reserved while Docker creates the container. */
static void start_and_reserve(struct world_web *x) {
    pthread_t thread;
    void *r;
    assert_int_equal(pthread_create(&thread, NULL, start, x), 0);
    world_until_count(&x->w, "POST /containers/create", 1);
    put_pool(x, "2-3\n", "1\n");
    assert_int_equal(pthread_join(thread, &r), 0);
    assert_int_equal((intptr_t)r, 0);
}

static const char *updated(struct world_web *x, json_t **ret) {
    char request[128];
    snprintf(request, sizeof(request), "POST /containers/%s/update",
             world_look(&x->w, x->task.id).container_id);
    AUTO_JSON json_t *log = fake_log(&x->w.fake, request);
    const char *body = json_string_value(json_object_get(json_array_get(log, 0), "body"));
    *ret = body ? json_loads(body, 0, NULL) : NULL;
    return json_string_value(json_object_get(*ret, "CpusetCpus"));
}

static void test_start__pool_changes_before_the_start__docker_gets_the_new_set(void **state) {
    struct world_web *x = *state;
    fake_rules(&x->w.fake, "POST /containers/create delay=500\n");
    start_and_reserve(x);
    json_auto_t *body = NULL;
    const char *set = updated(x, &body);
    assert_non_null(set);
    assert_string_equal(set, "2-3");
}

static void test_start__pool_stays__no_update(void **state) {
    struct world_web *x = *state;
    world_run(&x->w, &x->task, NULL);
    json_auto_t *body = NULL;
    assert_null(updated(x, &body));
}

/* The reconciler corrects the container after its start. */
static void test_start__update_refused__started(void **state) {
    struct world_web *x = *state;
    fake_rules(&x->w.fake, "POST /containers/create delay=500\n"
                           "POST /containers/*/update status=500 body={\"message\":\"no\"}\n");
    start_and_reserve(x);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_web_teardown)

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        TEST(test_start__pool_changes_before_the_start__docker_gets_the_new_set),
        TEST(test_start__pool_stays__no_update),
        TEST(test_start__update_refused__started),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
