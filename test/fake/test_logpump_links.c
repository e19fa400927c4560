/* SPDX-License-Identifier: MPL-2.0 */
/* A task swaps a folder on the way to its log FIFOs for a link to another allocation, whose task
 * has the same name. Its lines must not reach that task's log, also when the pump or the plugin is
 * started again after the swap, because both then open the FIFOs again. */
#include "fake/task_world.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct fixture {
    struct world w;
    struct task_config task, other;
    struct driver_started started;
    struct reader victim, witness;
};

/* "web" of allocation a1 is the attacker. "web" of a2 belongs to another user, and its logmon
 * waits. "other" of a3 shows that a new pump works. */
static int setup(void **state) {
    struct fixture *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    world_start(&x->w, "{}", 0);
    struct task_config theirs;
    world_task_in(&x->w, &theirs, "a2", "web", WORLD_WEB_JOB);
    reader_start(&x->victim, theirs.stdout_path);
    task_config_done(&theirs);
    world_task_in(&x->w, &x->other, "a3", "other", WORLD_WEB_JOB);
    reader_start(&x->witness, x->other.stdout_path);
    world_task(&x->w, &x->task, "web", WORLD_WEB_JOB);
    world_run(&x->w, &x->task, &x->started);
    *state = x;
    return 0;
}

static int teardown(void **state) {
    struct fixture *x = *state;
    reader_done(&x->victim);
    reader_done(&x->witness);
    task_start_done(&x->started);
    world_done(&x->w);
    task_config_done(&x->task);
    task_config_done(&x->other);
    free(x);
    return 0;
}

static void swap(const struct fixture *x, const char *line) {
    char command[512];
    snprintf(command, sizeof(command), "cd %s/alloc/a1 && %s", x->w.dir, line);
    print_message("%s\n", line);
    assert_int_equal(system(command), 0);
}

static void print(struct fixture *x, const struct task_config *c, const char *text) {
    char path[128];
    snprintf(path, sizeof(path), "print/%s", world_name(c));
    fake_control(&x->w.fake, "POST", path, text, NULL, 0);
}

static void assert_untouched(struct fixture *x) {
    size_t len;
    AUTO_FREE char *text = reader_text(&x->victim, &len);
    assert_string_equal(text, "");
}

/* The new pump continues the tasks of the earlier one before it accepts a request. It removes a
 * record whose FIFO it refuses. Then the plugin asks it to carry the task. It makes a new
 * record, refuses the FIFO again, and removes that record, too. */
static void next_pump(struct fixture *x, const char *line) {
    swap(x, line);
    world_pump_kill(&x->w);
    world_run(&x->w, &x->other, NULL);
    print(x, &x->task, "secret\n");
    print(x, &x->other, "open\n");
    reader_until(&x->witness, "open\n");
    assert_untouched(x);
    world_until_positions(&x->w, 1);
    assert_untouched(x);
}

static void test_pump__allocs_folder_is_a_link__not_followed_by_next_pump(void **state) {
    next_pump(*state, "mv alloc away && ln -s ../a2/alloc alloc");
}

static void test_pump__logs_folder_is_a_link__not_followed_by_next_pump(void **state) {
    next_pump(*state, "mv alloc/logs alloc/away && ln -s ../../a2/alloc/logs alloc/logs");
}

static void test_pump__fifo_is_a_link__not_followed_by_next_pump(void **state) {
    next_pump(*state, "cd alloc/logs && mv .web.stdout.fifo away && "
                      "ln -s ../../../a2/alloc/logs/.web.stdout.fifo .web.stdout.fifo");
}

/* The pump keeps running. The plugin that recovers the task opens the FIFOs and sends the task
 * to the pump. The task is recovered without its logs. */
static void test_recover__allocs_folder_is_a_link__not_followed(void **state) {
    struct fixture *x = *state;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct err err = {0};
    world_driver_free(&x->w);
    swap(x, "mv alloc away && ln -s ../a2/alloc alloc");
    world_driver_new(&x->w, "{}");
    if (task_recover(x->w.d, &call, &x->task, x->started.state, x->started.state_len, &err) < 0)
        fail_msg("RecoverTask: %s", err.text);
    world_run(&x->w, &x->other, NULL);
    print(x, &x->task, "secret\n");
    print(x, &x->other, "open\n");
    reader_until(&x->witness, "open\n");
    assert_untouched(x);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
    T(test_pump__allocs_folder_is_a_link__not_followed_by_next_pump),
    T(test_pump__logs_folder_is_a_link__not_followed_by_next_pump),
    T(test_pump__fifo_is_a_link__not_followed_by_next_pump),
    T(test_recover__allocs_folder_is_a_link__not_followed),
};
WORLD_MAIN(tests)
