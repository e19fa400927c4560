/* SPDX-License-Identifier: MPL-2.0 */
/* The rule of the reconciler, as pure functions. pin_look.c calls them for running containers and
 * pin_wanted.c for the create request, so that both get the same set. Every branch is a row of
 * test_pin_plan.c; test_pin_machine.c checks the promises on random histories. */
#include "paddock/pin_plan.h"

/* ---- the wanted set ---- */

/* A client >= 1.7 gives each kind of task a slice of its own. share.slice exists from the client's
 * first start on, also next to scopes that an older client has left. */
static bool has_pool(const struct pin_source *s) {
    return s->pool_r == 0 || s->pool_r == -ENODATA;
}

/* For a scope in share.slice both texts are used, read in the same pass. The effective set alone is
 * not enough: it is the ancestor's when the pool became blank between two reads. */
static enum pin_hold shared_set(const struct pin_source *s, struct cpuset *set) {
    if (s->pool_r < 0)
        return s->pool_r == -ENODATA ? PIN_HOLD_EMPTY : PIN_HOLD_GONE;
    *set = *s->pool;
    if (!s->in_share)
        return PIN_HOLD_NOT;
    if (s->effective_r < 0)
        return s->effective_r == -ENODATA ? PIN_HOLD_EMPTY : PIN_HOLD_GONE;
    cpuset_intersect(set, s->effective);
    return PIN_HOLD_NOT;
}

/* An old client writes a set into each scope and never a blank. A blank means that the client has
 * not written yet, or that systemd took the cpuset controller from the slice, which removes all
 * texts below it. The effective set is then the ancestor's. */
static enum pin_hold old_client_set(const struct pin_source *s, struct cpuset *set) {
    if (s->cpus_r == 0)
        *set = *s->cpus;
    else if (s->cpus_r != -ENODATA)
        return PIN_HOLD_GONE;
    else if (s->own)
        *set = *s->own;
    else
        return PIN_HOLD_EMPTY;
    return PIN_HOLD_NOT;
}

enum pin_hold pin_plan_source_wanted(const struct pin_source *s, struct cpuset *ret) {
    if (s->own && (s->in_reserve || !s->has_path || has_pool(s))) {
        *ret = *s->own;
        return PIN_HOLD_NOT;
    }
    if (!s->has_path)
        return PIN_HOLD_NO_PATH;
    if (s->in_reserve)
        return PIN_HOLD_NO_CORES;
    struct cpuset set;
    enum pin_hold hold = s->in_share || has_pool(s) ? shared_set(s, &set) : old_client_set(s, &set);
    if (hold != PIN_HOLD_NOT)
        return hold;
    if (s->others)
        cpuset_subtract(&set, s->others);
    if (cpuset_is_empty(&set))
        return PIN_HOLD_EMPTY;
    *ret = set;
    return PIN_HOLD_NOT;
}

/* ---- the decision ---- */

/* Sets @ret to @base without the cores of others. Returns false when no CPU is left, or when @base
 * is NULL. */
static bool without_others(const struct pin_view *v, const struct cpuset *base,
                           struct cpuset *ret) {
    if (!base)
        return false;
    *ret = *base;
    if (v->others)
        cpuset_subtract(ret, v->others);
    return !cpuset_is_empty(ret);
}

static const struct cpuset *actual_or_all(const struct pin_view *v) {
    return v->actual_r == 0 ? v->actual : v->online;
}

static bool touches_others(const struct pin_view *v) {
    const struct cpuset *now = actual_or_all(v);
    return v->others && (now ? cpuset_intersects(now, v->others) : !cpuset_is_empty(v->others));
}

static bool actual_is(const struct pin_view *v, const struct cpuset *set) {
    return v->actual_r == 0 && cpuset_equal(v->actual, set);
}

static enum pin_cause cause_of(const struct pin_view *v) {
    if (!v->has_last_good && !v->ours)
        return PIN_CAUSE_LATE_START;
    /* Both the wanted and the actual set may have changed. When the container still has our set,
     * only Nomad has changed something. */
    if ((v->ours && actual_is(v, v->ours)) || (v->has_last_good && actual_is(v, &v->last_good)))
        return PIN_CAUSE_SOURCE;
    return v->actual_r == 0 && v->echo ? PIN_CAUSE_ECHO : PIN_CAUSE_OVERWRITTEN;
}

static void write_set(const struct pin_view *v, struct pin_plan *p, const struct cpuset *set) {
    p->has_set = true;
    p->set = *set;
    if (actual_is(v, set))
        return;
    p->action = PIN_DO_WRITE;
    p->cause = cause_of(v);
}

static void plan_hold(const struct pin_view *v, struct pin_plan *p) {
    struct cpuset keep;
    if (v->hold == PIN_HOLD_GONE && !v->has_last_good)
        p->hold = PIN_HOLD_NO_PATH;
    bool unmanaged = p->hold == PIN_HOLD_NO_PATH;
    bool known = !unmanaged && v->has_last_good;
    p->state = unmanaged ? PIN_UNMANAGED : PIN_HELD;
    if (unmanaged && !touches_others(v))
        return;
    if (!without_others(v, known ? &v->last_good : actual_or_all(v), &keep) &&
        !without_others(v, v->online, &keep)) {
        if (touches_others(v))
            p->state = PIN_NO_CPU;
        return;
    }
    /* Another process chose a narrower set, unless we narrowed it for cores that are free again. */
    bool ours = v->ours && actual_is(v, v->ours);
    if (v->actual_r != 0 || !cpuset_contains(&keep, v->actual) || (known && ours))
        write_set(v, p, &keep);
}

static void plan_wanted(const struct pin_view *v, struct pin_plan *p) {
    struct cpuset set = v->wanted;
    bool constrained = v->effective_r == 0 && !cpuset_contains(v->effective, &v->wanted);
    bool offline = v->online && !cpuset_intersects(v->online, &v->wanted);
    /* Otherwise the kernel puts the container on its parent's CPUs, which include reserved cores
     * of others. */
    if (offline && !without_others(v, v->online, &set))
        set = v->wanted;
    write_set(v, p, &set);
    /* The effective set belongs to the old value. The next check decides. */
    if (p->action == PIN_DO_WRITE)
        constrained = false;
    if (offline || (constrained && !cpuset_intersects(v->effective, &v->wanted)))
        p->state = PIN_SPILLED;
    else if (v->recent_overwrites)
        p->state = PIN_CONTESTED;
    else
        p->state = constrained ? PIN_CONSTRAINED : PIN_PINNED;
}

/* Returns true when the correction of a contested task can wait for the tick: the container is on
 * no core that another task has reserved. */
static bool may_wait(const struct pin_view *v, const struct pin_plan *p) {
    bool ordered =
        v->hold == PIN_HOLD_NOT && v->has_last_good && !cpuset_equal(&v->wanted, &v->last_good);
    return v->recent_overwrites && !v->at_tick && p->cause == PIN_CAUSE_OVERWRITTEN && !ordered &&
           v->actual_r == 0 && !touches_others(v);
}

void pin_plan(const struct pin_view *v, struct pin_plan *ret) {
    *ret = (struct pin_plan){.state = PIN_PENDING, .hold = v->hold};
    if (v->actual_r < 0 && v->actual_r != -ENODATA && v->actual_r != -EINVAL) {
        ret->state = v->actual_r == -ENODEV ? PIN_PENDING : PIN_FAILED;
        return;
    }
    if (v->hold != PIN_HOLD_NOT)
        plan_hold(v, ret);
    else
        plan_wanted(v, ret);
    if (ret->action == PIN_DO_NOTHING)
        return;
    /* A set that differs from the refused one is tried immediately: it may leave a core that was
     * reserved since then. */
    bool backed_off = v->retry_at_us && v->now_us < v->retry_at_us && v->refused &&
                      cpuset_equal(v->refused, &ret->set);
    ret->suppressed = !backed_off && may_wait(v, ret);
    if (backed_off)
        ret->state = PIN_FAILED;
    if (backed_off || ret->suppressed) {
        ret->action = PIN_DO_NOTHING;
        ret->cause = PIN_CAUSE_NONE;
    }
}

uint64_t pin_plan_backoff_longer(uint64_t backoff_us) {
    uint64_t us = backoff_us ? backoff_us * 2 : PIN_BACKOFF_MIN_US;
    return us > PIN_BACKOFF_MAX_US ? PIN_BACKOFF_MAX_US : us;
}

/* ---- names ---- */

const char *pin_plan_state_name(enum pin_state s) {
    static const char *const names[] = {
        [PIN_PENDING] = "pending",
        [PIN_PINNED] = "pinned",
        [PIN_UNIT_UNSYNCED] = "unit-unsynced",
        [PIN_CONSTRAINED] = "constrained",
        [PIN_HELD] = "held",
        [PIN_CONTESTED] = "contested",
        [PIN_FAILED] = "failed",
        [PIN_SPILLED] = "spilled",
        [PIN_NO_CPU] = "no-cpu",
        [PIN_UNMANAGED] = "unmanaged",
    };
    return (size_t)s < ARRAY_LEN(names) ? names[s] : "";
}

const char *pin_plan_hold_name(enum pin_hold h) {
    static const char *const names[] = {[PIN_HOLD_NOT] = "",
                                        [PIN_HOLD_EMPTY] = "pool-empty",
                                        [PIN_HOLD_GONE] = "source-gone",
                                        [PIN_HOLD_NO_PATH] = "unmanaged",
                                        [PIN_HOLD_NO_CORES] = "no-cores"};
    return (size_t)h < ARRAY_LEN(names) ? names[h] : "";
}

const char *pin_plan_cause_name(enum pin_cause c) {
    static const char *const names[] = {[PIN_CAUSE_NONE] = "",
                                        [PIN_CAUSE_LATE_START] = "late start",
                                        [PIN_CAUSE_SOURCE] = "source changed",
                                        [PIN_CAUSE_OVERWRITTEN] = "overwritten",
                                        [PIN_CAUSE_ECHO] = "own earlier set"};
    return (size_t)c < ARRAY_LEN(names) ? names[c] : "";
}
