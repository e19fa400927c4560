#include "paddock/pin_plan.h"

/* ---- wanted ---- */

enum pin_hold pin_source_wanted(const struct pin_source *s, struct cpuset *ret) {
    if (s->own && (s->in_reserve || !s->has_path)) {
        *ret = *s->own;
        return PIN_HOLD_NOT;
    }
    if (!s->has_path)
        return PIN_HOLD_NO_PATH;
    struct cpuset set;
    if (s->cpus_r == 0)
        set = *s->cpus;
    else if (s->cpus_r != -ENODATA)
        return PIN_HOLD_GONE;
    else if (s->share_blank)
        return PIN_HOLD_EMPTY; /* the effective set would be the ancestor's, cores kept from Nomad
                                  too */
    else if (s->effective_r == 0)
        set = *s->effective;
    else
        return s->effective_r == -ENODATA ? PIN_HOLD_EMPTY : PIN_HOLD_GONE;
    if (s->others)
        cpuset_subtract(&set, s->others);
    if (cpuset_is_empty(&set))
        return PIN_HOLD_EMPTY;
    *ret = set;
    return PIN_HOLD_NOT;
}

/* ---- the decision ---- */

/* What is kept while nothing is wanted: the last good set without what others own by now. */
static bool held_set(const struct pin_view *v, struct cpuset *ret) {
    if (!v->has_last_good)
        return false;
    *ret = v->last_good;
    if (v->others)
        cpuset_subtract(ret, v->others);
    return !cpuset_is_empty(ret);
}

static void plan_hold(const struct pin_view *v, struct pin_plan *p) {
    struct cpuset keep;
    p->state = v->hold == PIN_HOLD_NO_PATH ? PIN_UNMANAGED : PIN_HELD;
    if (p->state == PIN_UNMANAGED || !held_set(v, &keep))
        return;
    /* Narrower than what it had is somebody else's choice while nothing is known; wider is not. */
    if (v->actual_r == 0 && cpuset_contains(&keep, v->actual))
        return;
    p->action = PIN_DO_WRITE;
    p->set = keep;
    bool as_before = v->actual_r == 0 && cpuset_equal(v->actual, &v->last_good);
    p->cause = as_before ? PIN_CAUSE_SOURCE : PIN_CAUSE_OVERWRITTEN;
}

static enum pin_cause cause_of(const struct pin_view *v) {
    if (!v->has_last_good)
        return PIN_CAUSE_LATE_START;
    /* Both may have changed: that the container is where it was left makes it Nomad's doing alone.
     */
    if (!cpuset_equal(&v->wanted, &v->last_good) && v->actual_r == 0 &&
        cpuset_equal(v->actual, &v->last_good))
        return PIN_CAUSE_SOURCE;
    return PIN_CAUSE_OVERWRITTEN;
}

static void plan_wanted(const struct pin_view *v, struct pin_plan *p) {
    bool constrained = v->effective_r == 0 && !cpuset_contains(v->effective, &v->wanted);
    p->state = v->recent_overwrites ? PIN_CONTESTED : constrained ? PIN_CONSTRAINED : PIN_PINNED;
    if (v->actual_r == 0 && cpuset_equal(v->actual, &v->wanted))
        return;
    p->action = PIN_DO_WRITE;
    p->set = v->wanted;
    p->cause = cause_of(v);
    /* The effective set is that of the old value: the next look tells. */
    if (p->state == PIN_CONSTRAINED)
        p->state = PIN_PINNED;
}

void pin_plan(const struct pin_view *v, struct pin_plan *ret) {
    *ret = (struct pin_plan){.state = PIN_PENDING};
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
    /* A core that was reserved since then is left at once, whatever the kernel thought of the last
     * set. */
    bool backed_off = v->retry_at_us && v->now_us < v->retry_at_us && v->refused &&
                      cpuset_equal(v->refused, &ret->set);
    if (backed_off)
        ret->state = PIN_FAILED;
    if (backed_off || (v->recent_overwrites && !v->at_tick)) {
        ret->action = PIN_DO_NOTHING;
        ret->cause = PIN_CAUSE_NONE;
    }
}

uint64_t pin_backoff_longer(uint64_t backoff_us) {
    uint64_t us = backoff_us ? backoff_us * 2 : PIN_BACKOFF_MIN_US;
    return us > PIN_BACKOFF_MAX_US ? PIN_BACKOFF_MAX_US : us;
}

/* ---- names ---- */

const char *pin_state_name(enum pin_state s) {
    static const char *const names[] = {
        [PIN_PENDING] = "pending",
        [PIN_PINNED] = "pinned",
        [PIN_UNIT_UNSYNCED] = "unit-unsynced",
        [PIN_CONSTRAINED] = "constrained",
        [PIN_HELD] = "held",
        [PIN_CONTESTED] = "contested",
        [PIN_FAILED] = "failed",
        [PIN_UNMANAGED] = "unmanaged",
    };
    return (size_t)s < ARRAY_LEN(names) ? names[s] : "";
}

const char *pin_hold_name(enum pin_hold h) {
    static const char *const names[] = {[PIN_HOLD_NOT] = "",
                                        [PIN_HOLD_EMPTY] = "pool-empty",
                                        [PIN_HOLD_GONE] = "source-gone",
                                        [PIN_HOLD_NO_PATH] = "unmanaged"};
    return (size_t)h < ARRAY_LEN(names) ? names[h] : "";
}

const char *pin_cause_name(enum pin_cause c) {
    static const char *const names[] = {[PIN_CAUSE_NONE] = "",
                                        [PIN_CAUSE_LATE_START] = "late start",
                                        [PIN_CAUSE_SOURCE] = "source changed",
                                        [PIN_CAUSE_OVERWRITTEN] = "overwritten"};
    return (size_t)c < ARRAY_LEN(names) ? names[c] : "";
}
