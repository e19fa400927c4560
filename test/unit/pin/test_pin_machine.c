/* SPDX-License-Identifier: MPL-2.0 */
/* The rule of the cpusets on random machines with random events: cores are reserved and released,
 * the client's files are late, other programs write, reads and writes fail, CPUs go offline.
 *
 * After each pass the test checks:
 * - No set that is written is empty or contains a core that another task has reserved.
 * - A held task is on such a core only when no other CPU exists.
 * - The set is right after one pass. The test computes the right set in another way.
 * - The next pass writes nothing. */
#include "paddock/pin_plan.h"
#include "unit/cm.h"

#include <string.h>

#define TASKS 7u
#define RARE_ODDS 4u /* a rare case has a chance of one in so many */

static uint64_t seed = 88172645463325252ull;

static unsigned roll(unsigned n) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 11) % n;
}

static bool rarely(void) {
    return roll(RARE_ODDS) == 0;
}

static void random_set(struct cpuset *s, unsigned cpus) {
    *s = (struct cpuset){{0}};
    for (unsigned cpu = 0; cpu < cpus; cpu++)
        if (roll(2))
            cpuset_add(s, cpu);
}

static int random_failure(void) {
    static const int r[] = {-ENODEV, -ENOENT, -EACCES, -EINVAL};
    return r[roll(ARRAY_LEN(r))];
}

/* ---- The machine ---- */

struct sim_task {
    bool cores; /* has the cores @own; otherwise shared */
    struct cpuset own, actual, last_good, refused;
    int actual_r;
    bool has_last_good;
    uint64_t retry_at_us;
    /* in this pass */
    bool source_fails, disturbed;
    enum pin_hold hold;
};

struct machine {
    unsigned cpus;
    struct cpuset online, usable, pool_file, reserve_file; /* what the client has written */
    struct sim_task tasks[TASKS];                          /* the first three are always shared */
    uint64_t now_us;
};

static void reserved_of(const struct machine *m, const struct sim_task *but, struct cpuset *ret) {
    *ret = (struct cpuset){{0}};
    for (const struct sim_task *t = m->tasks; t < m->tasks + TASKS; t++)
        if (t->cores && t != but)
            cpuset_union(ret, &t->own);
}

/* The CPUs that the task may not use. */
static void others_of(const struct machine *m, const struct sim_task *t, struct cpuset *ret) {
    reserved_of(m, t, ret);
    cpuset_union(ret, &m->reserve_file);
    if (t->cores)
        cpuset_subtract(ret, &t->own);
}

static void client_writes(struct machine *m) {
    reserved_of(m, NULL, &m->reserve_file);
    m->pool_file = m->usable;
    cpuset_subtract(&m->pool_file, &m->reserve_file);
}

static void machine_init(struct machine *m) {
    *m = (struct machine){.cpus = 1 + roll(12), .now_us = 1};
    for (unsigned cpu = 0; cpu < m->cpus; cpu++)
        cpuset_add(&m->online, cpu);
    random_set(&m->usable, m->cpus);
    for (unsigned i = 0; i < TASKS; i++)
        random_set(&m->tasks[i].actual, m->cpus);
    client_writes(m);
}

/* A core belongs to one task. A task that ends releases its cores. */
static void reserve_or_release(struct machine *m) {
    struct sim_task *t = &m->tasks[3 + roll(TASKS - 3)];
    struct cpuset taken, own;
    reserved_of(m, NULL, &taken);
    random_set(&own, m->cpus);
    cpuset_intersect(&own, &m->usable);
    cpuset_subtract(&own, &taken);
    *t = (struct sim_task){.cores = !t->cores && !cpuset_is_empty(&own), .own = own};
    random_set(&t->actual, m->cpus);
    if (!rarely())
        client_writes(m);
}

static void disturb(struct machine *m) {
    struct sim_task *t = &m->tasks[roll(TASKS)];
    random_set(&t->actual, m->cpus);
    t->actual_r = cpuset_is_empty(&t->actual) ? -ENODATA : 0;
}

/* ---- A pass ---- */

static enum pin_hold wanted_of(const struct machine *m, const struct sim_task *t,
                               const struct cpuset *others, struct cpuset *ret) {
    struct cpuset effective = m->pool_file;
    if (t->cores) /* a reserve scope's effective set has the cores of all tasks */
        effective = m->reserve_file;
    else if (cpuset_is_empty(&effective)) /* an empty pool: the ancestor's set is effective */
        for (unsigned cpu = 0; cpu < m->cpus; cpu++)
            cpuset_add(&effective, cpu);
    struct pin_source s = {.has_path = true,
                           .in_reserve = t->cores,
                           .in_share = !t->cores,
                           .own = t->cores ? &t->own : NULL,
                           .others = others,
                           .cpus_r = -ENODATA,
                           .cpus = &m->usable,
                           .effective_r = t->source_fails ? random_failure() : 0,
                           .effective = &effective,
                           .pool_r = cpuset_is_empty(&m->pool_file) ? -ENODATA : 0,
                           .pool = &m->pool_file};
    return pin_plan_source_wanted(&s, ret);
}

/* Runs the plan for one task. Returns whether it wanted to write. */
static bool check(const struct machine *m, struct sim_task *t, bool reads_fail, bool write_fails) {
    struct cpuset others, kernel = t->actual;
    struct pin_plan p;
    if (rarely())
        random_set(&kernel, m->cpus); /* some CPUs are offline */
    others_of(m, t, &others);
    struct pin_view v = {.has_last_good = t->has_last_good,
                         .last_good = t->last_good,
                         .others = &others,
                         .online = &m->online,
                         .actual_r = reads_fail ? random_failure() : t->actual_r,
                         .actual = &t->actual,
                         .effective = &kernel,
                         .at_tick = roll(2),
                         .retry_at_us = t->retry_at_us,
                         .refused = &t->refused,
                         .now_us = m->now_us};
    v.hold = t->hold = wanted_of(m, t, &others, &v.wanted);
    pin_plan(&v, &p);
    t->disturbed = p.state == PIN_FAILED || p.state == PIN_PENDING;
    if (p.action == PIN_DO_WRITE) {
        assert_false(cpuset_is_empty(&p.set));
        assert_false(cpuset_intersects(&p.set, &others));
        struct cpuset left = v.last_good;
        cpuset_subtract(&left, &others);
        if (v.hold != PIN_HOLD_NOT && v.has_last_good && !cpuset_is_empty(&left))
            assert_true(cpuset_contains(&v.last_good, &p.set));
        if (write_fails) {
            t->refused = p.set;
            t->retry_at_us = m->now_us + 1 + roll(3);
            t->disturbed = true;
            return true;
        }
        t->actual = p.set;
        t->actual_r = 0;
    }
    if (v.hold == PIN_HOLD_NOT && !t->disturbed) {
        t->last_good = v.wanted;
        t->has_last_good = true;
        t->retry_at_us = 0;
    }
    return p.action == PIN_DO_WRITE;
}

/* Checks each CPU: may the task use it? */
static void assert_right(const struct machine *m, const struct sim_task *t) {
    bool any = false;
    for (unsigned cpu = 0; cpu < m->cpus && t->hold == PIN_HOLD_NOT; cpu++) {
        bool free = cpuset_has(&m->pool_file, cpu) && !cpuset_has(&m->reserve_file, cpu);
        for (unsigned i = 0; i < TASKS; i++)
            free = free && !(m->tasks[i].cores && cpuset_has(&m->tasks[i].own, cpu));
        bool may = t->cores ? cpuset_has(&t->own, cpu) : free;
        assert_int_equal(cpuset_has(&t->actual, cpu), may);
        any = any || may;
    }
    assert_int_equal(any, t->hold == PIN_HOLD_NOT);
}

/* A held task is on reserved cores only when no other CPU exists. When some CPUs of its last good
 * set are not reserved, it stays within them. */
static void assert_held_well(const struct machine *m, const struct sim_task *t) {
    struct cpuset others, left = t->last_good, free = m->online;
    others_of(m, t, &others);
    cpuset_subtract(&left, &others);
    cpuset_subtract(&free, &others);
    if (cpuset_is_empty(&free))
        return;
    if (t->actual_r == -ENODATA) { /* never managed: not changed while no core is reserved */
        assert_false(t->has_last_good || cpuset_intersects(&m->online, &others));
        return;
    }
    assert_false(cpuset_intersects(&t->actual, &others));
    if (t->has_last_good && !cpuset_is_empty(&left))
        assert_true(cpuset_contains(&left, &t->actual));
}

static void pass(struct machine *m) {
    for (unsigned i = 0; i < TASKS; i++) {
        struct sim_task *t = &m->tasks[i];
        t->source_fails = !t->cores && rarely();
        check(m, t, rarely(), rarely());
        if (t->disturbed)
            continue;
        if (t->hold == PIN_HOLD_NOT)
            assert_right(m, t);
        else
            assert_held_well(m, t);
        assert_false(check(m, t, false, false));
    }
    m->now_us++;
}

static void test_machine__random_history__promises_hold(void **state) {
    (void)state;
    for (int i = 0; i < 400; i++) {
        struct machine m;
        machine_init(&m);
        for (int step = 0; step < 40; step++) {
            if (roll(2))
                reserve_or_release(&m);
            else
                disturb(&m);
            pass(&m);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_machine__random_history__promises_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
