/* SPDX-License-Identifier: MPL-2.0 */
/* The periods of the driver's repeated work: how often Docker is probed, and when dangling
 * containers are searched for. The test reads them from the waits that the driver asks its loop
 * for. The waits are given in whole seconds and last a 500th of them; containers look ten minutes
 * old. The periods are those of docs/internals/nomad-host.md, Fingerprint and TaskEvents, and
 * Dangling containers. */
#include "src/task/driver_priv.h"

#include "fake/task_world.h"
#include "paddock/create.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>

#define FASTER 500
#define AGE_NS (600 * 1000000000LL)
#define DANGLING(period, grace)                                                                    \
    "{\"gc\":{\"dangling_containers\":{\"period\":\"" period "\",\"creation_grace\":\"" grace      \
    "\"}}}"
#define NO_SEARCH "{\"gc\":{\"dangling_containers\":{\"enabled\":false}}}"
/* Values in seconds that no other wait has. */
enum { PROBE = 30, PROBE_SICK = 5, PERIOD = 7, GRACE = 90, PERIOD_LONG = 95 };

static atomic_uint armed[128]; /* how many waits of that many seconds were requested */

void __real_loop_timer_at(struct loop_timer *t, uint64_t at_us);
void __wrap_loop_timer_at(struct loop_timer *t, uint64_t at_us);
void __wrap_loop_timer_at(struct loop_timer *t, uint64_t at_us) {
    uint64_t now = clock_now_us(), wait_us = at_us > now ? at_us - now : 0;
    uint64_t s = (wait_us + US_PER_SEC - 1) / US_PER_SEC; /* a part of it may have passed */
    if (s == PROBE || s == PROBE_SICK || s == PERIOD || s == GRACE || s == PERIOD_LONG) {
        atomic_fetch_add(&armed[s], 1);
        at_us = now + wait_us / FASTER;
    }
    __real_loop_timer_at(t, at_us);
}

int64_t __real_clock_wall_ns(void);
int64_t __wrap_clock_wall_ns(void);
int64_t __wrap_clock_wall_ns(void) {
    return __real_clock_wall_ns() + AGE_NS;
}

static atomic_bool claims_at_stop; /* another process takes the claim when the next stop is sent */
static void claim_by_another(const char *run_dir);
static char claimed_run_dir[96];

int __real_docker_container_stop(struct docker *d, const struct call *call, const char *id,
                                 unsigned timeout_s, struct err *err);
int __wrap_docker_container_stop(struct docker *d, const struct call *call, const char *id,
                                 unsigned timeout_s, struct err *err);
int __wrap_docker_container_stop(struct docker *d, const struct call *call, const char *id,
                                 unsigned timeout_s, struct err *err) {
    if (atomic_exchange(&claims_at_stop, false))
        claim_by_another(claimed_run_dir);
    return __real_docker_container_stop(d, call, id, timeout_s, err);
}

struct count {
    unsigned seconds, n;
};

static bool was_armed(void *ctx) {
    struct count *c = ctx;
    return atomic_load(&armed[c->seconds]) >= c->n;
}

/* Waits until @more waits of @seconds were requested. */
static void await_armed(unsigned seconds, unsigned more) {
    struct count c = {seconds, atomic_load(&armed[seconds]) + more};
    char what[32];
    snprintf(what, sizeof(what), "waits of %u s", seconds);
    world_until(was_armed, &c, what);
}

static bool is_well(void *ctx) {
    struct world_web *x = ctx;
    return fingerprint_healthy(x->w.d->fingerprint);
}

static bool is_ill(void *ctx) {
    return !is_well(ctx);
}

static int setup(void **state) {
    memset(armed, 0, sizeof(armed));
    return world_web_setup(state, DANGLING("7s", "90s"), 500, false);
}

/* The driver of the web task must not remove a container before the tested driver runs. */
static int setup_no_search(void **state) {
    memset(armed, 0, sizeof(armed));
    atomic_store(&claims_at_stop, false);
    return world_web_setup(state, NO_SEARCH, 500, false);
}

static int setup_long(void **state) {
    memset(armed, 0, sizeof(armed));
    return world_web_setup(state, DANGLING("95s", "60s"), 500, false);
}

static void test_fingerprint__period__30_s_and_5_s_while_not_well(void **state) {
    struct world_web *x = *state;
    assert_int_equal(driver_init(x->w.d, NULL), 0);
    world_until(is_well, x, "healthy");
    await_armed(PROBE, 3);
    fake_rules(&x->w.fake, "GET /version times=1 hang\n"); /* still healthy, but probed sooner */
    await_armed(PROBE_SICK, 1);
    await_armed(PROBE, 3);
    fake_rules(&x->w.fake, "GET /version status=500 body={\"message\":\"no\"}\n");
    world_until(is_ill, x, "not healthy");
    unsigned before = atomic_load(&armed[PROBE]);
    await_armed(PROBE_SICK, 5);
    assert_int_equal(atomic_load(&armed[PROBE]), before);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    world_until(is_well, x, "healthy again");
    await_armed(PROBE, 3);
}

/* The first search comes after the grace period and one whole period, so that each container has
 * had both. Later ones come after each period. */
static void test_dangling__first_look__after_the_longer_of_both(void **state) {
    struct world_web *x = *state;
    assert_int_equal(driver_init(x->w.d, NULL), 0);
    bool is_long = atomic_load(&armed[PERIOD_LONG]) > 0;
    assert_int_equal(atomic_load(&armed[GRACE]), !is_long);
    await_armed(is_long ? PERIOD_LONG : PERIOD, 3);
    assert_int_equal(atomic_load(&armed[GRACE]), !is_long);
}

static bool has_two(void *ctx) {
    struct world_web *x = ctx;
    return world_containers(&x->w) == 2;
}

static bool is_removed(void *ctx) {
    struct world_web *x = ctx;
    return world_containers(&x->w) == 1;
}

static bool has_none(void *ctx) {
    struct world_web *x = ctx;
    return world_containers(&x->w) == 0;
}

static bool has_one_or_none(void *ctx) {
    struct world_web *x = ctx;
    return world_containers(&x->w) <= 1;
}

/* Makes a running container of the web task's driver that belongs to no task. */
static void make_forgotten(struct world_web *x) {
    struct docker *docker = fake_docker(&x->w.fake);
    struct call call = fake_call();
    AUTO_JSON json_t *body =
        json_pack("{s:s,s:{s:s}}", "Image", "app", "Labels", LABEL_OWNER, client_owner(x->w.d));
    char id[65];
    assert_int_equal(docker_container_create(docker, &call, "forgotten", body, id, NULL), 0);
    assert_int_equal(docker_container_start(docker, &call, id, NULL), 0);
    docker_free(docker);
}

/* Waits until no search has begun for many periods. */
static int await_no_looks(struct world_web *x) {
    int looks = -1;
    for (int i = 0; i < 10 && looks != fake_count(&x->w.fake, "GET /containers/json"); i++) {
        looks = fake_count(&x->w.fake, "GET /containers/json");
        await_armed(PERIOD, 20);
    }
    return looks;
}

static void test_dangling__docker_unhealthy__no_search_until_it_is_healthy(void **state) {
    struct world_web *x = *state;
    world_run(&x->w, &x->task, NULL);
    await_armed(PERIOD, 3);
    fake_rules(&x->w.fake, "GET /version status=500 body={\"message\":\"no\"}\n");
    world_until(is_ill, x, "not healthy");
    int looks = await_no_looks(x);
    assert_true(looks > 0);
    make_forgotten(x);
    await_armed(PERIOD, 20);
    assert_int_equal(fake_count(&x->w.fake, "GET /containers/json"), looks);
    assert_int_equal(world_containers(&x->w), 2);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    world_until(is_removed, x, "the forgotten container's end");
    assert_true(is_well(x));
    assert_int_equal(world_look(&x->w, x->task.id).phase, TASK_RUNNING);
}

static void remove_claims(const struct world *w) {
    char pattern[160];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*.claim", w->run_dir);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        assert_int_equal(unlink(found.gl_pathv[i]), 0);
    globfree(&found);
}

/* The agent was killed and did not find the old plugin again. The old plugin runs beside the new
 * one and knows none of its containers. */
static void test_dangling__another_process_has_the_next_task__its_containers_stay(void **state) {
    struct world_web *x = *state;
    struct task_config other;
    world_run(&x->w, &x->task, NULL);
    struct driver *orphan = TAKE_PTR(x->w.d);
    world_until_count(&x->w, "GET /containers/json", 1); /* it searches */
    world_driver_new(&x->w, NO_SEARCH);
    world_task(&x->w, &other, "other", WORLD_WEB_JOB);
    world_run(&x->w, &other, NULL);
    int looks = await_no_looks(x);
    for (int i = 0; i < 2; i++) { /* also after the folder is cleaned up */
        await_armed(PERIOD, 20);
        assert_int_equal(world_containers(&x->w), 2);
        assert_int_equal(world_look(&x->w, other.id).phase, TASK_RUNNING);
        if (i == 0)
            remove_claims(&x->w);
    }
    assert_int_equal(fake_count(&x->w.fake, "GET /containers/json"), looks + 2); /* the test's */
    driver_free(orphan);
    task_config_done(&other);
}

/* When the agent gives the old plugin a task again, that plugin searches again. */
static void test_dangling__given_a_task_again__searches(void **state) {
    struct world_web *x = *state;
    struct task_config other, third;
    world_run(&x->w, &x->task, NULL);
    struct driver *old = TAKE_PTR(x->w.d);
    world_driver_new(&x->w, NO_SEARCH);
    world_task(&x->w, &other, "other", WORLD_WEB_JOB);
    world_run(&x->w, &other, NULL);
    await_no_looks(x);
    world_driver_free(&x->w);
    x->w.d = old;
    world_task(&x->w, &third, "third", WORLD_WEB_JOB);
    world_run(&x->w, &third, NULL);
    world_until(has_two, x, "the end of the other plugin's container");
    task_config_done(&other);
    task_config_done(&third);
}

/* The next plugin of the same agent gets no task. It still cleans up. */
static void test_dangling__no_task_after_restart__remembered_client(void **state) {
    struct world_web *x = *state;
    world_run(&x->w, &x->task, NULL);
    make_forgotten(x);
    world_driver_free(&x->w);
    assert_int_equal(world_containers(&x->w), 2);
    world_driver_new(&x->w, DANGLING("7s", "90s"));
    assert_int_equal(driver_init(x->w.d, NULL), 0);
    world_until(has_none, x, "the removal of both containers, which no task has");
}

/* Process 1 always runs. */
static void claim_by_another(const char *run_dir) {
    char pattern[160];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*.claim", run_dir);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    FILE *f = fopen(found.gl_pathv[0], "we");
    assert_non_null(f);
    fprintf(f, "1 12345\n");
    fclose(f);
    globfree(&found);
}

/* Another plugin process serves that client. Its containers belong to that process. */
static void test_dangling__no_task_and_claim_of_another__nothing_removed(void **state) {
    struct world_web *x = *state;
    world_run(&x->w, &x->task, NULL);
    make_forgotten(x);
    world_driver_free(&x->w);
    claim_by_another(x->w.run_dir);
    world_driver_new(&x->w, DANGLING("7s", "90s"));
    assert_int_equal(driver_init(x->w.d, NULL), 0);
    world_until(is_well, x, "healthy");
    await_armed(PERIOD, 30);
    assert_int_equal(world_containers(&x->w), 2);
}

/* Another plugin process recovers its tasks while the search removes the first container. */
static void test_dangling__no_task_and_claim_during_search__the_rest_stays(void **state) {
    struct world_web *x = *state;
    world_run(&x->w, &x->task, NULL);
    make_forgotten(x);
    world_driver_free(&x->w);
    snprintf(claimed_run_dir, sizeof(claimed_run_dir), "%s", x->w.run_dir);
    atomic_store(&claims_at_stop, true);
    world_driver_new(&x->w, DANGLING("7s", "90s"));
    assert_int_equal(driver_init(x->w.d, NULL), 0);
    world_until(has_one_or_none, x, "the removal of the first container");
    await_armed(PERIOD, 30);
    assert_int_equal(world_containers(&x->w), 1);
}

#define T(f, s) cmocka_unit_test_setup_teardown(f, s, world_web_teardown)
static const struct CMUnitTest tests[] = {
    T(test_fingerprint__period__30_s_and_5_s_while_not_well, setup),
    T(test_dangling__first_look__after_the_longer_of_both, setup),
    T(test_dangling__first_look__after_the_longer_of_both, setup_long),
    T(test_dangling__no_task_after_restart__remembered_client, setup_no_search),
    T(test_dangling__no_task_and_claim_of_another__nothing_removed, setup_no_search),
    T(test_dangling__no_task_and_claim_during_search__the_rest_stays, setup_no_search),
    T(test_dangling__docker_unhealthy__no_search_until_it_is_healthy, setup),
    T(test_dangling__another_process_has_the_next_task__its_containers_stay, setup),
    T(test_dangling__given_a_task_again__searches, setup),
};
WORLD_MAIN(tests)
