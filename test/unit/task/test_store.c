/* SPDX-License-Identifier: MPL-2.0 */
/* The store: ids, references, waiters and their cancels, and the phases of a task. */
#include "paddock/store.h"
#include "unit/cm.h"

#include <pthread.h>
#include <string.h>

static struct store *store;

static int setup(void **state) {
    (void)state;
    return store_new(&store);
}

static int teardown(void **state) {
    (void)state;
    store_free(store);
    return 0;
}

static struct task *add(const char *id) {
    struct task_config c = {.id = (char *)id, .name = (char *)"web", .alloc_id = (char *)"alloc"};
    c.resources.cpuset_cgroup = (char *)"/sys/fs/cgroup/x";
    struct task *t;
    assert_int_equal(store_add(store, &c, &t), 0);
    return t;
}

static void run(struct task *t) {
    struct task_end early;
    store_set_container(t, "c1", "img", false, true);
    assert_false(store_set_running(t, 7, 1, &early));
}

static void test_store_add__id_taken__eexist(void **state) {
    struct task *t = add("a/web/1"), *again = NULL;
    struct task_config c = {.id = (char *)"a/web/1"};
    (void)state;
    assert_int_equal(store_add(store, &c, &again), -EEXIST);
    assert_null(again);
    store_task_unref(t);
}

static void test_store_get_container__two_tasks__the_right_one(void **state) {
    AUTO_TASK struct task *a = add("a"), *b = add("b");
    (void)state;
    store_set_container(a, "c1", "img", false, true);
    store_set_container(b, "c2", "img", true, true);
    AUTO_TASK struct task *found = store_get_container(store, "c2");
    assert_ptr_equal(found, b);
    assert_null(store_get_container(store, "c3"));
    assert_true(store_look(found).tty);
    store_task_unref(TAKE_PTR(b));
}

static void test_store_set_logs_movable__existing_tasks__permanently(void **state) {
    (void)state;
    AUTO_TASK struct task *a = add("a"), *b = add("b");
    store_set_container(a, "c1", "img", false, true);
    assert_false(store_is_logs_movable(store, "c1"));
    assert_true(store_is_logs_movable(store, "unknown"));
    store_set_logs_movable(store, "other");
    assert_false(store_is_logs_movable(store, "c1"));
    store_set_logs_movable(store, "alloc");
    store_set_container(b, "c2", "img", false, true);
    AUTO_TASK struct task *later = add("later");
    store_set_container(later, "c3", "img", false, true);
    assert_true(store_is_logs_movable(store, "c1"));
    assert_true(store_is_logs_movable(store, "c2"));
    assert_false(store_is_logs_movable(store, "c3"));
}

static void on_task_exit(void *ctx, const struct task_exit *exit) {
    *(int *)ctx = exit->code * 10 + (exit->err[0] != '\0');
}

static void test_store_wait__before_and_after_the_end__same_answer(void **state) {
    AUTO_TASK struct task *t = add("a");
    int early = -1, late = -1;
    struct task_waiter w1 = {.done = on_task_exit, .ctx = &early},
                       w2 = {.done = on_task_exit, .ctx = &late};
    struct task_exit exit = {.code = 3}, other = {.code = 9};
    (void)state;
    store_wait(t, &w1);
    assert_int_equal(early, -1);
    run(t);
    assert_true(store_set_exited(t, "c1", &exit, 5));
    assert_int_equal(early, 30);
    assert_false(store_set_exited(t, "c1", &other, 6)); /* the first exit is kept */
    store_wait(t, &w2);
    assert_int_equal(late, 30);
    assert_false(store_wait_cancel(t, &w2));
    assert_int_equal(store_look(t).completed_ns, 5);
}

static void test_store_wait_cancel__queued__never_called(void **state) {
    AUTO_TASK struct task *t = add("a");
    int seen = -1;
    struct task_waiter w = {.done = on_task_exit, .ctx = &seen};
    struct task_exit exit = {.code = 1};
    (void)state;
    store_wait(t, &w);
    assert_true(store_wait_cancel(t, &w));
    run(t);
    assert_true(store_set_exited(t, "c1", &exit, 1));
    assert_int_equal(seen, -1);
}

static void test_store_remove__waiter__ends_with_an_error(void **state) {
    AUTO_TASK struct task *t = add("a");
    int seen = -1;
    struct task_waiter w = {.done = on_task_exit, .ctx = &seen};
    (void)state;
    store_wait(t, &w);
    store_remove(store, t);
    assert_int_equal(seen, 1); /* code 0, with an error text */
    assert_null(store_get(store, "a"));
    store_remove(store, t); /* a second call changes nothing */
    struct task_waiter late = {.done = on_task_exit, .ctx = &seen};
    seen = -1;
    store_wait(t, &late);
    assert_int_equal(seen, 1);
}

static void test_store_set_running__after_the_end__stays_ended(void **state) {
    AUTO_TASK struct task *t = add("a");
    struct task_exit exit = {.code = 0};
    struct task_end early;
    (void)state;
    run(t);
    assert_true(store_set_exited(t, "c1", &exit, 1));
    assert_false(store_set_running(t, 42, 7, &early));
    assert_int_equal(store_look(t).phase, TASK_EXITED);
    assert_int_equal(store_look(t).pid, 0);
    assert_int_equal(store_look(t).started_ns, 1);
}

/* The exit may be reported before StartTask has seen the container run. */
static void test_store_set_running__exited_first__exit_returned(void **state) {
    AUTO_TASK struct task *t = add("a");
    int seen = -1;
    struct task_waiter w = {.done = on_task_exit, .ctx = &seen};
    struct task_exit exit = {.code = 30}, other = {.code = 4};
    struct task_end early;
    (void)state;
    store_wait(t, &w);
    store_set_container(t, "c1", "img", false, true);
    assert_false(store_set_exited(t, "c1", &exit, 5));
    assert_false(store_set_exited(t, "c1", &other, 6));
    assert_int_equal(seen, -1);
    assert_true(store_set_running(t, 42, 1, &early));
    assert_int_equal(early.exit.code, 30);
    assert_int_equal(early.when_ns, 5);
    assert_true(store_set_exited(t, "c1", &early.exit, early.when_ns));
    assert_int_equal(seen, 300);
    assert_int_equal(store_look(t).started_ns, 1);
}

/* The first start failed, and another container was made for the task. */
static void test_store_set_container__exit_of_an_earlier_one__dropped(void **state) {
    AUTO_TASK struct task *t = add("a");
    struct task_exit exit = {.code = 128};
    struct task_end early;
    (void)state;
    store_set_container(t, "c1", "img", false, true);
    assert_true(store_set_oom(t, "c1", 5));
    assert_false(store_set_oom(t, "c1", 6));
    assert_false(store_set_exited(t, "c1", &exit, 5));
    store_set_container(t, "c2", "img", false, true);
    assert_false(store_set_exited(t, "c1", &exit, 5)); /* late */
    assert_false(store_set_oom(t, "c1", 7));
    assert_false(store_set_running(t, 42, 1, &early));
    assert_int_equal(store_look(t).phase, TASK_RUNNING);
    assert_int_equal(store_look(t).oom_ns, 0);
}

static void test_store_snapshot__mixed_phases__running_only(void **state) {
    AUTO_TASK struct task *a = add("a"), *b = add("b");
    struct pin_coord *coords;
    struct task_end early;
    size_t n;
    (void)state;
    store_set_container(a, "c1", "img", false, true);
    assert_false(store_set_running(a, 7, 1, &early));
    assert_int_equal(store_snapshot(store, &coords, &n), 0);
    assert_int_equal(n, 1);
    assert_string_equal(coords[0].task_id, "a");
    assert_string_equal(coords[0].container_id, "c1");
    assert_string_equal(coords[0].source, "/sys/fs/cgroup/x");
    assert_string_equal(coords[0].reserved, "");
    assert_int_equal(coords[0].pid, 7);
    pin_task_coord_done(&coords[0]);
    free(coords);
    store_task_unref(TAKE_PTR(b));
}

/* An exit and a cancel race. Each waiter is either called or removed, and never both. */
struct race {
    struct task *t;
    struct task_waiter w;
    int calls;
    pthread_barrier_t *begin; /* NULL: starts immediately */
};

static void race_on_exit(void *ctx, const struct task_exit *exit) {
    (void)exit;
    ((struct race *)ctx)->calls++;
}

static void *race_end(void *ctx) {
    struct race *r = ctx;
    struct task_exit exit = {.code = 1};
    if (r->begin)
        pthread_barrier_wait(r->begin);
    if (!store_set_exited(r->t, "c1", &exit, 1))
        abort();
    return NULL;
}

enum order { END_FIRST, CANCEL_FIRST, BOTH_AT_ONCE };

/* Returns whether the cancel won. */
static bool race_once(enum order order) {
    AUTO_TASK struct task *t = add("race");
    pthread_barrier_t begin;
    struct race r = {.t = t,
                     .w = {.done = race_on_exit, .ctx = &r},
                     .begin = order == BOTH_AT_ONCE ? &begin : NULL};
    pthread_t thread;
    run(t);
    store_wait(t, &r.w);
    assert_int_equal(pthread_barrier_init(&begin, NULL, 2), 0);
    bool cancelled = order == CANCEL_FIRST && store_wait_cancel(t, &r.w);
    assert_int_equal(pthread_create(&thread, NULL, race_end, &r), 0);
    if (order == BOTH_AT_ONCE)
        pthread_barrier_wait(&begin);
    else
        pthread_join(thread, NULL);
    if (order != CANCEL_FIRST)
        cancelled = store_wait_cancel(t, &r.w);
    if (order == BOTH_AT_ONCE)
        pthread_join(thread, NULL);
    assert_int_equal(r.calls, cancelled ? 0 : 1);
    pthread_barrier_destroy(&begin);
    store_remove(store, t);
    return cancelled;
}

static void test_store_wait_cancel__races_with_the_end__exactly_one(void **state) {
    (void)state;
    assert_false(race_once(END_FIRST));
    assert_true(race_once(CANCEL_FIRST));
    for (int i = 0; i < 500; i++)
        (void)race_once(BOTH_AT_ONCE);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_store_add__id_taken__eexist),
        CASE(test_store_get_container__two_tasks__the_right_one),
        CASE(test_store_set_logs_movable__existing_tasks__permanently),
        CASE(test_store_wait__before_and_after_the_end__same_answer),
        CASE(test_store_wait_cancel__queued__never_called),
        CASE(test_store_remove__waiter__ends_with_an_error),
        CASE(test_store_set_running__after_the_end__stays_ended),
        CASE(test_store_set_running__exited_first__exit_returned),
        CASE(test_store_set_container__exit_of_an_earlier_one__dropped),
        CASE(test_store_snapshot__mixed_phases__running_only),
        CASE(test_store_wait_cancel__races_with_the_end__exactly_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
