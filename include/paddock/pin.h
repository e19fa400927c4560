/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The reconciler: one thread that keeps every container's cpuset equal to the set that Nomad wants.
 *
 * - It reads the real sets from open files.
 * - It reacts immediately: inotify watches the sources and each container's file, and the kernel's
 *   device events report CPUs. A tick finds the changes that raise no event.
 * - It keeps the systemd unit's copy of the set (AllowedCPUs) in step.
 * - It publishes states, counters and a history.
 *
 * The rule is in pin_plan.h. The task coordinates are a snapshot of the task store. The callback
 * takes the snapshot under the store's lock, and only after pin_wake() reported a change of the
 * store. The thread holds none of the store's locks while it reads, writes or calls systemd. */
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
/** Frees the strings of @c and zeroes it. */
void pin_task_coord_done(struct pin_coord *c);

enum pin_state {
    PIN_PENDING,       /* not checked yet */
    PIN_PINNED,        /* actual == wanted, and the unit has the same set (or no unit exists) */
    PIN_UNIT_UNSYNCED, /* pinned, but setting the unit's property failed; retried with a back-off */
    PIN_CONSTRAINED,   /* the kernel's effective set is smaller (offline CPU, tighter ancestor) */
    PIN_HELD,          /* no wanted set (the causes are enum pin_hold); the last good set stays */
    PIN_CONTESTED,     /* another writer keeps putting its value back */
    PIN_FAILED,        /* the kernel refuses the write; backed off */
    PIN_SPILLED,       /* every wanted CPU is offline; it runs on unreserved CPUs */
    PIN_NO_CPU,        /* every online CPU is reserved by other tasks; the set is not changed */
    PIN_UNMANAGED,     /* no source, no path, no cgroup v2 */
};

/* A change of state, or a correction, for the task event. @message is a whole sentence. */
struct pin_event {
    const char *task_id, *alloc_id, *task_name;
    enum pin_state state;
    const char *message;                   /* "cpuset repaired: 0-3 -> 2-3 (overwritten)" */
    const char *old_set, *new_set, *cause; /* the sets as list text; @cause is one word or two */
};

struct pin_options {
    int cgroup_root_fd;      /* the cgroup v2 mount, borrowed; -EBADF = none, and no thread runs */
    const char *cgroup_root; /* its path, the prefix of pin_coord.source ("/sys/fs/cgroup") */
    int proc_fd;             /* /proc, or a folder in tests; borrowed */
    uint64_t interval_us;    /* the tick */
    bool enabled;
    bool systemd;  /* keep AllowedCPUs in step, through sd-bus */
    bool realtime; /* run the thread with the lowest real-time priority where that does no harm */
    const char *kernel_config; /* of the running kernel; NULL = /boot/config-RELEASE */
    bool own_affinity;         /* keep all threads of this process off the reserved cores */
    bool mems_follow;          /* update cpuset.mems too */
    const char *node_root;     /* NULL = "/sys/devices/system/node"; read once */
    const char *bus;           /* address of the system bus; NULL = the host's own */
    uint64_t tell_again_us;    /* least time between reports of one state of a task; 0 = 60 s */
    /* Fills *ret (malloc'ed array of *ret_n, strings malloc'ed): all running tasks. Called from the
     * pin thread. */
    int (*snapshot)(void *ctx, struct pin_coord **ret, size_t *ret_n);
    /* Called from the pin thread with no lock held; must not block. */
    void (*event)(void *ctx, const struct pin_event *e);
    /* The threads of this process have moved to the CPUs of @a (borrowed). Processes that outlive
     * the plugin move to the same CPUs. Called from the pin thread with no lock held; must not
     * block. NULL allowed. */
    void (*affinity)(void *ctx, const struct affinity *a);
    /* The reconciler cannot go on (@r: -errno of its loop). Called from the pin thread, which ends
     * afterwards. No task is pinned any more. NULL allowed. */
    void (*ended)(void *ctx, int r);
    void *ctx;
};

/** Starts the thread. Returns 0, or -errno when no thread runs. Owner of @ret:
 * caller, pin_free(). */
int pin_new(const struct pin_options *o, struct pin **ret) MUST_CHECK;
/** Stops the thread and waits for it. NULL allowed. */
void pin_free(struct pin *p);
/** Reports that the task store has changed. The pin thread takes a new snapshot. Any thread;
 * never blocks. */
void pin_wake(struct pin *p);
/** Returns why nothing is pinned on this host ("cgroup v1", "cpuset controller not enabled..."), or
 * "" when the thread runs. Owner: @p. Any thread. */
const char *pin_disabled_reason(const struct pin *p);

/** Returns the mask that this process had before the reconciler changed it, for processes that
 * outlive the plugin. A mask that contained every online CPU is returned as all CPUs, so that it
 * also contains CPUs that come online later. Owner: @p. Returns NULL when the mask is not known, or
 * when @p is NULL. Any thread. */
const struct affinity *pin_affinity_initial(const struct pin *p);

/** Computes the set for a create request, with the reconciler's own rule.
 *  @p: the cores of its tasks count as reserved; NULL = no task is known.
 *  @cgroup_root_fd, @cgroup_root: as in the options. @source, @reserved: as in struct pin_coord.
 *  Returns 0; -ENODATA when no CPU is left, or nothing is known; -ENOENT when the task has no
 * source; other -errno. Context: any thread. Reads files only, and needs no running reconciler. */
int pin_wanted_now(struct pin *p, int cgroup_root_fd, const char *cgroup_root, const char *source,
                   const char *reserved, struct cpuset *ret) MUST_CHECK;

/** Sets @ret to the memory nodes of @cpus. It is empty when mems are not followed, and on a host
 * without NUMA. Any thread. */
void pin_wanted_mems(const struct pin *p, const struct cpuset *cpus, struct cpuset *ret);

/** Returns everything as JSON for the control socket: {"tasks": [...], "counters": {...}, "host":
 * {...}}.
 *  Owner: caller. Returns NULL when out of memory. Any thread; locks one task at a time. */
json_t *pin_show_status(struct pin *p);
/** Returns the counters as Prometheus text, NULL when out of memory. Owner: caller, free().
 * Any thread. */
char *pin_show_metrics(struct pin *p);
