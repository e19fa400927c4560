/* SPDX-License-Identifier: MPL-2.0 */
/* A start that finds a running container of its own task adopts it. When the start fails later, the
 * container has run for a while, so it is stopped in order before it is removed. */
#include "fake/task_world.h"
#include "paddock/labels.h"

#include <stdio.h>
#include <string.h>

static int setup(void **state) {
    int r = world_web_setup(state, "{}", 0, false);
    struct world_web *x = *state;
    struct docker *docker = fake_docker(&x->w.fake);
    struct call call = fake_call();
    AUTO_JSON json_t *body =
        json_pack("{s:s,s:{s:s}}", "Image", "busybox", "Labels", LABEL_TASK_ID, x->task.id);
    char id[65];
    assert_non_null(body);
    assert_int_equal(docker_container_create(docker, &call, world_name(&x->task), body, id, NULL),
                     0);
    assert_int_equal(docker_container_start(docker, &call, id, NULL), 0);
    docker_free(docker);
    return r;
}

static void fails(struct world_web *x, const char *words) {
    struct driver_started started = {0};
    struct call call = fake_call();
    struct err err = {0};
    assert_true(task_start(x->w.d, &call, &x->task, &started, &err) < 0);
    assert_non_null(strstr(err.text, words));
    assert_int_equal(task_inspect(x->w.d, x->task.id, &(struct driver_inspect){0}, NULL), -ENOENT);
}

/* The place of the first such request in the log of all requests. */
static size_t first(const struct world_web *x, const char *method, const char *end, size_t *ret_n) {
    AUTO_JSON json_t *log = fake_log(&x->w.fake, "");
    size_t at = SIZE_MAX, n = 0, i;
    json_t *row;
    json_array_foreach(log, i, row) {
        const char *text = json_string_value(json_object_get(row, "request"));
        size_t len = strlen(text);
        if (strncmp(text, method, strlen(method)) != 0 || len < strlen(end) ||
            strcmp(text + len - strlen(end), end) != 0)
            continue;
        at = n++ == 0 ? i : at;
    }
    *ret_n = n;
    return at;
}

static void stopped_before_it_was_removed(const struct world_web *x, size_t removals) {
    size_t stops, deletes;
    size_t stop = first(x, "POST", "/stop", &stops);
    size_t removal = first(x, "DELETE /containers/", "", &deletes);
    assert_int_equal(stops, 1);
    assert_int_equal(deletes, removals);
    assert_true(stop < removal);
}

static void test_start__adopted_and_refused__stopped_in_order(void **state) {
    struct world_web *x = *state;
    fake_rules(&x->w.fake, "POST /containers/*/start status=400 body={\"message\":\"no\"}\n");
    fails(x, "Failed to start container");
    stopped_before_it_was_removed(x, 1);
    assert_int_equal(world_containers(&x->w), 0);
}

/* The container that replaces the adopted one has not run. */
static void test_start__adopted_and_replaced__only_it_is_stopped_in_order(void **state) {
    struct world_web *x = *state;
    fake_rules(&x->w.fake,
               "POST /containers/*/start status=500 times=1 body={\"message\":\"x\"}\n"
               "POST /containers/*/start status=400 times=1 body={\"message\":\"no\"}\n");
    fails(x, "Failed to start container");
    stopped_before_it_was_removed(x, 2);
    assert_int_equal(world_containers(&x->w), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, world_web_teardown)
static const struct CMUnitTest tests[] = {
    T(test_start__adopted_and_refused__stopped_in_order),
    T(test_start__adopted_and_replaced__only_it_is_stopped_in_order),
};
WORLD_MAIN(tests)
