/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The reconciler and its tasks. Only the pin thread changes them, and it holds the lock while it
 * does so. It may read them without the lock. Other threads (status, metrics) read them under
 * the lock.
 *
 * The files of this folder are layers. A file calls only files that stand before it in this list:
 * plan, nodes, hotplug, watch, writer, unit, inner, level, parent, source, migrate, note, mems,
 * task, look, merge, affinity, pin. show and wanted are called from outside only. */
#include "paddock/affinity.h"
#include "paddock/clock.h"
#include "paddock/loop.h"
#include "paddock/metrics.h"
#include "src/pin/pin_inner.h"
#include "src/pin/pin_level.h"
#include "src/pin/pin_mems.h"
#include "src/pin/pin_migrate.h"
#include "src/pin/pin_nodes.h"
#include "src/pin/pin_note.h"
#include "src/pin/pin_source.h"
#include "src/pin/pin_unit.h"
#include "src/pin/pin_writer.h"

#include <pthread.h>
#include <stdatomic.h>

struct pin_task {
    struct pin_task *next;
    uint64_t seq; /* rises along the list */
    struct pin_coord c;
    bool seen; /* in the snapshot that is being merged */

    /* wanted */
    const char *below; /* of c.source, below the root; "" = none */
    bool has_own;
    struct cpuset own;
    struct pin_parent *parent;      /* NULL without a source */
    struct pin_level *source_level; /* NULL = not known */
    struct pin_file source_cpus;
    struct cgroup_file source_effective;
    bool others_changed; /* the cores of others have changed since the last check */
    enum pin_hold hold;
    struct cpuset last_good;
    bool has_last_good;

    /* the container */
    char *dir_path;          /* NULL = not open */
    struct pin_level *level; /* NULL = not known */
    struct pin_file cpus;
    struct cgroup_file effective;
    struct pin_mems mems;
    struct pin_inner *inner; /* NULL = its process is in the container's own folder */
    bool watch_off;          /* the task is contested: its watch was removed until the next tick */
    struct pin_writer writer;
    struct pin_unit unit;
    struct cpuset target; /* the set that was last written or found right; sent to the unit */
    bool has_target;

    /* state */
    bool gone;
    bool quiet; /* the last check found nothing to do; stays true until a file changes */
    enum pin_state state;
    struct cpuset refused; /* the set that the kernel refused, with PIN_FAILED */
    int error;             /* 0, or the -errno of the states UNMANAGED and FAILED */
    unsigned foreign_n;    /* cores of others that it may use */
    uint64_t foreign_us;   /* the time up to which they were counted */
    uint64_t retry_at_us, backoff_us;
    uint64_t overwrites[PIN_CONTEST_COUNT]; /* ring of times */
    uint64_t overwrites_n;
    enum pin_state told; /* the state of the last task event */
    uint64_t told_us[PIN_TOLDS];

    /* history */
    uint64_t corrections[PIN_CAUSES], fixes_n, errors;
    struct pin_fix fixes[PIN_HISTORY];
};

struct pin {
    struct pin_options o;
    char *cgroup_root, *bus_address;
    char reason[128];

    struct loop *loop;
    pthread_t thread;
    bool running;
    int wake_fd, hotplug_fd;
    struct loop_watch *wake_watch, *inotify_watch, *fanotify_watch, *hotplug_watch, *migrator_watch;
    struct loop_timer *tick, *retry; /* retry: the earliest retry, except those of the units */
    atomic_int ended;                /* -errno of the loop that has ended */
    uint64_t next_tick_us;
    uint64_t settle_at_us, settle_wait_us; /* of the next check after CPU hotplug; 0 = none */
    bool want_snapshot;

    pthread_mutex_t lock;
    struct pin_watch watch;
    struct pin_writers writers;
    struct pin_units units;
    struct pin_migrator migrator;
    struct pin_task *migrating; /* the task being migrated; NULL when it has ended */
    struct pin_nodes nodes;     /* empty unless mems are followed; constant */
    struct pin_task *tasks;
    uint64_t seq, removed; /* the last number of a task; how many tasks were removed */
    struct pin_parent *parents;
    struct pin_level *levels;
    struct cpuset reserved;    /* the cores reserved by all tasks that we know */
    struct cgroup_file online; /* the root's effective set: the host's online CPUs */
    bool online_changed;
    struct affinity initial; /* the mask that this process was started with */
    int initial_r;           /* 0, or why it could not be read: then no mask is set */
    uint64_t affinity_hash;  /* of the set that our threads have; 0 = not changed yet */
    struct pin_counters counters;
    struct metrics_histogram repair; /* from the start of a pass to the write */
    struct pin_note *notes, **notes_last;
    char scratch[CPUSET_TEXT_MAX];
};
