/* SPDX-License-Identifier: MPL-2.0 */
/* Starts of the tasks of one allocation beside containers that mount the allocation's folder, with
 * real mounts (as root). The tests check what Docker is sent by name, what is kept open, and which
 * start waits for which. */
#include "fake/siblings_world.h"

#include "src/task/driver_priv.h"
#include "src/task/siblings.h"

#include "paddock/create.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIST "GET /containers/json"
#define CREATE "POST /containers/create"

/* ---- What Docker was sent ---- */

/* The nth bind of the create request number @at of the container (0 = the first). free(). */
static char *bind_at(const struct world *w, const char *name, size_t at, size_t nth) {
    json_t *log = fake_log(&w->fake, CREATE), *entry;
    char *found = NULL;
    size_t i, seen = 0;
    json_array_foreach(log, i, entry) {
        if (!strstr(json_string_value(json_object_get(entry, "query")), name) || seen++ != at)
            continue;
        json_t *body = json_loads(json_string_value(json_object_get(entry, "body")), 0, NULL);
        json_t *binds = json_object_get(json_object_get(body, "HostConfig"), "Binds");
        found = strdup(json_string_value(json_array_get(binds, nth)));
        json_decref(body);
    }
    json_decref(log);
    return found;
}

static void assert_bind(const struct world *w, const char *name, size_t at, size_t nth,
                        const char *end) {
    AUTO_FREE char *bind = bind_at(w, name, at, nth);
    if (!bind || strlen(bind) < strlen(end) || strcmp(bind + strlen(bind) - strlen(end), end) != 0)
        fail_msg("create %zu of %s: bind %zu is %s, want ...%s", at, name, nth,
                 bind ? bind : "not there", end);
}

static void assert_by_name(const struct world *w, const char *name, size_t at) {
    assert_bind(w, name, at, 0, "/alloc/a1/alloc:/alloc");
    assert_bind(w, name, at, 3, "/alloc/a1/alloc/logs:/alloc/logs:ro");
}

static void assert_held(const struct world *w, const char *name, size_t at) {
    static const char *const ends[] = {"/alloc:/alloc", "/local:/local", "/secrets:/secrets",
                                       "/logs:/alloc/logs:ro"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        char end[128];
        snprintf(end, sizeof(end), "-volumes/%s%s", name, ends[i]);
        assert_bind(w, name, at, i, end);
    }
}

static size_t creates_of(const struct world *w, const char *name) {
    json_t *log = fake_log(&w->fake, CREATE), *entry;
    size_t i, n = 0;
    json_array_foreach(log, i, entry) n +=
        strstr(json_string_value(json_object_get(entry, "query")), name) != NULL;
    json_decref(log);
    return n;
}

/* Mount points of the container. */
static size_t points(const struct world *w, const char *name) {
    char pattern[256];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*-volumes/%s/*", w->run_dir, name);
    size_t n = glob(pattern, 0, NULL, &found) == 0 ? found.gl_pathc : 0;
    globfree(&found);
    return n;
}

static void destroy(const struct world *w, const struct task_config *c) {
    struct call call = fake_call();
    struct err err = {0};
    if (task_destroy(w->d, &call, c->id, true, &err) < 0)
        fail_msg("DestroyTask: %s", err.text);
}

/* ---- One after another ---- */

static void test_start__usual_siblings__by_name_and_no_mounts(void **state) {
    struct pair *p = *state;
    struct world *w = siblings_world_of(state);
    struct task_config other;
    world_task(w, &other, "other", WORLD_WEB_JOB);
    world_run(w, &p->x.task, NULL);
    world_run(w, &other, NULL);
    assert_by_name(w, "web-a1", 0);
    assert_by_name(w, "other-a1", 0);
    assert_int_equal(creates_of(w, "web-a1") + creates_of(w, "other-a1"), 2);
    assert_int_equal(points(w, "*"), 0);
    destroy(w, &p->x.task);
    destroy(w, &other);
    task_config_done(&other);
}

static void test_start__sibling_mounts_the_allocation__held(void **state) {
    struct pair *p = *state;
    struct world *w = siblings_world_of(state);
    struct stat a, b;
    char path[256];
    world_run(w, &p->evil, NULL);
    assert_by_name(w, "evil-a1", 0); /* no task was there before it */
    world_run(w, &p->x.task, NULL);
    assert_held(w, "web-a1", creates_of(w, "web-a1") - 1);
    assert_int_equal(world_containers(w), 2);
    assert_int_equal(points(w, "web-a1"), 4);
    snprintf(path, sizeof(path), "%s/web/local", p->x.task.alloc_dir);
    assert_int_equal(stat(path, &a), 0);
    AUTO_FREE char *bind = bind_at(w, "web-a1", creates_of(w, "web-a1") - 1, 1);
    *strchr(bind, ':') = '\0';
    assert_int_equal(stat(bind, &b), 0);
    assert_true(a.st_dev == b.st_dev && a.st_ino == b.st_ino);
    destroy(w, &p->x.task);
    assert_int_equal(points(w, "web-a1"), 0);
    destroy(w, &p->evil);
    assert_int_equal(points(w, "*"), 0);
}

static void test_start__sibling_of_a_plugin_before__held(void **state) {
    struct pair *p = *state;
    struct world *w = siblings_world_of(state);
    world_run(w, &p->evil, NULL);
    world_driver_free(w);
    world_driver_new(w, "{}"); /* knows no task */
    world_run(w, &p->x.task, NULL);
    assert_held(w, "web-a1", creates_of(w, "web-a1") - 1);
    destroy(w, &p->x.task);
}

static void test_start__sibling_has_ended__by_name(void **state) {
    struct pair *p = *state;
    struct world *w = siblings_world_of(state);
    world_run(w, &p->evil, NULL);
    world_exit(w, &p->evil, 0);
    world_wait(w, p->evil.id);
    world_run(w, &p->x.task, NULL);
    assert_by_name(w, "web-a1", 0);
    assert_int_equal(creates_of(w, "web-a1"), 1);
}

static void test_start__other_allocation__by_name(void **state) {
    struct pair *p = *state;
    struct world *w = siblings_world_of(state);
    struct task_config far;
    world_run(w, &p->evil, NULL);
    world_task_in(w, &far, "a2", "far", WORLD_WEB_JOB);
    world_run(w, &far, NULL);
    assert_bind(w, "far-a2", 0, 0, "/alloc/a2/alloc:/alloc");
    assert_int_equal(creates_of(w, "far-a2"), 1);
    task_config_done(&far);
}

static void test_start__docker_does_not_say_who_runs__held(void **state) {
    struct pair *p = *state;
    struct world *w = siblings_world_of(state);
    fake_rules(&w->fake, LIST " status=500 body={\"message\":\"no\"}\n");
    world_run(w, &p->x.task, NULL);
    assert_held(w, "web-a1", 1);
    destroy(w, &p->x.task);
    fake_rules(&w->fake, LIST " status=200 body=[{\"Id\":\"x\"}]\n");
    struct task_config next = p->x.task;
    next.id = (char *)"a1/web/4567";
    world_run(w, &next, NULL);
    assert_held(w, "web-a1", 3);
}

static void test_start__volumes_enabled__no_container_inspected(void **state) {
    struct pair *p = *state;
    struct world *w = siblings_world_of(state);
    world_driver_free(w);
    world_driver_new(w, "{\"volumes\":{\"enabled\":true}}");
    world_run(w, &p->evil, NULL);
    int before = fake_count(&w->fake, LIST);
    world_run(w, &p->x.task, NULL);
    assert_by_name(w, "web-a1", 0);
    assert_int_equal(fake_count(&w->fake, LIST), before);
}

/* ---- At the same time ---- */

struct attempt {
    struct world *w;
    const struct task_config *task;
    pthread_t thread;
    int r;
    struct err err;
};

static void *attempt_thread(void *arg) {
    struct attempt *a = arg;
    struct driver_started started = {0};
    struct call call = fake_call();
    a->r = task_start(a->w->d, &call, a->task, &started, &a->err);
    if (a->r == 0)
        task_start_reported(a->w->d, &started);
    task_start_done(&started);
    return NULL;
}

struct asked {
    const struct world *w;
    const char *request;
    int n;
};

static bool is_asked(void *ctx) {
    const struct asked *a = ctx;
    return fake_count(&a->w->fake, a->request) >= a->n;
}

static void attempt(struct attempt *a, struct world *w, const struct task_config *task,
                    const char *until) {
    *a = (struct attempt){.w = w, .task = task};
    assert_int_equal(pthread_create(&a->thread, NULL, attempt_thread, a), 0);
    world_until(is_asked, &(struct asked){w, until, 1}, until);
}

static void succeed(struct attempt *a) {
    pthread_join(a->thread, NULL);
    if (a->r < 0)
        fail_msg("StartTask: %s", a->err.text);
}

#define FIRST "c0de00000001000000000000000000000000000000000000000000000000feed"
#define START_FIRST "POST /containers/" FIRST "/start"
#define SECOND "c0de00000002000000000000000000000000000000000000000000000000feed"
#define START_SECOND "POST /containers/" SECOND "/start"

static void test_start__sibling_with_the_allocation_is_starting__waits_immediately(void **state) {
    struct pair *p = *state;
    struct world *w = siblings_world_of(state);
    struct attempt evil;
    fake_rules(&w->fake, "POST /containers/*/start times=1 delay=1500\n");
    attempt(&evil, w, &p->evil, START_FIRST);
    world_run(w, &p->x.task, NULL);
    assert_held(w, "web-a1", 0);
    assert_int_equal(creates_of(w, "web-a1"), 1);
    succeed(&evil);
}

/* The place of the first such request in the log of all requests; @query must be in its query. */
static size_t index_of(const struct world *w, const char *request, const char *query) {
    json_t *log = fake_log(&w->fake, ""), *entry;
    size_t i, found = SIZE_MAX;
    json_array_foreach(
        log, i,
        entry) if (found == SIZE_MAX &&
                   strcmp(json_string_value(json_object_get(entry, "request")), request) == 0 &&
                   strstr(json_string_value(json_object_get(entry, "query")), query)) found = i;
    json_decref(log);
    assert_true(found != SIZE_MAX);
    return found;
}

static void test_start__with_the_allocation__waits_for_starts_by_name(void **state) {
    struct pair *p = *state;
    struct world *w = siblings_world_of(state);
    struct attempt web;
    fake_rules(&w->fake, "POST /containers/*/start times=1 delay=700\n");
    attempt(&web, w, &p->x.task, START_FIRST);
    world_run(w, &p->evil, NULL);
    succeed(&web);
    assert_by_name(w, "web-a1", 0);
    /* the container is inspected after its start was answered */
    assert_true(index_of(w, "GET /containers/" FIRST "/json", "") < index_of(w, CREATE, "evil"));
}

static void test_start__with_the_allocation__waits_no_longer_than_its_call(void **state) {
    struct pair *p = *state;
    struct world *w = siblings_world_of(state);
    struct attempt web;
    struct driver_started started = {0};
    struct call call = call_within(NULL, 300 * US_PER_MS);
    struct err err = {0};
    fake_rules(&w->fake, "POST /containers/*/start times=1 delay=2000\n");
    attempt(&web, w, &p->x.task, START_FIRST);
    assert_int_equal(task_start(w->d, &call, &p->evil, &started, &err), -ETIMEDOUT);
    assert_non_null(strstr(err.text, "waiting for the start of another task"));
    assert_int_equal(err.cls, ERR_RECOVERABLE);
    assert_int_equal(creates_of(w, "evil-a1"), 0);
    succeed(&web);
}

/* Nothing that runs can swap the folder any more, but it was swapped before. */
static void test_start__swapped_before_docker_said_who_runs__refused(void **state) {
    struct pair *p = *state;
    struct world *w = siblings_world_of(state);
    struct attempt web;
    char path[256];
    fake_rules(&w->fake, CREATE " times=1 delay=700\n");
    attempt(&web, w, &p->x.task, CREATE);
    snprintf(path, sizeof(path), "%s/web/local", p->x.task.alloc_dir);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink("/", path), 0);
    pthread_join(web.thread, NULL);
    assert_int_equal(web.r, -EACCES);
    assert_non_null(strstr(web.err.text, "/web/local\" is not as Nomad made it: it is a symlink"));
    assert_int_equal(world_containers(w), 0);
}

/* ---- Images ---- */

/* The mounts of the first container are not known before it runs. The second one is started
 * after it. */
static void test_start__unproven_image__siblings_start_one_after_the_other(void **state) {
    struct pair *p = *state;
    struct world *w = siblings_world_of(state);
    struct task_config other;
    struct attempt web;
    world_task(w, &other, "other", WORLD_WEB_JOB);
    fake_rules(&w->fake, "POST /containers/*/start times=1 delay=700\n");
    attempt(&web, w, &p->x.task, START_FIRST);
    world_run(w, &other, NULL);
    succeed(&web);
    assert_true(index_of(w, "GET /containers/" FIRST "/json", "") < index_of(w, START_SECOND, ""));
    assert_by_name(w, "other-a1", 0);
    assert_int_equal(creates_of(w, "other-a1"), 1);
    task_config_done(&other);
}

static void test_start__proven_image__siblings_start_side_by_side(void **state) {
    struct pair *p = *state;
    struct world *w = siblings_world_of(state);
    struct task_config other;
    struct attempt web;
    world_task(w, &other, "other", WORLD_WEB_JOB);
    world_run(w, &p->x.task, NULL);
    AUTO_TASK struct task *t = store_get(w->d->store, p->x.task.id);
    siblings_set_plain_image(w->d, store_look(t).image_id);
    destroy(w, &p->x.task);
    fake_rules(&w->fake, "POST /containers/*/start times=1 delay=1500\n");
    attempt(&web, w, &p->x.task, START_SECOND);
    world_run(w, &other, NULL);
    assert_int_equal(fake_count(&w->fake, "GET /containers/" SECOND "/json"), 0);
    succeed(&web);
    task_config_done(&other);
}

static const struct CMUnitTest tests[] = {
    SIBLINGS_TEST(test_start__usual_siblings__by_name_and_no_mounts),
    SIBLINGS_TEST(test_start__sibling_mounts_the_allocation__held),
    SIBLINGS_TEST(test_start__sibling_of_a_plugin_before__held),
    SIBLINGS_TEST(test_start__sibling_has_ended__by_name),
    SIBLINGS_TEST(test_start__other_allocation__by_name),
    SIBLINGS_TEST(test_start__docker_does_not_say_who_runs__held),
    SIBLINGS_TEST(test_start__volumes_enabled__no_container_inspected),
    SIBLINGS_TEST(test_start__sibling_with_the_allocation_is_starting__waits_immediately),
    SIBLINGS_TEST(test_start__with_the_allocation__waits_for_starts_by_name),
    SIBLINGS_TEST(test_start__with_the_allocation__waits_no_longer_than_its_call),
    SIBLINGS_TEST(test_start__swapped_before_docker_said_who_runs__refused),
    SIBLINGS_TEST(test_start__unproven_image__siblings_start_one_after_the_other),
    SIBLINGS_TEST(test_start__proven_image__siblings_start_side_by_side),
};
WORLD_MAIN(tests)
