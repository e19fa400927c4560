#pragma once
/* The rule: what is to be done about one task. It is pure, so that each row of the rule is a row of
 * a test.
 *
 * The wanted set:
 *  1. A task with cores of its own gets exactly those, except when an old client (1.3 - 1.6)
 * manages the source: then its answer, pool and own cores, is followed.
 *  2. A shared task of a client >= 1.7 gets the scope's effective set within the text of the pool.
 *     Of an old client it gets the scope's cpuset.cpus. Cores of others are subtracted.
 *  3. Else the task is held: it keeps the last good set without the cores of others.
 *
 * No task runs on a core that another task is known to have reserved. When a rule above leaves no
 * CPU, the task gets the online CPUs without the reserved ones. When none of those is left either,
 * the container stays where it is (PIN_NO_CPU). Sets are compared as sets, not as text. */
#include "paddock/pin.h"

/* Numbers of the policy. */
#define PIN_CONTEST_COUNT                                                                          \
    10u /* a task is contested after this many overwritten corrections ...                         \
         */
#define PIN_CONTEST_SPAN_US (10 * 1000000ull) /* ... within this time */
#define PIN_BACKOFF_MIN_US (1000000ull)       /* after a refused write */
#define PIN_BACKOFF_MAX_US (60 * 1000000ull)

/* Why there is no wanted set. */
enum pin_hold {
    PIN_HOLD_NOT,      /* there is one */
    PIN_HOLD_EMPTY,    /* the pool is empty: every core is reserved */
    PIN_HOLD_GONE,     /* the source cannot be read any more */
    PIN_HOLD_NO_PATH,  /* the task has no source, or its source never existed */
    PIN_HOLD_NO_CORES, /* the source is under reserve.slice, but the task has no cores of its own */
};

/* What the files say that the wanted set comes from. */
struct pin_source {
    bool has_path, in_reserve, in_share;
    const struct cpuset *own; /* the task's reserved cores; NULL = shared task */
    int cpus_r, effective_r;  /* of reading the source's files: 0, -ENODATA blank, -errno */
    const struct cpuset *cpus, *effective;
    /* Of reading the share.slice's own cpuset.cpus, in the same pass as the files above: 0,
     * -ENODATA blank (then the effective set is the ancestor's), -errno none can be read. Beside a
     * source of an old client it exists after an upgrade of the client. */
    int pool_r;
    const struct cpuset *pool; /* valid with 0 */
    const struct cpuset
        *others; /* cores reserved by others (reserve.slice and known tasks); NULL = none */
};

/** The wanted set. @ret is set when PIN_HOLD_NOT is returned, and never empty then. Pure. */
enum pin_hold pin_source_wanted(const struct pin_source *s, struct cpuset *ret);

/* The cause of a correction. */
enum pin_cause {
    PIN_CAUSE_NONE,
    PIN_CAUSE_LATE_START,        /* found wrong when first seen */
    PIN_CAUSE_SOURCE,            /* Nomad changed the wanted set */
    PIN_CAUSE_OVERWRITTEN,       /* somebody changed the container's set */
    PIN_CAUSES,                  /* the causes above are counted and reported */
    PIN_CAUSE_ECHO = PIN_CAUSES, /* systemd applied an earlier set of ours late */
};

struct pin_view {
    enum pin_hold hold;
    struct cpuset wanted; /* valid with PIN_HOLD_NOT */
    bool has_last_good;
    struct cpuset last_good;     /* what was wanted last */
    const struct cpuset *others; /* as in pin_source */
    const struct cpuset *online; /* the machine's online CPUs; NULL = not known */
    const struct cpuset *ours;   /* what this process wrote or confirmed last; NULL = nothing yet */
    bool echo;                   /* @actual is a set that systemd was asked for earlier */
    int actual_r;                /* 0, -ENODATA blank (inherits the parent's), -errno */
    const struct cpuset *actual; /* valid with 0 */
    int effective_r;
    const struct cpuset *effective;
    bool at_tick;                 /* not on an event */
    bool recent_overwrites;       /* PIN_CONTEST_COUNT of them in PIN_CONTEST_SPAN_US */
    uint64_t retry_at_us;         /* after a refused write; 0 = none was refused */
    const struct cpuset *refused; /* what was refused then; another set is tried immediately */
    uint64_t now_us;
};

enum pin_action { PIN_DO_NOTHING, PIN_DO_WRITE };

struct pin_plan {
    enum pin_action action;
    enum pin_hold hold; /* as in pin_view; a source that was never there is no path */
    bool has_set;
    struct cpuset set; /* what the container is to have; valid with has_set, and with a write */
    bool suppressed;   /* an overwrite that does no harm and is left until the next tick */
    enum pin_state
        state; /* when the write succeeds, or without one. PIN_PENDING: the cgroup is gone */
    enum pin_cause cause;
};

/** Decides. Pure; @ret is always set. What is written is never empty and never holds a core of
 * @others. While holding it is never wider than the last good set, unless nothing of that is left.
 */
void pin_plan(const struct pin_view *v, struct pin_plan *ret);

/** Returns the back-off that follows a wait of @backoff_us that did not help; 0 for the first wait.
 * Pure. */
uint64_t pin_backoff_longer(uint64_t backoff_us);

const char *pin_state_name(enum pin_state s); /* "pinned", "unit-unsynced", ... */
const char *pin_hold_name(enum pin_hold h);   /* "pool-empty", "source-gone", "unmanaged", "" */
const char *
pin_cause_name(enum pin_cause c); /* "source changed", "overwritten", "late start", "" */
