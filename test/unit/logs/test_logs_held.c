/* SPDX-License-Identifier: MPL-2.0 */
/* The plugin's list of tasks: which request a pump gets. Also: out of memory is not mistaken for a
 * task that has ended. */
#include "src/logs/logs_held.h"
#include "unit/cm.h"

#include <errno.h>
#include <string.h>

static bool no_memory;

static void *json_memory(size_t size) {
    return no_memory ? NULL : malloc(size);
}

static int setup(void **state) {
    struct logs_held *l;
    const struct logpump_task t = {.task_id = "a1/web",
                                   .container_id = "c0de",
                                   .stdout_path = "/dev/null",
                                   .stderr_path = "/dev/null",
                                   .adopted = true,
                                   .since_ns = 7};
    assert_int_equal(logs_held_new(&l), 0);
    assert_int_equal(logs_held_add(l, &t, NULL), 0);
    no_memory = false;
    json_set_alloc_funcs(json_memory, free);
    *state = l;
    return 0;
}

static int teardown(void **state) {
    logs_held_free(*state);
    return 0;
}

/* Takes a request of the task and compares its members. */
static void expect(struct logs_held *l, bool runs, bool recovered, json_int_t since_ns) {
    json_t *rq = NULL;
    assert_int_equal(logs_held_request(l, "a1/web", runs, &rq), 0);
    assert_string_equal(json_string_value(json_object_get(rq, "op")), "carry");
    assert_true(json_is_true(json_object_get(rq, "runs")) == runs);
    assert_true(json_is_true(json_object_get(rq, "recovered")) == recovered);
    assert_true(json_integer_value(json_object_get(rq, "since_ns")) == since_ns);
    json_decref(rq);
}

static void test_request__sent_again__marked_as_not_new(void **state) {
    expect(*state, false, false, 7);
    expect(*state, true, true, 0);
}

static void test_request__not_held__enoent(void **state) {
    json_t *rq = NULL;
    assert_int_equal(logs_held_request(*state, "a1/other", true, &rq), -ENOENT);
    assert_false(logs_held_has(*state, "a1/other"));
    assert_null(rq);
}

/* The task stays in the list, and the next request still counts as the first one. */
static void test_request__out_of_memory__enomem_and_still_held(void **state) {
    json_t *rq = NULL;
    no_memory = true;
    assert_int_equal(logs_held_request(*state, "a1/web", false, &rq), -ENOMEM);
    assert_null(rq);
    assert_true(logs_held_has(*state, "a1/web"));
    no_memory = false;
    expect(*state, false, false, 7);
}

static void test_remove__number_of_an_earlier_hold__still_held(void **state) {
    struct logs_held *l = *state;
    logs_held_asked(l, "a1/web", 1);
    unsigned long number = logs_held_to_end(l, "a1/web");
    assert_true(number > 0);
    logs_held_remove(l, "a1/web", number + 1);
    assert_true(logs_held_has(l, "a1/web"));
    logs_held_remove(l, "a1/web", number);
    assert_false(logs_held_has(l, "a1/web"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        T(test_request__sent_again__marked_as_not_new),
        T(test_request__not_held__enoent),
        T(test_request__out_of_memory__enomem_and_still_held),
        T(test_remove__number_of_an_earlier_hold__still_held),
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
