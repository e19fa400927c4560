#pragma once
/* The reconciler: one thread that keeps every container's cpuset equal to the set that Nomad wants.
 *
 * It sees (real sets, read from held fds), is immediate (inotify on the sources and on each
 * container's file, the kernel's device events for CPUs, a tick as the backstop), holds (the unit's
 * AllowedCPUs too) and shows (states, counters, history). The rule is in pin_plan.h. Coordinates
 * come as a snapshot of the task store, taken under the store's lock by the callback, only when
 * pin_wake() said that the store has changed. Nothing is locked while it reads, writes or talks to
 * systemd. */
#include "paddock/affinity.h"
#include "paddock/cpuset.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <jansson.h>

struct pin;

/* One task's coordinates. Strings are owned by the array that the snapshot callback fills. */
struct pin_coord {
    char *task_id, *alloc_id, *task_name, *container_id;
    char *source;   /* LinuxResources.cpuset_cgroup, "" = none */
    char *reserved; /* LinuxResources.cpuset_cpus, "" = shared task */
    pid_t pid;      /* the container's init, from Docker's inspect; 0 = not known */
};
/** Releases what it holds and zeroes it. */
void pin_coord_done(struct pin_coord *c);

enum pin_state {
    PIN_PENDING,       /* not checked yet */
    PIN_PINNED,        /* actual == wanted, and the unit holds it (or there is none) */
    PIN_UNIT_UNSYNCED, /* pinned, but the unit property could not be set: retried with a back-off */
    PIN_CONSTRAINED,   /* the kernel's effective set is smaller (offline CPU, tighter ancestor) */
    PIN_HELD,      /* pool-empty or source-gone or cores of others in it: the last good set stays */
    PIN_CONTESTED, /* another writer keeps putting its value back */
    PIN_FAILED,    /* the kernel refuses the write; backed off */
    PIN_SPILLED,   /* every wanted CPU is offline: it runs on CPUs that nobody has reserved */
    PIN_NO_CPU, /* every online CPU is reserved by other tasks: the container stays where it is */
    PIN_UNMANAGED, /* no source, no path, no cgroup v2 */
};

/* A change of state, or a correction, for the task event. @message is a whole sentence. */
struct pin_event {
    const char *task_id, *alloc_id, *task_name;
    enum pin_state state;
    const char *message;                   /* "cpuset repaired: 0-3 -> 2-3 (overwritten)" */
    const char *old_set, *new_set, *cause; /* the sets as list text; @cause is one word or two */
};

struct pin_options {
    int cgroup_root_fd;      /* the cgroup v2 mount, borrowed; -EBADF = none, then no thread runs */
    const char *cgroup_root; /* its path, which prefixes pin_coord.source ("/sys/fs/cgroup") */
    int proc_fd;             /* /proc, for tests a folder; borrowed */
    uint64_t interval_us;    /* the tick */
    bool enabled;
    bool systemd;  /* keep AllowedCPUs in step by sd-bus */
    bool realtime; /* the thread runs with the lowest real-time priority where that does no harm */
    const char *kernel_config; /* of the running kernel; NULL = /boot/config-RELEASE */
    bool own_affinity;         /* all threads of this process stay off the reserved cores */
    bool mems_follow;          /* cpuset.mems too */
    const char *node_root;     /* NULL = "/sys/devices/system/node"; read once */
    const char *bus;           /* address of the system bus; NULL = the machine's */
    uint64_t tell_again_us;    /* a state of a task is reported once in this time; 0 = 60 s */
    /* Fills *ret (malloc'ed array of *ret_n, strings malloc'ed): all tasks that run. Called from
     * the pin thread. */
    int (*snapshot)(void *ctx, struct pin_coord **ret, size_t *ret_n);
    /* Called from the pin thread, outside of any lock; must not block. */
    void (*event)(void *ctx, const struct pin_event *e);
    /* The threads of this process are on other CPUs now: @a, borrowed. For processes that outlive
     * the plugin, which follow. Called from the pin thread with no lock held; must not block. NULL
     * allowed. */
    void (*affinity)(void *ctx, const struct affinity *a);
    /* The reconciler cannot go on (@r: -errno of its loop). Called from the pin thread, which then
     * ends: nothing is pinned any more. NULL allowed. */
    void (*ended)(void *ctx, int r);
    void *ctx;
};

/** Starts the thread. Returns 0; -errno (then nothing runs). */
int pin_new(const struct pin_options *o, struct pin **ret) MUST_CHECK;
/** Stops the thread and waits for it. NULL allowed. */
void pin_free(struct pin *p);
/** The store has changed: take a new snapshot now. Any thread, never blocks. */
void pin_wake(struct pin *p);
/** Returns why nothing is pinned on this host ("cgroup v1", "cpuset controller not enabled..."), or
 * "" when the thread runs. Owner: @p. Any thread. */
const char *pin_disabled_reason(const struct pin *p);

/** The mask that this process had before the reconciler changed it: for processes that outlive the
 * plugin. When it held every CPU that was online, it holds all CPUs, so that CPUs that come online
 * later are in it. Owner: @p. NULL when it is not known, or without @p. Any thread. */
const struct affinity *pin_initial_affinity(const struct pin *p);

/** The set for a create request, by the reconciler's own rule.
 *  @p: the cores of its tasks count as reserved; NULL = no task is known.
 *  @cgroup_root_fd, @cgroup_root: as in the options. @source, @reserved: as in struct pin_coord.
 *  Returns 0; -ENODATA no CPU is left, or nothing is known; -ENOENT there is no source; other
 * -errno. Context: any thread. Reads files only, and needs no running reconciler. */
int pin_wanted_now(struct pin *p, int cgroup_root_fd, const char *cgroup_root, const char *source,
                   const char *reserved, struct cpuset *ret) MUST_CHECK;

/** The memory nodes of @cpus; empty unless mems are followed, and without NUMA. Any thread. */
void pin_mems(const struct pin *p, const struct cpuset *cpus, struct cpuset *ret);

/** Everything as JSON for the control socket: {"tasks": [...], "counters": {...}, "host": {...}}.
 *  Owner: caller. Returns NULL when out of memory. Any thread: takes the lock for one task at a
 * time. */
json_t *pin_status(struct pin *p);
/** The counters as Prometheus text; free(). Any thread. */
char *pin_metrics(struct pin *p);
