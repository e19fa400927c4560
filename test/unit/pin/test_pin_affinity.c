/* SPDX-License-Identifier: MPL-2.0 */
/* The plugin's own threads stay off the cores that Nomad has reserved for tasks. */
#include "src/pin/pin_affinity.h"
#include "paddock/cpuset.h"
#include "unit/pin/pin_world.h"

#include <dirent.h>
#include <sched.h>
#include <sys/eventfd.h>

/* A second thread of the plugin. It waits for *@arg, an eventfd. */
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

/* The mask of the last report: its first 64 CPUs. */
static _Atomic unsigned long reported_mask;

static void on_affinity(void *ctx, const struct affinity *a) {
    (void)ctx;
    reported_mask = a->mask[0];
}

static bool was_reported(const json_t *status, void *ctx) {
    bool same = true;
    (void)status;
    for (unsigned cpu = 0; cpu < AFFINITY_WORD_BITS; cpu++)
        same = same && (reported_mask >> cpu & 1) == (CPU_ISSET(cpu, (cpu_set_t *)ctx) != 0);
    return same;
}

/* Uses the CPUs of this machine. The last one is reserved. */
static void test_pin__own_threads__off_the_reserved_cores(void **state) {
    cpu_set_t before, want;
    char cpus[16], online[32];
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    int last = CPU_SETSIZE - 1;
    while (last > 0 && !CPU_ISSET(last, &before))
        last--;
    assert_true(CPU_COUNT(&before) >= 2); /* a machine with one CPU cannot show it */
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
    o.interval_us = PIN_WORLD_HOUR;
    o.own_affinity = true;
    o.affinity = on_affinity;
    assert_int_equal(pin_new(&o, &pin), 0);
    bool off = tree_wait_status(pin, all_are_on, &want);
    bool reported_off = tree_wait_status(pin, was_reported, &want);
    pthread_mutex_lock(&tree.lock);
    x->present = false;
    pthread_mutex_unlock(&tree.lock);
    pin_wake(pin);
    bool back = tree_wait_status(pin, all_are_on, &before);
    bool reported_back = tree_wait_status(pin, was_reported, &before);
    assert_int_equal(eventfd_write(fd, 1), 0);
    pthread_join(other, NULL);
    close(fd);
    sched_setaffinity(0, sizeof(before), &before);
    assert_true(off && back);
    assert_true(reported_off && reported_back);
}

/* The result stays within the agent's initial CPUs, even when all of them are reserved. */
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

/* A mask of all online CPUs was not chosen. It is widened, because CPUs may be added. */
static void test_affinity_widen__only_a_mask_that_was_not_chosen(void **state) {
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

/* This process may use a single CPU, which is reserved. Another CPU is free. Nothing changes. */
static void test_pin__own_threads__narrow_mask_stays(void **state) {
    cpu_set_t before, narrow;
    char cpus[16], online[32];
    int first = 0, last = CPU_SETSIZE - 1;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    assert_true(CPU_COUNT(&before) >= 2); /* a machine with one CPU cannot show it */
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
    bool pinned = pin_world_wait_state(0, "pinned");
    bool ticked = tree_wait_counter(pin, "ticks", 2);
    bool stays = all_are_on(NULL, &narrow);
    sched_setaffinity(0, sizeof(before), &before);
    assert_true(pinned && ticked && stays);
}

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        PIN_WORLD_TEST(test_pin__own_threads__off_the_reserved_cores),
        PIN_WORLD_TEST(test_affinity_wanted__within_the_initial_mask),
        PIN_WORLD_TEST(test_affinity_widen__only_a_mask_that_was_not_chosen),
        PIN_WORLD_TEST(test_pin__own_threads__narrow_mask_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
