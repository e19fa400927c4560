/* SPDX-License-Identifier: MPL-2.0 */
/* The CPUs that the pump's threads may use. The plugin sets them, at any time of the pump's
 * life. Every test needs two CPUs. */
#include "fake/pump_world.h"

#include "paddock/affinity.h"
#include "paddock/logpump.h"
#include "src/task/driver_priv.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

struct wanted_mask {
    pid_t pid;
    struct affinity mask;
};

static bool all_have_mask(void *ctx) {
    const struct wanted_mask *want = ctx;
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)want->pid);
    DIR *d = opendir(path);
    unsigned threads = 0, have = 0;
    for (const struct dirent *e; d && (e = readdir(d));) {
        struct affinity now;
        pid_t tid = (pid_t)strtol(e->d_name, NULL, 10);
        if (tid > 0 && affinity_get(tid, &now) == 0) {
            threads++;
            have += memcmp(&now, &want->mask, sizeof(now)) == 0;
        }
    }
    if (d)
        closedir(d);
    return threads >= 2 && have == threads; /* the loop and the thread that opens files */
}

/* @wide: all CPUs of this process; @narrow: the first of them. */
static void fill_masks(struct world *w, struct wanted_mask *wide, struct wanted_mask *narrow) {
    size_t word = 0;
    *narrow = *wide = (struct wanted_mask){.pid = world_pump(w)};
    assert_true(wide->pid > 1);
    assert_int_equal(affinity_get(0, &wide->mask), 0);
    while (!wide->mask.mask[word])
        word++;
    narrow->mask.mask[word] = wide->mask.mask[word] & -wide->mask.mask[word];
    if (memcmp(&narrow->mask, &wide->mask, sizeof(wide->mask)) == 0)
        fail_msg("this test needs two CPUs");
}

/* The plugin's threads do not use the reserved cores when the pump is started. */
static void test_pump__started_by_narrow_plugin__has_the_first_mask(void **state) {
    struct pump_world *x = *state;
    struct wanted_mask wide, narrow;
    fill_masks(&x->w, &wide, &narrow);
    assert_int_equal(affinity_set_all(0, &narrow.mask), 0);
    world_pump_kill(&x->w);
    pump_world_until_other(x, wide.pid);
    wide.pid = world_pump(&x->w);
    world_until(all_have_mask, &wide, "the mask of the pump's threads");
    assert_int_equal(affinity_set_all(0, &wide.mask), 0);
}

/* Cores are reserved while a pump runs, and released while the next one runs. */
static void test_pump__reserved_cores_change__its_threads_follow(void **state) {
    struct pump_world *x = *state;
    struct wanted_mask wide, narrow;
    fill_masks(&x->w, &wide, &narrow);
    logpump_set_affinity(x->w.d->pump, &narrow.mask);
    world_until(all_have_mask, &narrow, "the mask of the pump's threads");
    world_pump_kill(&x->w);
    pump_world_until_other(x, wide.pid);
    wide.pid = narrow.pid = world_pump(&x->w);
    world_until(all_have_mask, &narrow, "the mask of the next pump's threads");
    logpump_set_affinity(x->w.d->pump, &wide.mask);
    world_until(all_have_mask, &wide, "the wide mask again");
}

/* A pump outlives the plugin, and the reservations that the plugin knew. */
static void test_pump__met_by_the_next_plugin__has_its_mask(void **state) {
    struct pump_world *x = *state;
    struct wanted_mask wide, narrow;
    struct call call = call_within(NULL, WORLD_WAIT_US);
    struct driver_started s = {0};
    struct task_config two;
    world_task(&x->w, &two, "two", PUMP_WORLD_RUNS);
    world_run(&x->w, &two, &s);
    fill_masks(&x->w, &wide, &narrow);
    world_driver_free(&x->w);
    assert_int_equal(affinity_set_all(narrow.pid, &narrow.mask), 0);
    world_driver_new(&x->w, "{}");
    assert_int_equal(task_recover(x->w.d, &call, &two, s.state, s.state_len, NULL), 0);
    world_until(all_have_mask, &wide, "the mask of the next plugin");
    assert_int_equal(world_pump(&x->w), wide.pid);
    task_start_done(&s);
    task_config_done(&two);
}

static const struct CMUnitTest tests[] = {
    PUMP_WORLD_T(test_pump__started_by_narrow_plugin__has_the_first_mask),
    PUMP_WORLD_T(test_pump__reserved_cores_change__its_threads_follow),
    PUMP_WORLD_T(test_pump__met_by_the_next_plugin__has_its_mask),
};
WORLD_MAIN(tests)
