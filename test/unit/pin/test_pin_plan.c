/* The rule, row by row, and its promises on random layouts. Sets are written as list text, "" =
 * none. */
#include "paddock/pin_plan.h"
#include "unit/cm.h"

#include <stdio.h>
#include <string.h>

static void set_of(const char *text, struct cpuset *ret) {
    if (cpuset_parse(text, strlen(text), ret) < 0)
        *ret = (struct cpuset){{0}};
}

static void assert_is(const char *row, const struct cpuset *s, const char *text) {
    char now[CPUSET_TEXT_MAX];
    struct cpuset want;
    set_of(text, &want);
    if (cpuset_format(s, now, sizeof(now)) < 0 || !cpuset_equal(s, &want))
        fail_msg("%s: %s, not %s", row, now, text);
}

/* ---- the wanted set ---- */

#define GONE (-ENOENT)
#define BLANK (-ENODATA)

static const struct wanted_row {
    const char *name;
    bool no_path, in_reserve, in_share, share_blank;
    const char *own, *others;
    int cpus_r;
    const char *cpus;
    int effective_r;
    const char *effective;
    enum pin_hold hold;
    const char *want;
} wanted_rows[] = {
    {"1.7 cores: exactly its own, not the scope's effective", .in_reserve = true, .own = "2",
     .others = "3", .cpus_r = BLANK, .effective = "2-3", .want = "2"},
    {"1.7 cores: the scope need not be readable", .in_reserve = true, .own = "2", .cpus_r = GONE,
     .effective_r = GONE, .want = "2"},
    {"cores without a path: exactly its own", .no_path = true, .own = "2", .want = "2"},
    {"1.7 shared: the effective set", .in_share = true, .cpus_r = BLANK, .effective = "1-3",
     .want = "1-3"},
    {"1.7 shared: minus what is reserved", .in_share = true, .cpus_r = BLANK, .effective = "1-3",
     .others = "1", .want = "2-3"},
    {"1.7 shared: all reserved, blank pool: not the ancestor's", .in_share = true,
     .share_blank = true, .cpus_r = BLANK, .effective = "0-3", .others = "1-3",
     .hold = PIN_HOLD_EMPTY},
    {"1.7 shared: nothing is left", .in_share = true, .cpus_r = BLANK, .effective = "1-3",
     .others = "1-3", .hold = PIN_HOLD_EMPTY},
    {"1.7 shared: blank effective", .in_share = true, .cpus_r = BLANK, .effective_r = BLANK,
     .hold = PIN_HOLD_EMPTY},
    {"1.6 shared: the scope's own file", .cpus = "1-2", .effective = "0-3", .want = "1-2"},
    {"1.6 shared: minus the cores of known tasks", .cpus = "1-3", .others = "1", .want = "2-3"},
    {"1.6 cores: the client's answer, pool and own", .own = "1", .cpus = "1-3", .want = "1-3"},
    {"1.6 cores: minus those of others", .own = "1", .others = "2", .cpus = "1-3", .want = "1,3"},
    {"no path", .no_path = true, .hold = PIN_HOLD_NO_PATH},
    {"unreadable", .cpus_r = GONE, .effective_r = GONE, .hold = PIN_HOLD_GONE},
    {"its cgroup is gone", .cpus_r = -ENODEV, .effective = "1-3", .hold = PIN_HOLD_GONE},
    {"nonsense in it", .cpus_r = -EINVAL, .effective = "1-3", .hold = PIN_HOLD_GONE},
    {"effective unreadable", .cpus_r = BLANK, .effective_r = GONE, .hold = PIN_HOLD_GONE},
};

static void test_wanted__each_row(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wanted_rows); i++) {
        const struct wanted_row *w = &wanted_rows[i];
        struct cpuset own, others, cpus, effective, ret = {{0}};
        set_of(w->own ? w->own : "", &own);
        set_of(w->others ? w->others : "", &others);
        set_of(w->cpus ? w->cpus : "", &cpus);
        set_of(w->effective ? w->effective : "", &effective);
        struct pin_source s = {.has_path = !w->no_path,
                               .in_reserve = w->in_reserve,
                               .in_share = w->in_share,
                               .share_blank = w->share_blank,
                               .own = w->own ? &own : NULL,
                               .others = w->others ? &others : NULL,
                               .cpus_r = w->cpus_r,
                               .cpus = &cpus,
                               .effective_r = w->effective_r,
                               .effective = &effective};
        enum pin_hold hold = pin_source_wanted(&s, &ret);
        if (hold != w->hold)
            fail_msg("%s: hold \"%s\", not \"%s\"", w->name, pin_hold_name(hold),
                     pin_hold_name(w->hold));
        assert_is(w->name, &ret, w->want ? w->want : "");
    }
}

/* ---- the decision ---- */

static const struct plan_row {
    const char *name;
    enum pin_hold hold;
    const char *wanted, *last_good, *others;
    int actual_r;
    const char *actual, *effective;
    bool at_tick, overwrites;
    uint64_t retry_at_us; /* now is 100 */
    const char *write;    /* NULL = nothing */
    enum pin_state state;
    enum pin_cause cause;
} plan_rows[] = {
    {"right", .wanted = "1-3", .actual = "1-3", .effective = "1-3", .state = PIN_PINNED},
    {"first seen, wrong", .wanted = "1-3", .actual = "0-3", .effective = "0-3", .write = "1-3",
     .state = PIN_PINNED, .cause = PIN_CAUSE_LATE_START},
    {"first seen, blank", .wanted = "1-3", .actual_r = BLANK, .effective = "0-3", .write = "1-3",
     .state = PIN_PINNED, .cause = PIN_CAUSE_LATE_START},
    {"Nomad changed it", .wanted = "2-3", .last_good = "1-3", .actual = "1-3", .effective = "1-3",
     .write = "2-3", .state = PIN_PINNED, .cause = PIN_CAUSE_SOURCE},
    {"somebody changed it", .wanted = "2-3", .last_good = "2-3", .actual = "0-3",
     .effective = "0-3", .write = "2-3", .state = PIN_PINNED, .cause = PIN_CAUSE_OVERWRITTEN},
    {"both did", .wanted = "2-3", .last_good = "1-3", .actual = "0", .effective = "0",
     .write = "2-3", .state = PIN_PINNED, .cause = PIN_CAUSE_OVERWRITTEN},
    {"somebody made it blank", .wanted = "2-3", .last_good = "2-3", .actual_r = BLANK,
     .effective = "0-3", .write = "2-3", .state = PIN_PINNED, .cause = PIN_CAUSE_OVERWRITTEN},
    {"a CPU is offline", .wanted = "1-3", .last_good = "1-3", .actual = "1-3", .effective = "1-2",
     .state = PIN_CONSTRAINED},
    {"held: it is where it was", .hold = PIN_HOLD_EMPTY, .last_good = "1-3", .actual = "1-3",
     .state = PIN_HELD},
    {"held: nothing known", .hold = PIN_HOLD_EMPTY, .actual = "0-3", .state = PIN_HELD},
    {"held: widened by somebody", .hold = PIN_HOLD_GONE, .last_good = "1-3", .actual = "0-3",
     .write = "1-3", .state = PIN_HELD, .cause = PIN_CAUSE_OVERWRITTEN},
    {"held: narrowed by somebody", .hold = PIN_HOLD_GONE, .last_good = "1-3", .actual = "2",
     .state = PIN_HELD},
    {"held: part of it is others' now", .hold = PIN_HOLD_GONE, .last_good = "1-3", .others = "1",
     .actual = "1-3", .write = "2-3", .state = PIN_HELD, .cause = PIN_CAUSE_SOURCE},
    {"held: all of it is others' now", .hold = PIN_HOLD_EMPTY, .last_good = "1-3", .others = "1-3",
     .actual = "1-3", .state = PIN_HELD},
    {"unmanaged is left alone", .hold = PIN_HOLD_NO_PATH, .last_good = "1-3", .actual = "0-3",
     .state = PIN_UNMANAGED},
    {"refused, too early", .wanted = "1-3", .actual = "0-3", .retry_at_us = 101,
     .state = PIN_FAILED},
    {"refused, time to try", .wanted = "1-3", .actual = "0-3", .retry_at_us = 100, .write = "1-3",
     .state = PIN_PINNED, .cause = PIN_CAUSE_LATE_START},
    {"refused, but right by now", .wanted = "1-3", .actual = "1-3", .effective = "1-3",
     .retry_at_us = 101, .state = PIN_PINNED},
    {"contested, an event", .wanted = "1-3", .last_good = "1-3", .actual = "0-3",
     .overwrites = true, .state = PIN_CONTESTED},
    {"contested, the tick", .wanted = "1-3", .last_good = "1-3", .actual = "0-3",
     .overwrites = true, .at_tick = true, .write = "1-3", .state = PIN_CONTESTED,
     .cause = PIN_CAUSE_OVERWRITTEN},
    {"the cgroup is gone", .wanted = "1-3", .actual_r = -ENODEV, .state = PIN_PENDING},
    {"unreadable", .wanted = "1-3", .actual_r = -EACCES, .state = PIN_FAILED},
    {"nonsense in it", .wanted = "1-3", .last_good = "1-3", .actual_r = -EINVAL, .write = "1-3",
     .state = PIN_PINNED, .cause = PIN_CAUSE_OVERWRITTEN},
};

static void test_plan__each_row(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(plan_rows); i++) {
        const struct plan_row *w = &plan_rows[i];
        struct cpuset others, actual, effective;
        struct pin_view v = {.hold = w->hold,
                             .has_last_good = w->last_good != NULL,
                             .others = &others,
                             .actual_r = w->actual_r,
                             .actual = &actual,
                             .effective = &effective,
                             .effective_r = w->effective ? 0 : -ENODEV,
                             .at_tick = w->at_tick,
                             .recent_overwrites = w->overwrites,
                             .retry_at_us = w->retry_at_us,
                             .now_us = 100};
        struct pin_plan p;
        set_of(w->wanted ? w->wanted : "", &v.wanted);
        set_of(w->last_good ? w->last_good : "", &v.last_good);
        set_of(w->others ? w->others : "", &others);
        set_of(w->actual ? w->actual : "", &actual);
        set_of(w->effective ? w->effective : "", &effective);
        pin_plan(&v, &p);
        if ((p.action == PIN_DO_WRITE) != (w->write != NULL))
            fail_msg("%s: %s", w->name, w->write ? "not written" : "written");
        if (w->write)
            assert_is(w->name, &p.set, w->write);
        if (p.state != w->state || p.cause != w->cause)
            fail_msg("%s: %s, \"%s\"", w->name, pin_state_name(p.state), pin_cause_name(p.cause));
    }
}

/* ---- promises ---- */

static uint64_t seed = 88172645463325252ull;

static unsigned roll(unsigned n) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 11) % n;
}

static void random_set(struct cpuset *s, unsigned cpus) {
    *s = (struct cpuset){{0}};
    for (unsigned cpu = 0; cpu < cpus; cpu++)
        if (roll(2))
            cpuset_add(s, cpu);
}

static int random_failure(void) {
    static const int r[] = {0, 0, 0, 0, -ENODATA, -ENODEV, -ENOENT, -EACCES, -EINVAL};
    return r[roll(ARRAY_LEN(r))];
}

/* One task in a random layout: files that fail at random, a container anywhere. */
static void one_round(unsigned cpus) {
    struct cpuset own, others, files, effective, actual, kernel;
    random_set(&own, cpus);
    random_set(&others, cpus);
    random_set(&files, cpus);
    random_set(&effective, cpus);
    random_set(&actual, cpus);
    random_set(&kernel, cpus);
    cpuset_subtract(&others, &own); /* the scheduler gives a core once */
    bool cores = roll(2) && !cpuset_is_empty(&own);
    struct pin_source s = {.has_path = roll(8) != 0,
                           .in_reserve = roll(2),
                           .own = cores ? &own : NULL,
                           .others = &others,
                           .cpus_r = random_failure(),
                           .cpus = &files,
                           .effective_r = random_failure(),
                           .effective = &effective,
                           .share_blank = roll(4) == 0};
    s.in_share = !s.in_reserve && roll(2);
    struct pin_view v = {.others = &others,
                         .actual_r = random_failure(),
                         .actual = &actual,
                         .effective_r = random_failure(),
                         .effective = &kernel,
                         .has_last_good = roll(2),
                         .at_tick = roll(2),
                         .recent_overwrites = roll(4) == 0,
                         .retry_at_us = roll(3),
                         .now_us = 1};
    random_set(&v.last_good, cpus);
    v.hold = pin_source_wanted(&s, &v.wanted);
    struct pin_plan p;
    pin_plan(&v, &p);
    if (p.action != PIN_DO_WRITE)
        return;
    assert_false(cpuset_is_empty(&p.set));
    assert_false(cpuset_intersects(&p.set, &others));
    if (v.hold != PIN_HOLD_NOT)
        assert_true(cpuset_contains(&v.last_good, &p.set));
    /* In one pass: with what was written in place nothing more is to be done. */
    v.actual = &p.set;
    v.actual_r = 0;
    struct pin_plan again;
    pin_plan(&v, &again);
    assert_int_equal(again.action, PIN_DO_NOTHING);
}

static void test_plan__random_layouts__promises_hold(void **state) {
    (void)state;
    for (int i = 0; i < 200000; i++)
        one_round(1 + roll(12));
}

/* Every task of a machine at once: no core of a `cores` task is in anybody else's set. */
static void test_wanted__random_machine__exclusive(void **state) {
    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct cpuset reserved[3], all = {{0}}, pool = {{0}}, got[6];
        for (unsigned t = 0; t < 3; t++)
            reserved[t] = (struct cpuset){{0}};
        for (unsigned cpu = 0; cpu < 8; cpu++) {
            unsigned to = roll(5);
            cpuset_add(to < 3 ? &reserved[to] : &pool, cpu);
        }
        for (unsigned t = 0; t < 3; t++)
            cpuset_union(&all, &reserved[t]);
        /* The pool's file is late: it still holds cores that are reserved by now. */
        cpuset_union(&pool, &reserved[roll(3)]);
        unsigned n = 0;
        for (unsigned t = 0; t < 6; t++) {
            struct cpuset others = all;
            if (t < 3)
                cpuset_subtract(&others, &reserved[t]);
            struct pin_source s = {.has_path = true,
                                   .in_reserve = t < 3,
                                   .in_share = t >= 3,
                                   .own = t < 3 && !cpuset_is_empty(&reserved[t]) ? &reserved[t]
                                                                                  : NULL,
                                   .others = &others,
                                   .cpus_r = -ENODATA,
                                   .effective = &pool};
            if (t < 3 && !s.own)
                continue;
            if (pin_source_wanted(&s, &got[n]) != PIN_HOLD_NOT)
                continue;
            assert_false(cpuset_intersects(&got[n], &others));
            n++;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wanted__each_row),
        cmocka_unit_test(test_plan__each_row),
        cmocka_unit_test(test_plan__random_layouts__promises_hold),
        cmocka_unit_test(test_wanted__random_machine__exclusive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
