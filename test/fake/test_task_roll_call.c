/* SPDX-License-Identifier: MPL-2.0 */
/* Ends that dockerd did not report: its events can be lost without a trace. The 20 s between two
 * rounds last 40 ms here. */
#include "fake/task_world.h"
#include "paddock/loop.h"

#include <stdio.h>
#include <string.h>

#define FASTER 500
#define ROUND_S 20

static atomic_uint rounds;

void __real_loop_timer_at(struct loop_timer *t, uint64_t at_us);
void __wrap_loop_timer_at(struct loop_timer *t, uint64_t at_us);
void __wrap_loop_timer_at(struct loop_timer *t, uint64_t at_us) {
    uint64_t now = clock_now_us(), wait_us = at_us > now ? at_us - now : 0;
    if ((wait_us + US_PER_SEC - 1) / US_PER_SEC == ROUND_S) {
        atomic_fetch_add(&rounds, 1);
        at_us = now + wait_us / FASTER;
    }
    __real_loop_timer_at(t, at_us);
}

static bool has_continued(void *ctx) {
    unsigned *until = ctx;
    return atomic_load(&rounds) >= *until;
}

static void await_rounds(unsigned n) {
    unsigned until = atomic_load(&rounds) + n;
    world_until(has_continued, &until, "the next rounds");
}

/* The fake's pids belong to no processes. This one counts as alive until its container is
 * restarted. */
static _Atomic(pid_t) alive;
int __real_faccessat(int dirfd, const char *path, int mode, int flags);
int __wrap_faccessat(int dirfd, const char *path, int mode, int flags);
int __wrap_faccessat(int dirfd, const char *path, int mode, int flags) {
    pid_t there = atomic_load(&alive);
    char name[16];
    snprintf(name, sizeof(name), "%d", (int)there);
    return there && strcmp(path, name) == 0 ? 0 : __real_faccessat(dirfd, path, mode, flags);
}

static int setup(void **state) {
    return world_web_setup(state, "{}", 0, true);
}

static void mute(struct world_web *x) {
    fake_control(&x->w.fake, "POST", "mute/on", "", NULL, 0);
}

static void test_roll_call__die_event_lost__end_is_found(void **state) {
    struct world_web *x = *state;
    mute(x);
    world_exit(&x->w, &x->task, 3);
    struct task_exit e = world_wait(&x->w, x->task.id);
    assert_int_equal(e.code, 3);
    assert_string_equal(e.err, "Docker container exited with non-zero exit code: 3");
}

static void test_roll_call__removed_and_events_lost__end_is_found(void **state) {
    struct world_web *x = *state;
    struct docker *docker = fake_docker(&x->w.fake);
    struct call call = fake_call();
    mute(x);
    assert_int_equal(docker_container_remove(docker, &call, "web-a1", true, NULL), 0);
    docker_free(docker);
    assert_string_equal(world_wait(&x->w, x->task.id).err,
                        "the container was removed outside of Nomad");
}

/* Each round asks for one list, and inspects no container that is in it. */
static void test_roll_call__running__one_list_and_no_inspect(void **state) {
    struct world_web *x = *state;
    char request[WORLD_REQUEST_SIZE];
    world_inspect_request(&x->w, x->task.id, request);
    await_rounds(2);
    int lists = fake_count(&x->w.fake, "GET /containers/json");
    int inspects = fake_count(&x->w.fake, request);
    await_rounds(5);
    assert_true(fake_count(&x->w.fake, "GET /containers/json") > lists);
    assert_int_equal(fake_count(&x->w.fake, request), inspects);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

/* Without an answer nothing is concluded. */
static void test_roll_call__list_fails__nothing_concluded(void **state) {
    struct world_web *x = *state;
    fake_rules(&x->w.fake, "GET /containers/json status=500 body={\"message\":\"no\"}\n");
    await_rounds(3);
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    fake_rules(&x->w.fake, "GET /containers/json status=200 type=application/json body=[]\n");
    await_rounds(3); /* the inspect has the right answer */
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

static void test_roll_call__ended_and_inspect_fails_first__found_later(void **state) {
    struct world_web *x = *state;
    mute(x);
    fake_rules(&x->w.fake, "GET /containers/*/json times=3 status=500 body={\"message\":\"no\"}\n");
    world_exit(&x->w, &x->task, 4);
    assert_int_equal(world_wait(&x->w, x->task.id).code, 4);
}

/* While no task runs, Docker is not asked for a list. */
static void test_roll_call__nothing_runs__no_list(void **state) {
    struct world_web *x = *state;
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    await_rounds(2);
    int lists = fake_count(&x->w.fake, "GET /containers/json");
    await_rounds(5);
    assert_int_equal(fake_count(&x->w.fake, "GET /containers/json"), lists);
}

/* The fake's next process has the next number. */
static bool is_known(void *ctx) {
    struct world_web *x = ctx;
    return world_look(&x->w, x->task.id).pid == atomic_load(&alive);
}

static void test_roll_call__restarted_and_events_lost__new_process_is_known(void **state) {
    struct world_web *x = *state;
    atomic_store(&alive, world_look(&x->w, x->task.id).pid);
    await_rounds(2); /* it is seen */
    mute(x);
    fake_control(&x->w.fake, "POST", "restart/web-a1", "", NULL, 0);
    atomic_fetch_add(&alive, 1);
    world_until(is_known, x, "the new process");
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
    atomic_store(&alive, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, world_web_teardown)
static const struct CMUnitTest tests[] = {
    T(test_roll_call__die_event_lost__end_is_found),
    T(test_roll_call__removed_and_events_lost__end_is_found),
    T(test_roll_call__running__one_list_and_no_inspect),
    T(test_roll_call__list_fails__nothing_concluded),
    T(test_roll_call__ended_and_inspect_fails_first__found_later),
    T(test_roll_call__nothing_runs__no_list),
    T(test_roll_call__restarted_and_events_lost__new_process_is_known),
};
WORLD_MAIN(tests)
