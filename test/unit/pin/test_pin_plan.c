/* SPDX-License-Identifier: MPL-2.0 */
/* The rule of the cpusets, row by row. Sets are written as list text; "" is the empty set. */
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

/* ---- Wanted set ---- */

#define GONE (-ENOENT)
#define BLANK (-ENODATA)

#define NONE (-ENOENT) /* no share.slice exists */

static const struct wanted_row {
    const char *name;
    bool no_path, in_reserve, in_share;
    const char *own, *others;
    int cpus_r;
    const char *cpus;
    int effective_r;
    const char *effective;
    int pool_r;
    const char *pool;
    enum pin_hold hold;
    const char *want;
} wanted_rows[] = {
    {"1.7 cores: exactly its own, not the scope's effective", .in_reserve = true, .own = "2",
     .others = "3", .cpus_r = BLANK, .effective = "2-3", .pool_r = NONE, .want = "2"},
    {"1.7 cores: the scope need not be readable", .in_reserve = true, .own = "2", .cpus_r = GONE,
     .effective_r = GONE, .pool_r = NONE, .want = "2"},
    {"reserve.slice without own cores: held, not shared", .in_reserve = true, .cpus_r = BLANK,
     .effective = "2-3", .pool_r = NONE, .hold = PIN_HOLD_NO_CORES},
    {"cores without a path: exactly its own", .no_path = true, .own = "2", .pool_r = NONE,
     .want = "2"},
    {"1.7 shared: the effective set", .in_share = true, .cpus_r = BLANK, .effective = "1-3",
     .pool = "1-3", .want = "1-3"},
    {"1.7 shared: without reserved cores", .in_share = true, .cpus_r = BLANK, .effective = "1-3",
     .pool = "1-3", .others = "1", .want = "2-3"},
    {"1.7 shared: blank pool: not the ancestor's", .in_share = true, .cpus_r = BLANK,
     .effective = "0-3", .pool_r = BLANK, .others = "1-3", .hold = PIN_HOLD_EMPTY},
    {"1.7 shared: the pool became blank after it was read", .in_share = true, .cpus_r = BLANK,
     .effective = "0-3", .pool = "2-3", .others = "1", .want = "2-3"},
    {"1.7 shared: the pool grew after it was read", .in_share = true, .cpus_r = BLANK,
     .effective = "1-3", .pool = "2-3", .want = "2-3"},
    {"1.7 shared: the pool cannot be read", .in_share = true, .cpus_r = BLANK, .effective = "0-3",
     .pool_r = -EIO, .hold = PIN_HOLD_GONE},
    {"1.7 shared: a text in the scope's own file changes nothing", .in_share = true, .cpus = "0-3",
     .effective = "2-3", .pool = "2-3", .want = "2-3"},
    {"1.7 shared: a narrower text in it narrows the effective set", .in_share = true, .cpus = "3",
     .effective = "3", .pool = "1-3", .want = "3"},
    {"1.7 shared: every CPU of the pool is reserved", .in_share = true, .cpus_r = BLANK,
     .effective = "1-3", .pool = "1-3", .others = "1-3", .hold = PIN_HOLD_EMPTY},
    {"1.7 shared: blank effective", .in_share = true, .cpus_r = BLANK, .effective_r = BLANK,
     .pool = "1-3", .hold = PIN_HOLD_EMPTY},
    {"1.7 shared: effective unreadable", .in_share = true, .cpus_r = BLANK, .effective_r = GONE,
     .pool = "1-3", .hold = PIN_HOLD_GONE},
    {"1.6 shared: the scope's own file", .cpus = "1-2", .effective = "0-3", .pool_r = NONE,
     .want = "1-2"},
    {"1.6 shared: without the cores of known tasks", .cpus = "1-3", .others = "1", .pool_r = NONE,
     .want = "2-3"},
    {"1.6 cores: the client's answer, pool and own", .own = "1", .cpus = "1-3", .pool_r = NONE,
     .want = "1-3"},
    {"1.6 cores: without the cores of others", .own = "1", .others = "2", .cpus = "1-3",
     .pool_r = NONE, .want = "1,3"},
    {"1.6 shared: the scope is blank: not the ancestor's", .cpus_r = BLANK, .effective = "0-3",
     .pool_r = NONE, .hold = PIN_HOLD_EMPTY},
    {"1.6 cores: the scope is blank: its own", .own = "1", .cpus_r = BLANK, .effective = "0-3",
     .pool_r = NONE, .want = "1"},
    {"upgraded shared: the pool, not the scope's old text", .cpus = "1-3", .pool = "2-3",
     .want = "2-3"},
    {"upgraded shared: without reserved cores", .cpus = "1-3", .pool = "1-3", .others = "3",
     .want = "1-2"},
    {"upgraded shared: the scope was removed", .cpus_r = GONE, .effective_r = GONE, .pool = "2-3",
     .want = "2-3"},
    {"upgraded shared: blank pool", .cpus = "1-3", .pool_r = BLANK, .hold = PIN_HOLD_EMPTY},
    {"upgraded cores: exactly its own", .own = "1", .cpus = "1-3", .pool = "2-3", .want = "1"},
    {"upgraded cores: with a blank pool too", .own = "1", .cpus = "1-3", .pool_r = BLANK,
     .want = "1"},
    {"no path", .no_path = true, .pool_r = NONE, .hold = PIN_HOLD_NO_PATH},
    {"unreadable", .cpus_r = GONE, .effective_r = GONE, .pool_r = NONE, .hold = PIN_HOLD_GONE},
    {"its cgroup was removed", .cpus_r = -ENODEV, .effective = "1-3", .pool_r = NONE,
     .hold = PIN_HOLD_GONE},
    {"invalid text", .cpus_r = -EINVAL, .effective = "1-3", .pool_r = NONE, .hold = PIN_HOLD_GONE},
};

static void test_wanted__each_row(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wanted_rows); i++) {
        const struct wanted_row *w = &wanted_rows[i];
        struct cpuset own, others, cpus, effective, pool, ret = {{0}};
        set_of(w->own ? w->own : "", &own);
        set_of(w->others ? w->others : "", &others);
        set_of(w->cpus ? w->cpus : "", &cpus);
        set_of(w->effective ? w->effective : "", &effective);
        set_of(w->pool ? w->pool : "", &pool);
        struct pin_source s = {.has_path = !w->no_path,
                               .in_reserve = w->in_reserve,
                               .in_share = w->in_share,
                               .pool_r = w->pool_r,
                               .pool = &pool,
                               .own = w->own ? &own : NULL,
                               .others = w->others ? &others : NULL,
                               .cpus_r = w->cpus_r,
                               .cpus = &cpus,
                               .effective_r = w->effective_r,
                               .effective = &effective};
        enum pin_hold hold = pin_plan_source_wanted(&s, &ret);
        if (hold != w->hold)
            fail_msg("%s: hold \"%s\", not \"%s\"", w->name, pin_plan_hold_name(hold),
                     pin_plan_hold_name(w->hold));
        assert_is(w->name, &ret, w->want ? w->want : "");
    }
}

/* ---- Decision ---- */

static const struct plan_row {
    const char *name;
    enum pin_hold hold;
    const char *wanted, *last_good, *others, *online, *ours; /* NULL: not known */
    bool echo;
    int actual_r;
    const char *actual, *effective;
    bool at_tick, overwrites;
    uint64_t retry_at_us; /* now is 100 */
    const char *refused;
    const char *write; /* NULL: no write */
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
    {"another program changed it", .wanted = "2-3", .last_good = "2-3", .actual = "0-3",
     .effective = "0-3", .write = "2-3", .state = PIN_PINNED, .cause = PIN_CAUSE_OVERWRITTEN},
    {"another program narrowed it", .wanted = "1-3", .last_good = "1-3", .actual = "2",
     .effective = "2", .write = "1-3", .state = PIN_PINNED, .cause = PIN_CAUSE_OVERWRITTEN},
    {"Nomad and another program changed it", .wanted = "2-3", .last_good = "1-3", .actual = "0",
     .effective = "0", .write = "2-3", .state = PIN_PINNED, .cause = PIN_CAUSE_OVERWRITTEN},
    {"another program made it blank", .wanted = "2-3", .last_good = "2-3", .actual_r = BLANK,
     .effective = "0-3", .write = "2-3", .state = PIN_PINNED, .cause = PIN_CAUSE_OVERWRITTEN},
    {"blank: its earlier set does not matter", .wanted = "2-3", .last_good = "2-3",
     .actual_r = BLANK, .actual = "2-3", .write = "2-3", .state = PIN_PINNED,
     .cause = PIN_CAUSE_OVERWRITTEN},
    {"a CPU is offline", .wanted = "1-3", .last_good = "1-3", .actual = "1-3", .effective = "1-2",
     .state = PIN_CONSTRAINED},
    {"held: at its last set", .hold = PIN_HOLD_EMPTY, .last_good = "1-3", .actual = "1-3",
     .state = PIN_HELD},
    {"held: no set known", .hold = PIN_HOLD_EMPTY, .actual = "0-3", .state = PIN_HELD},
    {"held: widened by another program", .hold = PIN_HOLD_GONE, .last_good = "1-3", .actual = "0-3",
     .write = "1-3", .state = PIN_HELD, .cause = PIN_CAUSE_OVERWRITTEN},
    {"held: narrowed by another program", .hold = PIN_HOLD_GONE, .last_good = "1-3", .actual = "2",
     .state = PIN_HELD},
    {"held and blank: its earlier set does not matter", .hold = PIN_HOLD_GONE, .last_good = "1-3",
     .actual_r = BLANK, .actual = "2", .write = "1-3", .state = PIN_HELD,
     .cause = PIN_CAUSE_OVERWRITTEN},
    {"held: a part of its set is reserved now", .hold = PIN_HOLD_GONE, .last_good = "1-3",
     .others = "1", .actual = "1-3", .write = "2-3", .state = PIN_HELD, .cause = PIN_CAUSE_SOURCE},
    {"held: its whole set is reserved now, online CPUs unknown", .hold = PIN_HOLD_EMPTY,
     .last_good = "1-3", .others = "1-3", .actual = "1-3", .state = PIN_NO_CPU},
    {"held: its whole set is reserved now: the other online CPUs", .hold = PIN_HOLD_EMPTY,
     .last_good = "1-3", .others = "1-3", .online = "0-3", .actual = "1-3", .write = "0",
     .state = PIN_HELD, .cause = PIN_CAUSE_SOURCE},
    {"held: already on these CPUs", .hold = PIN_HOLD_EMPTY, .last_good = "1-3", .others = "1-3",
     .online = "0-3", .actual = "0", .ours = "0", .state = PIN_HELD},
    {"held: every online CPU is reserved", .hold = PIN_HOLD_EMPTY, .last_good = "1-3",
     .others = "0-3", .online = "0-3", .actual = "1-3", .state = PIN_NO_CPU},
    {"held, first seen: without reserved cores", .hold = PIN_HOLD_EMPTY, .others = "1-3",
     .online = "0-3", .actual = "0-3", .write = "0", .state = PIN_HELD,
     .cause = PIN_CAUSE_LATE_START},
    {"held, first seen: blank", .hold = PIN_HOLD_EMPTY, .others = "1-3", .online = "0-3",
     .actual_r = BLANK, .write = "0", .state = PIN_HELD, .cause = PIN_CAUSE_LATE_START},
    {"held, first seen, only on reserved cores", .hold = PIN_HOLD_GONE, .others = "1-3",
     .online = "0-3", .actual = "1-2", .write = "0", .state = PIN_UNMANAGED,
     .cause = PIN_CAUSE_LATE_START},
    {"held: reserved cores of its last set are free again", .hold = PIN_HOLD_GONE,
     .last_good = "1-3", .online = "0-3", .actual = "2-3", .ours = "2-3", .write = "1-3",
     .state = PIN_HELD, .cause = PIN_CAUSE_SOURCE},
    {"unmanaged, but on a reserved core", .hold = PIN_HOLD_NO_PATH, .others = "1", .online = "0-3",
     .actual = "0-3", .write = "0,2-3", .state = PIN_UNMANAGED, .cause = PIN_CAUSE_LATE_START},
    {"unmanaged and blank, and a core is reserved", .hold = PIN_HOLD_NO_PATH, .others = "1",
     .online = "0-3", .actual_r = BLANK, .write = "0,2-3", .state = PIN_UNMANAGED,
     .cause = PIN_CAUSE_LATE_START},
    {"unmanaged and blank, no core is reserved", .hold = PIN_HOLD_NO_PATH, .online = "0-3",
     .actual_r = BLANK, .state = PIN_UNMANAGED},
    {"every wanted CPU is offline: off the reserved cores", .wanted = "3", .last_good = "3",
     .others = "2", .online = "0-2", .actual = "3", .effective = "0-2", .write = "0-1",
     .state = PIN_SPILLED, .cause = PIN_CAUSE_SOURCE},
    {"still offline", .wanted = "3", .last_good = "3", .others = "2", .online = "0-2",
     .actual = "0-1", .ours = "0-1", .effective = "0-1", .state = PIN_SPILLED},
    {"still offline, and one more is reserved", .wanted = "3", .last_good = "3", .others = "1-2",
     .online = "0-2", .actual = "0-1", .ours = "0-1", .effective = "0-1", .write = "0",
     .state = PIN_SPILLED, .cause = PIN_CAUSE_SOURCE},
    {"a wanted CPU is back", .wanted = "3", .last_good = "3", .others = "2", .online = "0-3",
     .actual = "0-1", .ours = "0-1", .effective = "0-1", .write = "3", .state = PIN_PINNED,
     .cause = PIN_CAUSE_SOURCE},
    {"every wanted CPU is offline, all others are reserved", .wanted = "3", .last_good = "3",
     .others = "0-2", .online = "0-2", .actual = "3", .effective = "0-2", .state = PIN_SPILLED},
    {"the parent has no wanted CPU", .wanted = "3", .last_good = "3", .online = "0-3",
     .actual = "3", .effective = "0-1", .state = PIN_SPILLED},
    {"one of the wanted CPUs is offline: nothing is widened", .wanted = "2-3", .last_good = "2-3",
     .online = "0-2", .actual = "2-3", .effective = "2", .state = PIN_CONSTRAINED},
    {"our own earlier set", .wanted = "2", .last_good = "2", .ours = "2", .echo = true,
     .actual = "1-3", .write = "2", .state = PIN_PINNED, .cause = PIN_CAUSE_ECHO},
    {"our own earlier set, while held", .hold = PIN_HOLD_GONE, .last_good = "2", .ours = "2",
     .echo = true, .actual = "1-3", .write = "2", .state = PIN_HELD, .cause = PIN_CAUSE_ECHO},
    {"our own earlier set of a contested task is no overwrite", .wanted = "2", .last_good = "2",
     .ours = "2", .echo = true, .actual = "1-3", .overwrites = true, .write = "2",
     .state = PIN_CONTESTED, .cause = PIN_CAUSE_ECHO},
    {"unmanaged is not changed", .hold = PIN_HOLD_NO_PATH, .last_good = "1-3", .actual = "0-3",
     .state = PIN_UNMANAGED},
    {"refused, too early", .wanted = "1-3", .actual = "0-3", .retry_at_us = 101, .refused = "1-3",
     .state = PIN_FAILED},
    {"refused, but now another set is wanted", .wanted = "2-3", .last_good = "1-3", .actual = "1-3",
     .retry_at_us = 101, .refused = "1-3", .write = "2-3", .state = PIN_PINNED,
     .cause = PIN_CAUSE_SOURCE},
    {"refused, time to try", .wanted = "1-3", .actual = "0-3", .retry_at_us = 100, .refused = "1-3",
     .write = "1-3", .state = PIN_PINNED, .cause = PIN_CAUSE_LATE_START},
    {"refused, but now right", .wanted = "1-3", .actual = "1-3", .effective = "1-3",
     .retry_at_us = 101, .refused = "1-3", .state = PIN_PINNED},
    {"contested, an event", .wanted = "1-3", .last_good = "1-3", .actual = "0-3",
     .overwrites = true, .state = PIN_CONTESTED},
    {"contested, an event, on a reserved core", .wanted = "2-3", .last_good = "2-3", .others = "1",
     .actual = "0-3", .overwrites = true, .write = "2-3", .state = PIN_CONTESTED,
     .cause = PIN_CAUSE_OVERWRITTEN},
    {"contested, Nomad narrowed it", .wanted = "2-3", .last_good = "1-3", .actual = "1-3",
     .overwrites = true, .write = "2-3", .state = PIN_CONTESTED, .cause = PIN_CAUSE_SOURCE},
    {"contested, overwritten while Nomad changed it", .wanted = "2-3", .last_good = "1-3",
     .actual = "2", .overwrites = true, .write = "2-3", .state = PIN_CONTESTED,
     .cause = PIN_CAUSE_OVERWRITTEN},
    {"contested, an event, blank", .wanted = "2-3", .last_good = "2-3", .others = "1",
     .actual_r = BLANK, .overwrites = true, .write = "2-3", .state = PIN_CONTESTED,
     .cause = PIN_CAUSE_OVERWRITTEN},
    {"contested, the tick", .wanted = "1-3", .last_good = "1-3", .actual = "0-3",
     .overwrites = true, .at_tick = true, .write = "1-3", .state = PIN_CONTESTED,
     .cause = PIN_CAUSE_OVERWRITTEN},
    {"the cgroup was removed", .wanted = "1-3", .actual_r = -ENODEV, .state = PIN_PENDING},
    {"unreadable", .wanted = "1-3", .actual_r = -EACCES, .state = PIN_FAILED},
    {"invalid text", .wanted = "1-3", .last_good = "1-3", .actual_r = -EINVAL, .write = "1-3",
     .state = PIN_PINNED, .cause = PIN_CAUSE_OVERWRITTEN},
};

static void test_plan__each_row(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(plan_rows); i++) {
        const struct plan_row *w = &plan_rows[i];
        struct cpuset others, actual, effective, refused, online, ours;
        struct pin_view v = {.hold = w->hold,
                             .has_last_good = w->last_good != NULL,
                             .others = &others,
                             .online = w->online ? &online : NULL,
                             .ours = w->ours ? &ours : NULL,
                             .echo = w->echo,
                             .actual_r = w->actual_r,
                             .actual = &actual,
                             .effective = &effective,
                             .effective_r = w->effective ? 0 : -ENODEV,
                             .at_tick = w->at_tick,
                             .recent_overwrites = w->overwrites,
                             .retry_at_us = w->retry_at_us,
                             .refused = &refused,
                             .now_us = 100};
        struct pin_plan p;
        set_of(w->wanted ? w->wanted : "", &v.wanted);
        set_of(w->last_good ? w->last_good : "", &v.last_good);
        set_of(w->others ? w->others : "", &others);
        set_of(w->online ? w->online : "", &online);
        set_of(w->ours ? w->ours : "", &ours);
        set_of(w->actual ? w->actual : "", &actual);
        set_of(w->refused ? w->refused : "", &refused);
        set_of(w->effective ? w->effective : "", &effective);
        pin_plan(&v, &p);
        if ((p.action == PIN_DO_WRITE) != (w->write != NULL))
            fail_msg("%s: %s", w->name, w->write ? "not written" : "written");
        if (w->write)
            assert_is(w->name, &p.set, w->write);
        if (p.state != w->state || p.cause != w->cause)
            fail_msg("%s: %s, \"%s\"", w->name, pin_plan_state_name(p.state),
                     pin_plan_cause_name(p.cause));
    }
}

/* ---- Wait ---- */

static void test_backoff__doubles_from_a_second_to_a_minute(void **state) {
    static const uint64_t seconds[] = {1, 2, 4, 8, 16, 32, 60, 60};
    uint64_t us = 0;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
        us = pin_plan_backoff_longer(us);
        assert_int_equal(us, seconds[i] * 1000000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wanted__each_row),
        cmocka_unit_test(test_plan__each_row),
        cmocka_unit_test(test_backoff__doubles_from_a_second_to_a_minute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
