/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The rule that decides what the reconciler does about one task. It is pure, so that each row of
 * the rule is a row of a test.
 *
 * The wanted set:
 *  1. A task with cores of its own gets exactly those, except when an old client (1.3 - 1.6)
 *     manages the source: then that client's set (pool and own cores) is used.
 *  2. A shared task of a client >= 1.7 gets the scope's effective set within the text of the pool.
 *     A shared task of an old client gets the scope's cpuset.cpus. A blank there is no set: a
 *     shared task is then held, and a task with cores gets its own. Cores of others are subtracted.
 *  3. Otherwise the task is held: it keeps the last good set without the cores of others.
 *
 * No task runs on a core that another task is known to have reserved. When a rule above leaves no
 * CPU, the task gets the online CPUs without the reserved ones. When none of those is left either,
 * the container's set is not changed (PIN_NO_CPU). Sets are compared as sets, not as text. */
#include "paddock/pin.h"

/* Numbers of the policy. */
/* A task is contested after so many overwritten corrections ... */
#define PIN_CONTEST_COUNT 10u
#define PIN_CONTEST_SPAN_US (10 * 1000000ull) /* ... within this time */
#define PIN_BACKOFF_MIN_US (1000000ull)       /* after a refused write */
#define PIN_BACKOFF_MAX_US (60 * 1000000ull)

/* Why a task has no wanted set. */
enum pin_hold {
    PIN_HOLD_NOT,      /* the task has a wanted set */
    PIN_HOLD_EMPTY,    /* the pool is empty: every core is reserved, or the source is blank */
    PIN_HOLD_GONE,     /* the source cannot be read any more */
    PIN_HOLD_NO_PATH,  /* the task has no source, or its source never existed */
    PIN_HOLD_NO_CORES, /* the source is under reserve.slice, but the task has no cores of its own */
};

/* The contents of the files from which the wanted set is computed. */
struct pin_source {
    bool has_path, in_reserve, in_share;
    const struct cpuset *own; /* the task's reserved cores; NULL = shared task */
    int cpus_r, effective_r;  /* results of reading the source's files: 0, -ENODATA blank, -errno */
    const struct cpuset *cpus, *effective;
    /* Result of reading the share.slice's own cpuset.cpus, in the same pass as the files above: 0,
     * -ENODATA blank (the effective set is then the ancestor's), or -errno when it cannot be read.
     * After an upgrade of the client, share.slice exists next to the sources that the old
     * client made. */
    int pool_r;
    const struct cpuset *pool;   /* valid with 0 */
    const struct cpuset *others; /* others' cores (reserve.slice, known tasks); NULL = none */
};

/** Computes the wanted set. Returns PIN_HOLD_NOT with a set in @ret that is never empty, or the
 * reason why no set is wanted. Pure. */
enum pin_hold pin_plan_source_wanted(const struct pin_source *s, struct cpuset *ret);

/* The cause of a correction. */
enum pin_cause {
    PIN_CAUSE_NONE,
    PIN_CAUSE_LATE_START,        /* the set was wrong when the task was first seen */
    PIN_CAUSE_SOURCE,            /* Nomad changed the wanted set */
    PIN_CAUSE_OVERWRITTEN,       /* another process changed the container's set */
    PIN_CAUSES,                  /* the causes above are counted and reported */
    PIN_CAUSE_ECHO = PIN_CAUSES, /* systemd applied an earlier set of ours late */
};

struct pin_view {
    enum pin_hold hold;
    struct cpuset wanted; /* valid with PIN_HOLD_NOT */
    bool has_last_good;
    struct cpuset last_good;     /* the last wanted set */
    const struct cpuset *others; /* as in pin_source */
    const struct cpuset *online; /* the host's online CPUs; NULL = not known */
    const struct cpuset *ours;   /* the set that we last wrote or confirmed; NULL = none yet */
    bool echo;                   /* @actual is a set that we sent to systemd earlier */
    int actual_r;                /* 0, -ENODATA blank (inherits the parent's), -errno */
    const struct cpuset *actual; /* valid with 0 */
    int effective_r;
    const struct cpuset *effective;
    bool at_tick;                 /* the check was started by the tick, not by an event */
    bool recent_overwrites;       /* PIN_CONTEST_COUNT overwrites within PIN_CONTEST_SPAN_US */
    uint64_t retry_at_us;         /* when a refused write may be retried; 0 = none was refused */
    const struct cpuset *refused; /* the refused set; a different set is tried immediately */
    uint64_t now_us;
};

enum pin_action { PIN_DO_NOTHING, PIN_DO_WRITE };

struct pin_plan {
    enum pin_action action;
    enum pin_hold hold; /* as in pin_view, but a source that never existed is PIN_HOLD_NO_PATH */
    bool has_set;
    struct cpuset set;    /* what the container must have; valid with has_set, and with a write */
    bool suppressed;      /* a harmless overwrite; it is corrected at the next tick */
    enum pin_state state; /* after a successful write, or without one. PIN_PENDING: no cgroup */
    enum pin_cause cause;
};

/** Decides what to do about a task. Pure; @ret is always set. The set to write is never empty and
 * never contains a core of @others. For a held task it is never wider than the last good set,
 * unless nothing of that set is left. */
void pin_plan(const struct pin_view *v, struct pin_plan *ret);

/** Returns the back-off that follows a wait of @backoff_us that did not help; 0 for the first
 * wait. Pure. */
uint64_t pin_plan_backoff_longer(uint64_t backoff_us);

/** Returns "pinned", "unit-unsynced", ... Constant text. Pure. */
const char *pin_plan_state_name(enum pin_state s);
/** Returns "pool-empty", "source-gone", "unmanaged" or "". Constant text. Pure. */
const char *pin_plan_hold_name(enum pin_hold h);
/** Returns "source changed", "overwritten", "late start" or "". Constant text. Pure. */
const char *pin_plan_cause_name(enum pin_cause c);
