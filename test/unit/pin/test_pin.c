/* SPDX-License-Identifier: MPL-2.0 */
/* The reconciler's thread on a tree in a temporary folder: what it writes, what it reports, and
 * what it shows. */
#include "paddock/clock.h"
#include "src/pin/pin_affinity.h"
#include "unit/cm.h"
#include "unit/pin/tree.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#define HOUR (3600 * US_PER_SEC)

static struct tree tree;
static struct pin *pin;

static int setup(void **state) {
    (void)state;
    tree_init(&tree);
    tree_share(&tree, "1-3", "\n");
    pin = NULL;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    pin_free(pin);
    tree_done(&tree);
    return 0;
}

static void start(uint64_t interval_us) {
    struct pin_options o = tree_options(&tree);
    o.interval_us = interval_us;
    assert_int_equal(pin_new(&o, &pin), 0);
    assert_string_equal(pin_disabled_reason(pin), "");
}

static void assert_set(const struct tree_task *x, const char *set) {
    assert_true(tree_wait(&tree, tree_cpus(x), set));
}

static bool wait_state(size_t i, const char *want) {
    return tree_wait_task(pin, i, "state", want);
}

static void test_pin__wrong_when_found__late_start(void **state) {
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "0-3");
    struct tree_task *cores = tree_add(&tree, "1", "0-3");
    start(HOUR);
    assert_set(shared, "2-3"); /* without the cores of the other, whatever share.slice still says */
    assert_set(cores, "1");
    assert_true(tree_wait_event(
        &tree, "cpuset pinned to 2-3 (was 0-3, late start) [pinned, 0-3 > 2-3, late start]"));
    assert_true(wait_state(0, "pinned"));
}

static void test_pin__overwritten__repaired_without_a_tick(void **state) {
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "1-3");
    struct tree_task *cores = tree_add(&tree, "1", "1");
    start(HOUR);
    assert_set(shared, "2-3");
    assert_true(wait_state(1, "pinned"));
    tree_put(&tree, tree_cpus(shared), "0-3");
    assert_set(shared, "2-3");
    tree_put(&tree, tree_cpus(cores), "0-3");
    assert_set(cores, "1");
    assert_true(tree_wait_event(
        &tree, "cpuset repaired: 0-3 -> 2-3 (overwritten) [pinned, 0-3 > 2-3, overwritten]"));
    assert_true(tree_wait_event(&tree, "cpuset repaired: 0-3 -> 1 (overwritten"));
}

static void test_pin__pool_changes__all_follow_without_a_tick(void **state) {
    struct tree_task *x[20];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(x); i++)
        x[i] = tree_add(&tree, "", "1-3");
    start(HOUR);
    assert_true(wait_state(19, "pinned"));
    tree_share(&tree, "2-3", "1");
    for (size_t i = 0; i < ARRAY_LEN(x); i++)
        assert_set(x[i], "2-3");
    tree_share(&tree, "1-3", "\n");
    for (size_t i = 0; i < ARRAY_LEN(x); i++)
        assert_set(x[i], "1-3");
}

static void test_pin__everything_reserved__held(void **state) {
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "1-3");
    start(50 * US_PER_MS);
    assert_true(wait_state(0, "pinned"));
    tree_share(&tree, "\n", "1-3");
    assert_true(wait_state(0, "held"));
    assert_set(shared, "0"); /* not the ancestor's 0-3, and no core of another task */
    assert_true(tree_wait_event(&tree, "cpuset held at 0: pool-empty [held, 1-3 > 0, pool-empty]"));
    tree_share(&tree, "3", "1-2");
    assert_set(shared, "3");
    assert_true(wait_state(0, "pinned"));
}

static void test_pin__every_cpu_reserved__stays_and_is_reported(void **state) {
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "1-3");
    start(50 * US_PER_MS);
    assert_true(wait_state(0, "pinned"));
    tree_share(&tree, "\n", "0-3");
    assert_true(wait_state(0, "no-cpu"));
    assert_set(shared, "1-3");
    assert_true(tree_wait_event(
        &tree, "cpuset left at 1-3: every online CPU is reserved by other tasks [no-cpu, "));
    AUTO_FREE char *text = pin_show_metrics(pin);
    assert_non_null(strstr(text, "\npaddock_cpuset_tasks{state=\"no-cpu\"} 1\n"));
}

/* After a restart of the plugin nothing is known of the task's earlier sets. */
static void test_pin__everything_reserved_at_the_start__off_the_cores_of_others(void **state) {
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "0-3");
    struct tree_task *orphan = tree_add(&tree, "", "1-3");
    snprintf(orphan->source, sizeof(orphan->source), "nomad.slice/share.slice/none.scope");
    tree_share(&tree, "\n", "1-3");
    start(HOUR);
    assert_set(shared, "0");
    assert_set(orphan, "0");
}

/* The pool's text becomes blank between its read and that of the effective set. The text is put
 * back and the effective set is not: it is the ancestor's then, and only the pool's text has
 * raised an event. */
static void test_pin__effective_is_the_ancestors__not_wider_than_the_pool(void **state) {
    char path[512], now[64];
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "2-3");
    tree_share(&tree, "2-3", "\n");
    start(HOUR);
    assert_true(wait_state(0, "pinned"));
    snprintf(path, sizeof(path), "%s/cpuset.cpus.effective", shared->source);
    tree_put(&tree, path, "0-3");
    json_int_t passes = tree_counter(pin, "passes");
    tree_put(&tree, "nomad.slice/share.slice/cpuset.cpus", "2-3\n");
    assert_true(tree_wait_counter(pin, "passes", passes + 1));
    assert_string_equal(tree_get(&tree, tree_cpus(shared), now, sizeof(now)), "2-3");
    tree_put(&tree, tree_cpus(shared), "0-3");
    assert_set(shared, "2-3"); /* the last good set is still this one */
}

static void test_pin__wanted_cpus_offline__spilled_off_the_cores_of_others(void **state) {
    (void)state;
    struct tree_task *cores = tree_add(&tree, "3", "3");
    tree_add(&tree, "2", "2");
    start(20 * US_PER_MS);
    assert_true(wait_state(0, "pinned"));
    tree_put(&tree, "cpuset.cpus.effective", "0-2\n");
    assert_set(cores, "0-1");
    assert_true(wait_state(0, "spilled"));
    assert_true(tree_wait_event(
        &tree, "cpuset spilled: no CPU of 3 is online or allowed, running on 0-1 [spilled, "));
    tree_put(&tree, "cpuset.cpus.effective", "0-3\n");
    assert_set(cores, "3");
    assert_true(wait_state(0, "pinned"));
}

/* After an upgrade of the client its old scopes are there, and nobody writes them. */
static void test_pin__upgraded_client__its_slices_are_followed(void **state) {
    char path[512];
    struct tree_task *x[2];
    (void)state;
    x[0] = tree_add(&tree, "", "1-3");
    x[1] = tree_add(&tree, "1", "1-3");
    for (size_t i = 0; i < ARRAY_LEN(x); i++) {
        snprintf(x[i]->source, sizeof(x[i]->source), "nomad.slice/old%zu.web.scope", i);
        snprintf(path, sizeof(path), "%s/cpuset.cpus", x[i]->source);
        tree_put(&tree, path, "1-3\n");
    }
    start(HOUR);
    assert_set(x[0], "2-3");
    assert_set(x[1], "1");
    tree_share(&tree, "2", "1,3"); /* core 3 is reserved through another driver */
    assert_set(x[0], "2");
}

static void test_pin__reserve_slice_without_cores__held(void **state) {
    char now[64];
    (void)state;
    struct tree_task *x = tree_add(&tree, "1", "1-3");
    x->reserved[0] = '\0';
    start(20 * US_PER_MS);
    assert_true(wait_state(0, "held"));
    assert_true(tree_wait_task(pin, 0, "why", "no-cores"));
    assert_string_equal(tree_get(&tree, tree_cpus(x), now, sizeof(now)), "1-3");
}

static void test_pin__contested_and_narrowed_by_nomad__without_a_tick(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "1-3");
    start(HOUR);
    assert_true(wait_state(0, "pinned"));
    for (int i = 0; i < 10; i++) {
        tree_put(&tree, tree_cpus(x), "0-3");
        assert_set(x, "1-3");
    }
    tree_put(&tree, tree_cpus(x), "0-3");
    assert_true(wait_state(0, "contested"));
    tree_share(&tree, "2-3", "1");
    assert_set(x, "2-3");
}

/* A state that was reported a short time ago is reported when that time is over. */
static void *stand_by(void *arg) {
    uint64_t count;
    return read(*(int *)arg, &count, sizeof(count)) < 0 ? arg : NULL;
}

static bool all_are_on(const json_t *status, void *ctx) {
    char path[64];
    DIR *d = opendir("/proc/self/task");
    bool all = d != NULL;
    (void)status;
    for (const struct dirent *e; d && (e = readdir(d));) {
        cpu_set_t now;
        pid_t tid = (pid_t)strtol(e->d_name, NULL, 10);
        snprintf(path, sizeof(path), "%s", e->d_name);
        if (tid > 0 && sched_getaffinity(tid, sizeof(now), &now) == 0)
            all = all && CPU_EQUAL(&now, (cpu_set_t *)ctx);
    }
    if (d)
        closedir(d);
    return all;
}

/* The mask that was reported last, its first 64 CPUs. */
static _Atomic unsigned long told_mask;

static void on_affinity(void *ctx, const struct affinity *a) {
    (void)ctx;
    told_mask = a->mask[0];
}

static bool was_told(const json_t *status, void *ctx) {
    bool same = true;
    (void)status;
    for (unsigned cpu = 0; cpu < AFFINITY_WORD_BITS; cpu++)
        same = same && (told_mask >> cpu & 1) == (CPU_ISSET(cpu, (cpu_set_t *)ctx) != 0);
    return same;
}

/* On this machine's own CPUs: the last one is reserved. */
static void test_pin__own_threads__off_the_reserved_cores(void **state) {
    cpu_set_t before, want;
    char cpus[16], online[32];
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    int last = CPU_SETSIZE - 1;
    while (last > 0 && !CPU_ISSET(last, &before))
        last--;
    if (CPU_COUNT(&before) < 2)
        skip();
    want = before;
    CPU_CLR(last, &want);
    snprintf(cpus, sizeof(cpus), "%d", last);
    snprintf(online, sizeof(online), "0-%d\n", last);
    tree_put(&tree, "cpuset.cpus.effective", online);
    int fd = eventfd(0, EFD_CLOEXEC);
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, stand_by, &fd), 0);
    struct tree_task *x = tree_add(&tree, cpus, cpus);
    struct pin_options o = tree_options(&tree);
    o.interval_us = HOUR;
    o.own_affinity = true;
    o.affinity = on_affinity;
    assert_int_equal(pin_new(&o, &pin), 0);
    bool off = tree_wait_status(pin, all_are_on, &want);
    bool told_off = tree_wait_status(pin, was_told, &want);
    pthread_mutex_lock(&tree.lock);
    x->present = false;
    pthread_mutex_unlock(&tree.lock);
    pin_wake(pin);
    bool back = tree_wait_status(pin, all_are_on, &before);
    bool told_back = tree_wait_status(pin, was_told, &before);
    assert_int_equal(eventfd_write(fd, 1), 0);
    pthread_join(other, NULL);
    close(fd);
    sched_setaffinity(0, sizeof(before), &before);
    assert_true(off && back);
    assert_true(told_off && told_back);
}

/* The CPUs that the agent was given are never left, also when all of them are reserved. */
static void test_affinity_wanted__within_the_initial_mask(void **state) {
    static const struct {
        const char *initial, *online, *reserved, *want;
    } rows[] = {
        {"0-3", "0-3", "1", "0,2-3"}, {"0-1", "0-3", "1", "0"},  {"0-1", "0-3", "3", "0-1"},
        {"0-1", "0-3", "0-1", "0-1"}, {"0-1", "1-3", "\n", "1"}, {"0-3", "0-3", "0-3", "0-3"},
        {"0-1", "0-3", "\n", "0-1"},  {"2-5", "0-3", "2", "3"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cpuset initial, online, reserved = {{0}}, want, got;
        assert_int_equal(cpuset_parse(rows[i].initial, strlen(rows[i].initial), &initial), 0);
        assert_int_equal(cpuset_parse(rows[i].online, strlen(rows[i].online), &online), 0);
        if (rows[i].reserved[0] != '\n')
            assert_int_equal(cpuset_parse(rows[i].reserved, strlen(rows[i].reserved), &reserved),
                             0);
        assert_int_equal(cpuset_parse(rows[i].want, strlen(rows[i].want), &want), 0);
        pin_affinity_wanted(&initial, &online, &reserved, &got);
        assert_true(cpuset_equal(&got, &want));
    }
}

/* A mask that holds all that is online was not chosen, and CPUs may come. */
static void test_affinity_widen__only_what_nobody_chose(void **state) {
    static const struct {
        const char *initial, *online;
        bool all;
    } rows[] = {
        {"0-3", "0-3", true}, {"0-3", "0-2", true}, {"0-1", "0-3", false}, {"0,2-3", "0-3", false}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cpuset initial, online;
        struct affinity a = {{0}};
        assert_int_equal(cpuset_parse(rows[i].initial, strlen(rows[i].initial), &initial), 0);
        assert_int_equal(cpuset_parse(rows[i].online, strlen(rows[i].online), &online), 0);
        for (unsigned cpu = 0; cpu < 8; cpu++)
            a.mask[0] |= cpuset_has(&initial, cpu) ? 1ul << cpu : 0;
        unsigned long before = a.mask[0];
        pin_affinity_widen(&a, &online);
        assert_int_equal(a.mask[0], rows[i].all ? ~0ul : before);
        assert_int_equal(a.mask[ARRAY_LEN(a.mask) - 1], rows[i].all ? ~0ul : 0);
    }
}

/* This process may use one CPU, which is reserved, and another one is free: nothing changes. */
static void test_pin__own_threads__narrow_mask_stays(void **state) {
    cpu_set_t before, narrow;
    char cpus[16], online[32];
    int first = 0, last = CPU_SETSIZE - 1;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    if (CPU_COUNT(&before) < 2)
        skip();
    while (!CPU_ISSET(last, &before))
        last--;
    while (!CPU_ISSET(first, &before))
        first++;
    CPU_ZERO(&narrow);
    CPU_SET(first, &narrow);
    snprintf(cpus, sizeof(cpus), "%d", first);
    snprintf(online, sizeof(online), "0-%d\n", last);
    tree_put(&tree, "cpuset.cpus.effective", online);
    assert_int_equal(sched_setaffinity(0, sizeof(narrow), &narrow), 0);
    tree_add(&tree, cpus, cpus);
    struct pin_options o = tree_options(&tree);
    o.own_affinity = true;
    assert_int_equal(pin_new(&o, &pin), 0);
    bool pinned = wait_state(0, "pinned");
    bool ticked = tree_wait_counter(pin, "ticks", 2);
    bool stays = all_are_on(NULL, &narrow);
    sched_setaffinity(0, sizeof(before), &before);
    assert_true(pinned && ticked && stays);
}

static void test_pin__last_state__always_reported(void **state) {
    (void)state;
    tree_add(&tree, "", "1-3");
    struct pin_options o = tree_options(&tree);
    o.interval_us = HOUR;
    o.tell_again_us = 300 * US_PER_MS;
    assert_int_equal(pin_new(&o, &pin), 0);
    assert_true(tree_wait_event(&tree, "cpuset pinned to 1-3"));
    tree_share(&tree, "\n", "1-3");
    assert_true(tree_wait_event(&tree, "cpuset held at 0"));
    tree_share(&tree, "2-3", "1");
    assert_true(wait_state(0, "pinned"));
    assert_true(tree_wait_event(&tree, "cpuset pinned to 2-3 "));
}

static void test_pin__effective_opened_later__followed(void **state) {
    char path[512];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    snprintf(path, sizeof(path), "%s/cpuset.cpus.effective", x->source);
    assert_int_equal(unlinkat(tree.root_fd, path, 0), 0);
    start(20 * US_PER_MS);
    assert_true(wait_state(0, "unmanaged"));
    tree_put(&tree, path, "1-3");
    assert_set(x, "1-3");
    assert_true(wait_state(0, "pinned"));
}

static void test_pin__source_gone__held_and_kept(void **state) {
    char command[512];
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "1-3");
    start(50 * US_PER_MS);
    assert_true(wait_state(0, "pinned"));
    /* A folder has no ENODEV: a file that says nonsense is as unreadable. */
    snprintf(command, sizeof(command), "%s/cpuset.cpus.effective", shared->source);
    tree_put(&tree, command, "x");
    assert_true(wait_state(0, "held"));
    tree_put(&tree, tree_cpus(shared), "0-3");
    assert_set(shared, "1-3"); /* not wider than the last good */
    assert_true(tree_wait_event(&tree, "source-gone"));
}

static void test_pin__old_client__its_file_is_followed(void **state) {
    char path[512];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    snprintf(x->source, sizeof(x->source), "old.slice/old.web.scope");
    snprintf(path, sizeof(path), "%s/cpuset.cpus", x->source);
    tree_put(&tree, path, "1-2\n");
    start(HOUR);
    assert_set(x, "1-2");
    tree_put(&tree, path, "2\n");
    assert_set(x, "2");
}

/* systemd took the controller from the slice and gave it back: the texts are blank then. */
static void test_pin__old_client__blank_scope_held(void **state) {
    char path[512], effective[512], now[64];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    snprintf(x->source, sizeof(x->source), "old.slice/old.web.scope");
    snprintf(path, sizeof(path), "%s/cpuset.cpus", x->source);
    snprintf(effective, sizeof(effective), "%s/cpuset.cpus.effective", x->source);
    tree_put(&tree, effective, "0-3\n");
    tree_put(&tree, path, "1-2\n");
    start(HOUR);
    assert_set(x, "1-2");
    tree_put(&tree, path, "\n");
    assert_true(wait_state(0, "held"));
    assert_string_equal(tree_get(&tree, tree_cpus(x), now, sizeof(now)), "1-2");
    tree_put(&tree, path, "2\n");
    assert_set(x, "2");
}

static void test_pin__no_source__unmanaged_and_untouched(void **state) {
    char now[64];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    x->source[0] = '\0';
    start(50 * US_PER_MS);
    assert_true(tree_wait_event(
        &tree, "cpuset not managed: no cgroup of Nomad's to follow [unmanaged, 0-3 > 0-3, "));
    assert_true(wait_state(0, "unmanaged"));
    assert_string_equal(tree_get(&tree, tree_cpus(x), now, sizeof(now)), "0-3");
}

static void test_pin__effective_smaller__constrained(void **state) {
    char path[512];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "1-3");
    start(20 * US_PER_MS);
    assert_true(wait_state(0, "pinned"));
    snprintf(path, sizeof(path), "%s/cpuset.cpus.effective", x->cgroup);
    tree_put(&tree, path, "1-2");
    assert_true(wait_state(0, "constrained"));
    assert_true(tree_wait_event(
        &tree, "cpuset constrained: wanted 1-3, the kernel gives 1-2 [constrained, 1-3 > "
               "1-2, constrained]"));
    tree_put(&tree, path, "0-3");
    assert_true(wait_state(0, "pinned"));
}

static void test_pin__set_again_and_again__contested(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "1-3");
    start(100 * US_PER_MS);
    assert_true(wait_state(0, "pinned"));
    for (int i = 0; i < 10; i++) {
        tree_put(&tree, tree_cpus(x), "0-3");
        assert_set(x, "1-3");
    }
    tree_put(&tree, tree_cpus(x), "0-3"); /* no longer immediately, but at the tick */
    assert_true(wait_state(0, "contested"));
    assert_set(x, "1-3");
    assert_true(tree_wait_event(
        &tree, "corrected to 1-3 at each tick [contested, 0-3 > 1-3, overwritten]"));
}

/* One more write is seen, and is left until the tick. The storm after it wakes nobody. */
static void test_pin__contested__further_writes_are_no_events(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "1-3");
    start(HOUR);
    assert_true(wait_state(0, "pinned"));
    for (int i = 0; i < 10; i++) {
        tree_put(&tree, tree_cpus(x), "0-3");
        assert_set(x, "1-3");
    }
    tree_put(&tree, tree_cpus(x), "0-3");
    assert_true(wait_state(0, "contested"));
    assert_true(tree_wait_task(pin, 0, "changes_seen", "at the tick"));
    json_int_t events = tree_counter(pin, "events");
    for (int i = 0; i < 100; i++)
        tree_put(&tree, tree_cpus(x), i % 2 ? "0-3" : "0-2");
    /* The pool's file reports its own change, after those writes. */
    tree_share(&tree, "2-3", "1");
    assert_set(x, "2-3");
    assert_true(tree_counter(pin, "events") - events <= 4);
}

static void test_pin__container_ends__gone_quietly(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "1-3");
    start(HOUR);
    assert_true(wait_state(0, "pinned"));
    pthread_mutex_lock(&tree.lock);
    x->present = false;
    pthread_mutex_unlock(&tree.lock);
    pin_wake(pin);
    assert_true(wait_state(0, "gone"));
}

static void test_pin__cores_end__the_others_return(void **state) {
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "1-3");
    struct tree_task *cores = tree_add(&tree, "1", "1");
    start(HOUR);
    assert_set(shared, "2-3");
    pthread_mutex_lock(&tree.lock);
    cores->present = false;
    pthread_mutex_unlock(&tree.lock);
    pin_wake(pin);
    assert_set(shared, "1-3");
}

static void test_pin__systemd_inside__its_own_folder_is_found(void **state) {
    char path[600], text[600];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    snprintf(path, sizeof(path), "%s/init.scope/cgroup.procs", x->cgroup);
    snprintf(text, sizeof(text), "%d\n", (int)x->pid);
    tree_put(&tree, path, text);
    snprintf(path, sizeof(path), "../proc/%d/cgroup", (int)x->pid);
    snprintf(text, sizeof(text), "0::/%s/init.scope\n", x->cgroup);
    tree_put(&tree, path, text);
    start(HOUR);
    assert_set(x, "1-3");
}

/* As crun lays it out: its folder "container" has the set of the create request. */
static void test_pin__inner_folder_with_a_text__follows(void **state) {
    char path[600], text[600], inner[600];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "2-3");
    snprintf(path, sizeof(path), "%s/container/cgroup.procs", x->cgroup);
    snprintf(text, sizeof(text), "%d\n", (int)x->pid);
    tree_put(&tree, path, text);
    snprintf(path, sizeof(path), "../proc/%d/cgroup", (int)x->pid);
    snprintf(text, sizeof(text), "0::/%s/container\n", x->cgroup);
    tree_put(&tree, path, text);
    snprintf(inner, sizeof(inner), "%s/container/cpuset.cpus", x->cgroup);
    tree_put(&tree, inner, "2-3\n");
    start(50 * US_PER_MS);
    assert_set(x, "1-3");
    assert_true(tree_wait(&tree, inner, "1-3"));
    tree_share(&tree, "3", "1-2");
    assert_true(tree_wait(&tree, inner, "3"));
    assert_set(x, "3");
    tree_put(&tree, inner, "1"); /* found at the tick */
    assert_true(tree_wait(&tree, inner, "3"));
}

static void test_pin__any_parent_and_both_cgroup_drivers__found(void **state) {
    static const char *const folders[] = {"my.slice/my-own.slice/docker-%s.scope", "docker/%s",
                                          "my-parent/below/%s"};
    struct tree_task *x[ARRAY_LEN(folders)];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        char folder[256];
        x[i] = tree_add(&tree, "", "0-3");
        const char *at = strstr(folders[i], "%s");
        snprintf(folder, sizeof(folder), "%.*s%s%s", (int)(at - folders[i]), folders[i], x[i]->id,
                 at + 2);
        memcpy(x[i]->cgroup, folder, sizeof(folder));
        tree_put_container(&tree, x[i], "0-3");
    }
    start(HOUR);
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        assert_set(x[i], "1-3");
        assert_true(tree_wait_task(pin, i, "cgroup", x[i]->cgroup));
    }
}

static void test_pin__process_is_elsewhere__untouched(void **state) {
    char path[600], now[64];
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    snprintf(path, sizeof(path), "%s/cgroup.procs", x->cgroup);
    tree_put(&tree, path, "1\n");
    start(20 * US_PER_MS);
    assert_true(wait_state(0, "unmanaged"));
    assert_string_equal(tree_get(&tree, tree_cpus(x), now, sizeof(now)), "0-3");
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
    assert_set(shared, "1");
    assert_set(cores, "2-3");
    assert_true(tree_wait(&tree, cores_mems, "1"));
    assert_true(wait_state(0, "pinned") && wait_state(1, "pinned"));
    assert_string_equal(tree_get(&tree, shared_mems, now, sizeof(now)), "0-1");
}

static void test_pin__no_controller__says_why(void **state) {
    struct pin_options o = tree_options(&tree);
    (void)state;
    tree_put(&tree, "cgroup.controllers", "cpu io\n");
    assert_int_equal(pin_new(&o, &pin), 0);
    assert_non_null(strstr(pin_disabled_reason(pin), "controller"));
    pin_wake(pin);
    json_t *doc = pin_show_status(pin);
    assert_non_null(doc);
    json_decref(doc);
}

/* An agent that is not root: its tasks run, and the reconciler does not try to write. */
static void test_pin__no_right_to_write__says_why(void **state) {
    struct pin_options o = tree_options(&tree);
    (void)state;
    tree_put(&tree, "cgroup.procs", "");
    if (geteuid() != 0)
        fail_msg("needs root: it becomes somebody else");
    /* Of this thread alone, as the kernel sees it. */
    assert_int_equal(syscall(SYS_setresuid, -1, 65534, -1), 0);
    int r = pin_new(&o, &pin);
    assert_int_equal(syscall(SYS_setresuid, -1, 0, -1), 0);
    assert_int_equal(r, 0);
    assert_string_equal(pin_disabled_reason(pin), "this user may not write cgroup files");
}

/* ---- metrics: read as Prometheus reads them ---- */

static size_t name_len(const char *p, bool metric) {
    size_t n = 0;
    while ((p[n] >= 'a' && p[n] <= 'z') || (p[n] >= 'A' && p[n] <= 'Z') || p[n] == '_' ||
           (metric && p[n] == ':') || (n > 0 && p[n] >= '0' && p[n] <= '9'))
        n++;
    return n;
}

/* Behind `name="value"`; NULL = it is none. */
static const char *skip_label(const char *p) {
    size_t n = name_len(p, false);
    if (n == 0 || p[n] != '=' || p[n + 1] != '"')
        return NULL;
    for (p += n + 2; *p && *p != '"'; p++)
        if (*p == '\n' || (*p == '\\' && (!*++p || !strchr("\\\"n", *p))))
            return NULL;
    return *p ? p + 1 : NULL;
}

static bool is_suffix(const char *text, size_t len) {
    static const char *const suffixes[] = {"", "_bucket", "_sum", "_count"};
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
        if (strlen(suffixes[i]) == len && strncmp(text, suffixes[i], len) == 0)
            return true;
    return false;
}

/* A sample of the metric @name. */
static bool is_sample(const char *line, const char *name) {
    size_t n = name_len(line, true), family = strlen(name);
    const char *p = line + n;
    char *end;
    if (n < family || strncmp(line, name, family) != 0 || !is_suffix(line + family, n - family))
        return false;
    if (*p == '{') {
        do
            p = skip_label(p + 1);
        while (p && *p == ',');
        if (!p || *p++ != '}')
            return false;
    }
    return *p == ' ' && p[1] && strtod(p + 1, &end) >= 0 && *end == '\0';
}

/* Each metric: HELP, TYPE, samples; counters end in _total, and no name comes twice. */
static void assert_prometheus(char *text) {
    char seen[32][80], *save = NULL;
    size_t n = 0;
    assert_true(text[0] && text[strlen(text) - 1] == '\n');
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char name[80] = "", kind[16] = "";
        if (strncmp(line, "# HELP ", 7) != 0) {
            if (n == 0 || !is_sample(line, seen[n - 1]))
                fail_msg("no sample: %s", line);
            continue;
        }
        assert_int_equal(sscanf(line, "# HELP %79s", name), 1);
        assert_true(name_len(name, true) == strlen(name) && strlen(line) > 8 + strlen(name));
        for (size_t i = 0; i < n; i++)
            assert_string_not_equal(seen[i], name);
        assert_true(n < ARRAY_LEN(seen));
        snprintf(seen[n++], sizeof(seen[0]), "%s", name);
        line = strtok_r(NULL, "\n", &save);
        assert_non_null(line);
        assert_int_equal(sscanf(line, "# TYPE %79s %15s", name, kind), 2);
        assert_string_equal(name, seen[n - 1]);
        bool total = strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0;
        if (strcmp(kind, "histogram") != 0)
            assert_string_equal(kind, total ? "counter" : "gauge");
    }
    assert_true(n > 5);
}

static void test_pin__metrics(void **state) {
    (void)state;
    struct tree_task *x = tree_add(&tree, "", "0-3");
    snprintf(x->name, sizeof(x->name), "a\"b\\c\nd{},=e");
    start(HOUR);
    assert_set(x, "1-3");
    assert_true(wait_state(0, "pinned"));
    AUTO_FREE char *text = pin_show_metrics(pin);
    assert_non_null(text);
    assert_non_null(strstr(text, "\npaddock_cpuset_tasks{state=\"pinned\"} 1\n"));
    assert_non_null(strstr(text, "\npaddock_cpuset_corrections_total{cause=\"late start\"} 1\n"));
    assert_non_null(strstr(text, ",task=\"a\\\"b\\\\c\\nd{},=e\"} 1\n"));
    assert_prometheus(text);
}

static void test_wanted_now__each_layout(void **state) {
    struct cpuset s;
    char source[512], text[CPUSET_TEXT_MAX];
    (void)state;
    struct tree_task *shared = tree_add(&tree, "", "0-3");
    struct tree_task *cores = tree_add(&tree, "1", "0-3");
    tree_share(&tree, "1-3", "1"); /* the client has not shrunk the pool yet */
    snprintf(source, sizeof(source), "%s/%s", tree.root, shared->source);
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, source, "", &s), 0);
    assert_int_equal(cpuset_format(&s, text, sizeof(text)), 3);
    assert_string_equal(text, "2-3");
    snprintf(source, sizeof(source), "%s/%s", tree.root, cores->source);
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, source, "1", &s), 0);
    assert_int_equal(cpuset_format(&s, text, sizeof(text)), 1);
    assert_string_equal(text, "1");
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, "", "", &s), -ENOENT);
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, "", "2", &s), 0);
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, "/elsewhere/x", "", &s),
                     -ENOENT);
    snprintf(source, sizeof(source), "%s/nomad.slice/share.slice/none.scope", tree.root);
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, source, "", &s), 0);
    assert_int_equal(cpuset_format(&s, text, sizeof(text)), 5);
    assert_string_equal(text, "0,2-3"); /* no source, but a core that somebody has */
    tree_share(&tree, "1-3", "\n");
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, source, "", &s), -ENOENT);
    tree_share(&tree, "\n", "1-3");
    snprintf(source, sizeof(source), "%s/%s", tree.root, shared->source);
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, source, "", &s), 0);
    assert_int_equal(cpuset_format(&s, text, sizeof(text)), 1);
    assert_string_equal(text, "0");
    tree_share(&tree, "\n", "0-3");
    assert_int_equal(pin_wanted_now(NULL, tree.root_fd, tree.root, source, "", &s), -ENODATA);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        TEST(test_pin__wrong_when_found__late_start),
        TEST(test_pin__overwritten__repaired_without_a_tick),
        TEST(test_pin__pool_changes__all_follow_without_a_tick),
        TEST(test_pin__everything_reserved__held),
        TEST(test_pin__every_cpu_reserved__stays_and_is_reported),
        TEST(test_pin__everything_reserved_at_the_start__off_the_cores_of_others),
        TEST(test_pin__effective_is_the_ancestors__not_wider_than_the_pool),
        TEST(test_pin__wanted_cpus_offline__spilled_off_the_cores_of_others),
        TEST(test_pin__upgraded_client__its_slices_are_followed),
        TEST(test_pin__reserve_slice_without_cores__held),
        TEST(test_pin__contested_and_narrowed_by_nomad__without_a_tick),
        TEST(test_pin__own_threads__off_the_reserved_cores),
        TEST(test_affinity_wanted__within_the_initial_mask),
        TEST(test_affinity_widen__only_what_nobody_chose),
        TEST(test_pin__own_threads__narrow_mask_stays),
        TEST(test_pin__last_state__always_reported),
        TEST(test_pin__effective_opened_later__followed),
        TEST(test_pin__source_gone__held_and_kept),
        TEST(test_pin__old_client__its_file_is_followed),
        TEST(test_pin__old_client__blank_scope_held),
        TEST(test_pin__no_source__unmanaged_and_untouched),
        TEST(test_pin__effective_smaller__constrained),
        TEST(test_pin__set_again_and_again__contested),
        TEST(test_pin__contested__further_writes_are_no_events),
        TEST(test_pin__container_ends__gone_quietly),
        TEST(test_pin__cores_end__the_others_return),
        TEST(test_pin__systemd_inside__its_own_folder_is_found),
        TEST(test_pin__inner_folder_with_a_text__follows),
        TEST(test_pin__any_parent_and_both_cgroup_drivers__found),
        TEST(test_pin__process_is_elsewhere__untouched),
        TEST(test_pin__mems_follow__cores_alone),
        TEST(test_pin__no_controller__says_why),
        TEST(test_pin__no_right_to_write__says_why),
        TEST(test_pin__metrics),
        TEST(test_wanted_now__each_layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
