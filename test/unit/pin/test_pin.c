/* SPDX-License-Identifier: MPL-2.0 */
/* The reconciler's thread on a tree in a temporary folder: what it writes and reports when sets are
 * overwritten, when the pool changes, and when cores are reserved. */
#include "unit/pin/pin_world.h"

static void test_pin__wrong_when_found__late_start(void **state) {
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "0-3");
    struct tree_task *cores = tree_add(&tree, "1", "0-3");
    pin_world_start(PIN_WORLD_HOUR);
    /* The set is without the other task's core, although share.slice still lists this core. */
    pin_world_assert_set(shared, "2-3");
    pin_world_assert_set(cores, "1");
    assert_true(tree_wait_event(
        &tree, "cpuset pinned to 2-3 (was 0-3, late start) [pinned, 0-3 > 2-3, late start]"));
    assert_true(pin_world_wait_state(0, "pinned"));
}

static void test_pin__overwritten__repaired_without_a_tick(void **state) {
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "1-3");
    struct tree_task *cores = tree_add(&tree, "1", "1");
    pin_world_start(PIN_WORLD_HOUR);
    pin_world_assert_set(shared, "2-3");
    assert_true(pin_world_wait_state(1, "pinned"));
    tree_put(&tree, tree_cpus(shared), "0-3");
    pin_world_assert_set(shared, "2-3");
    tree_put(&tree, tree_cpus(cores), "0-3");
    pin_world_assert_set(cores, "1");
    assert_true(tree_wait_event(
        &tree, "cpuset repaired: 0-3 -> 2-3 (overwritten) [pinned, 0-3 > 2-3, overwritten]"));
    assert_true(tree_wait_event(&tree, "cpuset repaired: 0-3 -> 1 (overwritten"));
}

static void test_pin__pool_changes__all_follow_without_a_tick(void **state) {
    struct tree_task *x[20];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(x); i++)
        x[i] = tree_add(&tree, "", "1-3");
    pin_world_start(PIN_WORLD_HOUR);
    assert_true(pin_world_wait_state(19, "pinned"));
    tree_share(&tree, "2-3", "1");
    for (size_t i = 0; i < ARRAY_LEN(x); i++)
        pin_world_assert_set(x[i], "2-3");
    tree_share(&tree, "1-3", "\n");
    for (size_t i = 0; i < ARRAY_LEN(x); i++)
        pin_world_assert_set(x[i], "1-3");
}

static void test_pin__everything_reserved__held(void **state) {
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "1-3");
    pin_world_start(50 * US_PER_MS);
    assert_true(pin_world_wait_state(0, "pinned"));
    tree_share(&tree, "\n", "1-3");
    assert_true(pin_world_wait_state(0, "held"));
    pin_world_assert_set(shared, "0"); /* neither the ancestor's 0-3 nor a core of another task */
    assert_true(tree_wait_event(&tree, "cpuset held at 0: pool-empty [held, 1-3 > 0, pool-empty]"));
    tree_share(&tree, "3", "1-2");
    pin_world_assert_set(shared, "3");
    assert_true(pin_world_wait_state(0, "pinned"));
}

static void test_pin__every_cpu_reserved__stays_and_is_reported(void **state) {
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "1-3");
    pin_world_start(50 * US_PER_MS);
    assert_true(pin_world_wait_state(0, "pinned"));
    tree_share(&tree, "\n", "0-3");
    assert_true(pin_world_wait_state(0, "no-cpu"));
    pin_world_assert_set(shared, "1-3");
    assert_true(tree_wait_event(
        &tree, "cpuset left at 1-3: every online CPU is reserved by other tasks [no-cpu, "));
    AUTO_FREE char *text = pin_show_metrics(pin);
    assert_non_null(strstr(text, "\npaddock_cpuset_tasks{state=\"no-cpu\"} 1\n"));
}

/* After a restart the plugin does not know the earlier sets of a task. */
static void test_pin__everything_reserved_at_the_start__off_the_cores_of_others(void **state) {
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "0-3");
    struct tree_task *orphan = tree_add(&tree, "", "1-3");
    snprintf(orphan->source, sizeof(orphan->source), "nomad.slice/share.slice/none.scope");
    tree_share(&tree, "\n", "1-3");
    pin_world_start(PIN_WORLD_HOUR);
    pin_world_assert_set(shared, "0");
    pin_world_assert_set(orphan, "0");
}

/* The pool's file becomes blank after it was read and before the effective set is read. Then the
 * pool's text is restored, but the effective set still shows the ancestor's. Only the write of the
 * pool's text has raised an event. */
static void test_pin__effective_is_the_ancestors__not_wider_than_the_pool(void **state) {
    char path[512], now[64];
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "2-3");
    tree_share(&tree, "2-3", "\n");
    pin_world_start(PIN_WORLD_HOUR);
    assert_true(pin_world_wait_state(0, "pinned"));
    snprintf(path, sizeof(path), "%s/cpuset.cpus.effective", shared->source);
    tree_put(&tree, path, "0-3");
    json_int_t passes = tree_counter(pin, "passes");
    tree_put(&tree, "nomad.slice/share.slice/cpuset.cpus", "2-3\n");
    assert_true(tree_wait_counter(pin, "passes", passes + 1));
    assert_string_equal(tree_get(&tree, tree_cpus(shared), now, sizeof(now)), "2-3");
    tree_put(&tree, tree_cpus(shared), "0-3");
    pin_world_assert_set(shared, "2-3"); /* the last good set has not changed */
}

static void test_pin__wanted_cpus_offline__spilled_off_the_cores_of_others(void **state) {
    (void)state;
    struct tree_task *cores = tree_add(&tree, "3", "3");
    tree_add(&tree, "2", "2");
    pin_world_start(20 * US_PER_MS);
    assert_true(pin_world_wait_state(0, "pinned"));
    tree_put(&tree, "cpuset.cpus.effective", "0-2\n");
    pin_world_assert_set(cores, "0-1");
    assert_true(pin_world_wait_state(0, "spilled"));
    assert_true(tree_wait_event(
        &tree, "cpuset spilled: no CPU of 3 is online or allowed, running on 0-1 [spilled, "));
    tree_put(&tree, "cpuset.cpus.effective", "0-3\n");
    pin_world_assert_set(cores, "3");
    assert_true(pin_world_wait_state(0, "pinned"));
}

static void test_pin__contested_and_narrowed_by_nomad__without_a_tick(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "1-3");
    pin_world_start(PIN_WORLD_HOUR);
    assert_true(pin_world_wait_state(0, "pinned"));
    for (int i = 0; i < 10; i++) {
        tree_put(&tree, tree_cpus(x), "0-3");
        pin_world_assert_set(x, "1-3");
    }
    tree_put(&tree, tree_cpus(x), "0-3");
    assert_true(pin_world_wait_state(0, "contested"));
    tree_share(&tree, "2-3", "1");
    pin_world_assert_set(x, "2-3");
}

/* A state change shortly after a report is reported when tell_again_us is over. */
static void test_pin__last_state__always_reported(void **state) {
    (void)state;
    tree_add(&tree, "", "1-3");
    struct pin_options o = tree_options(&tree);
    o.interval_us = PIN_WORLD_HOUR;
    o.tell_again_us = 300 * US_PER_MS;
    assert_int_equal(pin_new(&o, &pin), 0);
    assert_true(tree_wait_event(&tree, "cpuset pinned to 1-3"));
    tree_share(&tree, "\n", "1-3");
    assert_true(tree_wait_event(&tree, "cpuset held at 0"));
    tree_share(&tree, "2-3", "1");
    assert_true(pin_world_wait_state(0, "pinned"));
    assert_true(tree_wait_event(&tree, "cpuset pinned to 2-3 "));
}

static void test_pin__effective_smaller__constrained(void **state) {
    char path[512];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "1-3");
    pin_world_start(20 * US_PER_MS);
    assert_true(pin_world_wait_state(0, "pinned"));
    snprintf(path, sizeof(path), "%s/cpuset.cpus.effective", x->cgroup);
    tree_put(&tree, path, "1-2");
    assert_true(pin_world_wait_state(0, "constrained"));
    assert_true(tree_wait_event(
        &tree, "cpuset constrained: wanted 1-3, the kernel gives 1-2 [constrained, 1-3 > "
               "1-2, constrained]"));
    tree_put(&tree, path, "0-3");
    assert_true(pin_world_wait_state(0, "pinned"));
}

static void test_pin__set_again_and_again__contested(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "1-3");
    pin_world_start(100 * US_PER_MS);
    assert_true(pin_world_wait_state(0, "pinned"));
    for (int i = 0; i < 10; i++) {
        tree_put(&tree, tree_cpus(x), "0-3");
        pin_world_assert_set(x, "1-3");
    }
    tree_put(&tree, tree_cpus(x), "0-3"); /* no longer repaired immediately, but at the tick */
    assert_true(pin_world_wait_state(0, "contested"));
    pin_world_assert_set(x, "1-3");
    assert_true(tree_wait_event(
        &tree, "corrected to 1-3 at each tick [contested, 0-3 > 1-3, overwritten]"));
}

/* One more write raises an event and is repaired at the tick. Later writes raise no events. */
static void test_pin__contested__further_writes_are_no_events(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "1-3");
    pin_world_start(PIN_WORLD_HOUR);
    assert_true(pin_world_wait_state(0, "pinned"));
    for (int i = 0; i < 10; i++) {
        tree_put(&tree, tree_cpus(x), "0-3");
        pin_world_assert_set(x, "1-3");
    }
    tree_put(&tree, tree_cpus(x), "0-3");
    assert_true(pin_world_wait_state(0, "contested"));
    assert_true(tree_wait_task(pin, 0, "changes_seen", "at the tick"));
    json_int_t events = tree_counter(pin, "events");
    for (int i = 0; i < 100; i++)
        tree_put(&tree, tree_cpus(x), i % 2 ? "0-3" : "0-2");
    /* The pool's file reports its own change, after those writes. */
    tree_share(&tree, "2-3", "1");
    pin_world_assert_set(x, "2-3");
    assert_true(tree_counter(pin, "events") - events <= 4);
}

static void test_pin__container_ends__dropped_without_a_report(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "1-3");
    pin_world_start(PIN_WORLD_HOUR);
    assert_true(pin_world_wait_state(0, "pinned"));
    pthread_mutex_lock(&tree.lock);
    x->present = false;
    pthread_mutex_unlock(&tree.lock);
    pin_wake(pin);
    assert_true(pin_world_wait_state(0, "gone"));
}

static void test_pin__cores_end__the_others_return(void **state) {
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "1-3");
    struct tree_task *cores = tree_add(&tree, "1", "1");
    pin_world_start(PIN_WORLD_HOUR);
    pin_world_assert_set(shared, "2-3");
    pthread_mutex_lock(&tree.lock);
    cores->present = false;
    pthread_mutex_unlock(&tree.lock);
    pin_wake(pin);
    pin_world_assert_set(shared, "1-3");
}

/* Node 2 has CPUs and no memory. */
static void test_pin__mems_follow__cores_alone(void **state) {
    char shared_mems[600], cores_mems[600], nodes[600], now[64];
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "0-3");
    struct tree_task *cores = tree_add(&tree, "2-3", "0-3");
    snprintf(shared_mems, sizeof(shared_mems), "%s/cpuset.mems", shared->cgroup);
    snprintf(cores_mems, sizeof(cores_mems), "%s/cpuset.mems", cores->cgroup);
    tree_put(&tree, shared_mems, "0-1\n");
    tree_put(&tree, cores_mems, "\n");
    tree_put(&tree, "../nodes/has_memory", "0-1\n");
    tree_put(&tree, "../nodes/node0/cpulist", "0-1\n");
    tree_put(&tree, "../nodes/node1/cpulist", "2\n");
    tree_put(&tree, "../nodes/node2/cpulist", "3\n");
    snprintf(nodes, sizeof(nodes), "%s/nodes", tree.dir);
    struct pin_options o = tree_options(&tree);
    o.mems_follow = true;
    o.node_root = nodes;
    assert_int_equal(pin_new(&o, &pin), 0);
    pin_world_assert_set(shared, "1");
    pin_world_assert_set(cores, "2-3");
    assert_true(tree_wait(&tree, cores_mems, "1"));
    assert_true(pin_world_wait_state(0, "pinned") && pin_world_wait_state(1, "pinned"));
    assert_string_equal(tree_get(&tree, shared_mems, now, sizeof(now)), "0-1");
}

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        PIN_WORLD_TEST(test_pin__wrong_when_found__late_start),
        PIN_WORLD_TEST(test_pin__overwritten__repaired_without_a_tick),
        PIN_WORLD_TEST(test_pin__pool_changes__all_follow_without_a_tick),
        PIN_WORLD_TEST(test_pin__everything_reserved__held),
        PIN_WORLD_TEST(test_pin__every_cpu_reserved__stays_and_is_reported),
        PIN_WORLD_TEST(test_pin__everything_reserved_at_the_start__off_the_cores_of_others),
        PIN_WORLD_TEST(test_pin__effective_is_the_ancestors__not_wider_than_the_pool),
        PIN_WORLD_TEST(test_pin__wanted_cpus_offline__spilled_off_the_cores_of_others),
        PIN_WORLD_TEST(test_pin__contested_and_narrowed_by_nomad__without_a_tick),
        PIN_WORLD_TEST(test_pin__last_state__always_reported),
        PIN_WORLD_TEST(test_pin__effective_smaller__constrained),
        PIN_WORLD_TEST(test_pin__set_again_and_again__contested),
        PIN_WORLD_TEST(test_pin__contested__further_writes_are_no_events),
        PIN_WORLD_TEST(test_pin__container_ends__dropped_without_a_report),
        PIN_WORLD_TEST(test_pin__cores_end__the_others_return),
        PIN_WORLD_TEST(test_pin__mems_follow__cores_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
