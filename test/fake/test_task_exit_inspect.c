/* SPDX-License-Identifier: MPL-2.0 */
/* The inspect requests by which the driver finds a new process or an end that no event has
 * reported. Docker may hang or fail at them, and the host may have no thread for them. A request
 * that waits for one container must not delay another one. */
#include "fake/task_world.h"
#include "paddock/pool.h"

#include <stdio.h>
#include <string.h>

static int setup(void **state) {
    return world_web_setup_live(state, 0);
}

static int setup_hasty(void **state) {
    return world_web_setup_live(state, WORLD_HASTY_MS);
}

/* An answer without the state, or without the exit code of an ended container, is ignored. */
static void test_exit__inspect_without_a_state__nothing_concluded(void **state) {
    struct world_web *x = *state;
    char request[WORLD_REQUEST_SIZE];
    world_inspect_request(&x->w, x->task.id, request);
    int before = fake_count(&x->w.fake, request);
    fake_rules(&x->w.fake, "GET /containers/*/json times=1 status=200 type=application/json "
                           "body={\"Id\":\"x\",\"State\":{}}\n"
                           "GET /containers/*/json times=1 status=200 type=application/json "
                           "body={\"Id\":\"x\",\"State\":{\"Running\":false}}\n");
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_until_count(&x->w, request, before + 3); /* until an answer is complete */
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    world_exit(&x->w, &x->task, 4);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 4);
}

/* Docker's inspect waits until Docker has cleaned up. Nothing here waits for the inspect, not even
 * after a SIGKILL. */
static void test_exit__inspect_hangs__reported_from_the_event(void **state) {
    struct world_web *x = *state;
    char request[WORLD_REQUEST_SIZE];
    world_inspect_request(&x->w, x->task.id, request);
    int before = fake_count(&x->w.fake, request);
    fake_rules(&x->w.fake, "GET /containers/*/json hang\n");
    world_exit(&x->w, &x->task, 137);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 137);
    assert_int_equal(fake_count(&x->w.fake, request), before);
}

/* ---- A container that Docker restarts: it has another process ---- */

struct other_process {
    struct world *w;
    const char *task_id;
};

static bool is_other_process(void *ctx) {
    const struct other_process *o = ctx;
    struct task_look look = world_look(o->w, o->task_id);
    return look.phase == TASK_RUNNING && look.pid != 999999999;
}

static bool is_another_process(void *ctx) {
    struct world_web *x = ctx;
    return is_other_process(&(struct other_process){&x->w, x->task.id});
}

static void restart_and_follow(struct world_web *x, const char *rules) {
    fake_rules(&x->w.fake, rules);
    fake_control(&x->w.fake, "POST", "restart/web-a1?lost=1", "", NULL, 0);
    world_until(is_another_process, x, "the new process is known");
    assert_int_equal(fake_count(&x->w.fake, "GET /events"), 1);
}

static void test_exit__restarted_and_inspect_cut_off__followed(void **state) {
    restart_and_follow(*state, "GET /containers/*/json times=3 drop\n");
}

static void test_exit__restarted_and_inspect_hangs_twice__followed(void **state) {
    restart_and_follow(*state, "GET /containers/*/json times=2 hang\n");
}

/* Docker keeps one container locked forever. The end of another one is still reported. */
static void test_exit__inspect_of_another_hangs__reported(void **state) {
    struct world_web *x = *state;
    struct task_config stuck;
    char rules[256];
    world_task(&x->w, &stuck, "stuck", WORLD_WEB_JOB);
    world_run(&x->w, &stuck, NULL); /* the last one is inspected first */
    snprintf(rules, sizeof(rules),
             "GET /containers/%s/json hang\n"
             "GET /events status=200 type=application/json stall body=\n",
             world_look(&x->w, stuck.id).container_id);
    fake_rules(&x->w.fake, rules);
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_exit(&x->w, &x->task, 4);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 4);
    assert_int_equal(world_look(&x->w, stuck.id).phase, TASK_RUNNING);
    task_config_done(&stuck);
}

/* Docker restarts more containers than the driver has threads for inspects, and keeps them locked.
 * A restarted container that is not locked is still inspected. */
static void test_exit__many_locked_forever__another_is_followed(void **state) {
    struct world_web *x = *state;
    enum { N = 20 };
    static struct task_config locked[N];
    char name[32], path[64], rule[160];
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "locked%d", i);
        world_task(&x->w, &locked[i], name, WORLD_WEB_JOB);
        world_run(&x->w, &locked[i], NULL);
        const struct task_look look = world_look(&x->w, locked[i].id);
        snprintf(rule, sizeof(rule), "GET /containers/%s/json hang\n", look.container_id);
        fake_rules(&x->w.fake, rule);
        snprintf(path, sizeof(path), "restart/%s-a1?lost=1", name);
        fake_control(&x->w.fake, "POST", path, "", NULL, 0);
    }
    restart_and_follow(x, "");
    fake_rules(&x->w.fake, "GET /containers/*/json delay=0\n"); /* unlocks them */
    struct other_process last = {&x->w, locked[0].id};
    for (int i = 0; i < N; i++) {
        last.task_id = locked[i].id;
        world_until(is_other_process, &last, "its new process is known");
        task_config_done(&locked[i]);
    }
}

/* Docker answers no inspect of two tasks. One is destroyed without an event and started again with
 * the same id. From then on only the other one is inspected. */
static void test_exit__destroyed_while_inspected__inspected_no_more(void **state) {
    struct world_web *x = *state;
    struct task_config other;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    char left[WORLD_REQUEST_SIZE], stays[WORLD_REQUEST_SIZE], rules[512];
    world_task(&x->w, &other, "other", WORLD_WEB_JOB);
    world_run(&x->w, &other, NULL);
    world_inspect_request(&x->w, x->task.id, left);
    world_inspect_request(&x->w, other.id, stays);
    snprintf(rules, sizeof(rules),
             "%s status=500\n%s status=500\n"
             "GET /events status=200 type=application/json stall body=\n",
             left, stays);
    fake_rules(&x->w.fake, rules);
    int before = fake_count(&x->w.fake, left);
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_until_count(&x->w, left, before + 1);
    assert_int_equal(task_destroy(x->w.d, &call, x->task.id, true, NULL), 0);
    world_run(&x->w, &x->task, NULL);
    before = fake_count(&x->w.fake, left);
    world_until_count(&x->w, stays, fake_count(&x->w.fake, stays) + 3);
    assert_in_range(fake_count(&x->w.fake, left), before,
                    before + 1); /* one can have been in flight */
    task_config_done(&other);
}

/* ---- A host without threads ---- */

static atomic_bool denied;
static atomic_int refusals;

int __real_pool_run(struct pool *p, void (*work)(void *ctx), void *ctx);
int __wrap_pool_run(struct pool *p, void (*work)(void *ctx), void *ctx);
int __wrap_pool_run(struct pool *p, void (*work)(void *ctx), void *ctx) {
    if (!atomic_load(&denied))
        return __real_pool_run(p, work, ctx);
    atomic_fetch_add(&refusals, 1);
    return -EAGAIN;
}

static bool was_refused(void *ctx) {
    return atomic_load(&refusals) >= *(int *)ctx;
}

static void deny_threads(void) {
    atomic_store(&refusals, 0);
    atomic_store(&denied, true);
}

static void allow_threads_after(int asked) {
    world_until(was_refused, &asked, "a thread was asked for");
    atomic_store(&denied, false);
}

static void test_exit__restarted_and_no_thread__followed_later(void **state) {
    struct world_web *x = *state;
    deny_threads();
    fake_control(&x->w.fake, "POST", "restart/web-a1?lost=1", "", NULL, 0);
    allow_threads_after(1);
    world_until(is_another_process, x, "the new process is known");
    assert_int_equal(fake_count(&x->w.fake, "GET /events"), 1);
}

static void test_exit__no_thread_when_stream_is_back__reported_later(void **state) {
    struct world_web *x = *state;
    fake_rules(&x->w.fake, "GET /events status=200 type=application/json stall body=\n");
    deny_threads();
    fake_control(&x->w.fake, "POST", "drop", "", NULL, 0);
    world_exit(&x->w, &x->task, 5);
    allow_threads_after(2); /* one of them is the fingerprint's, because the stream was lost */
    assert_int_equal(world_wait(&x->w, x->task.id).code, 5);
}

/* A reader that does not read delays the end of its own task's output only. Another container is
 * inspected, and its end is known immediately. */
static void test_exit__twenty_stalled_readers__another_is_followed_to_its_end(void **state) {
    struct world_web *x = *state;
    enum { N = 20 };
    static struct task_config more[N];
    for (int i = 0; i < N; i++)
        world_run_unread(&x->w, &more[i], i);
    uint64_t before = clock_now_us();
    for (int i = 0; i < N; i++) {
        world_exit(&x->w, &more[i], 0);
        world_wait(&x->w, more[i].id);
    }
    restart_and_follow(x, "");
    world_exit(&x->w, &x->task, 1);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 1);
    /* The output of one task alone may take 60 s. */
    assert_true(clock_now_us() - before < 8 * US_PER_SEC);
    for (int i = 0; i < N; i++)
        task_config_done(&more[i]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, world_web_teardown)
#define HASTY(f) cmocka_unit_test_setup_teardown(f, setup_hasty, world_web_teardown)
static const struct CMUnitTest tests[] = {
    T(test_exit__inspect_without_a_state__nothing_concluded),
    HASTY(test_exit__inspect_hangs__reported_from_the_event),
    T(test_exit__restarted_and_inspect_cut_off__followed),
    HASTY(test_exit__restarted_and_inspect_hangs_twice__followed),
    T(test_exit__inspect_of_another_hangs__reported),
    HASTY(test_exit__many_locked_forever__another_is_followed),
    T(test_exit__destroyed_while_inspected__inspected_no_more),
    T(test_exit__restarted_and_no_thread__followed_later),
    T(test_exit__no_thread_when_stream_is_back__reported_later),
    T(test_exit__twenty_stalled_readers__another_is_followed_to_its_end),
};
WORLD_MAIN(tests)
