#pragma once
/* The task store: the one thing that all threads share. Each task's coordinates (container id,
 * alloc id, task name, cgroup path), what is known of its life, and who waits for its end. One
 * mutex, held for memory only: never over a system call that can block, a Docker call or a
 * callback.
 *
 * A task is looked up with a reference (store_get / task_unref) and never moves. Fields above the
 * line are fixed when it is added; those below change under the lock and are read by store_look or
 * by the setters. */
#include "paddock/cleanup.h"
#include "paddock/pin.h"
#include "paddock/task_config.h"
#include <stdbool.h>
#include <stdint.h>

struct store;

enum task_phase {
    TASK_STARTING, /* StartTask is at work: the id is taken */
    TASK_RUNNING,
    TASK_EXITED,
};

struct task_exit {
    int code, signal;
    bool oom;
    char err[512]; /* "" = none; "Docker container exited with non-zero exit code: 3" */
};

/* The end of a container, as it was reported. */
struct task_end {
    bool known;
    struct task_exit exit;
    int64_t when_ns; /* since 1970 */
};

/* What a task is at one moment: a copy, for whoever looks. */
struct task_look {
    enum task_phase phase;
    char container_id[65], image_id[80];
    pid_t pid;
    bool tty, logs;
    int64_t started_ns, completed_ns; /* since 1970, 0 = not yet */
    bool addr_auto;
    char addr[64];       /* network override */
    int64_t oom_ns;      /* when something inside was last killed when out of memory; 0 = never */
    bool exit_in_events; /* of docker_state; false while unknown */
    struct task_exit exit;
};

struct task {
    char *id, *alloc_id, *name, *stdout_path, *stderr_path;
    char *source, *reserved; /* LinuxResources.cpuset_cgroup and cpuset_cpus */
    /* ---- under the store's lock ---- */
    struct kvs port_map; /* of the network override: label -> port */
    struct task_look now;
    struct task_end early; /* reported in phase STARTING */
    struct task_waiter *waiters;
    bool stored;
    pid_t seen_pid;    /* see store_see_process */
    bool logs_movable; /* see store_set_logs_movable */
    unsigned refs;
    struct store *store;
    struct task *next;
};

/** Returns 0; -ENOMEM. Owner: caller, store_free. */
int store_new(struct store **ret) MUST_CHECK;
/** Waiters that are left are not called. References must be gone. */
void store_free(struct store *s);

/** Adds a task in phase STARTING, with copies of @c's coordinates. The store keeps one reference,
 * *@ret is another. Returns 0; -EEXIST the id is there; -ENOMEM. */
int store_add(struct store *s, const struct task_config *c, struct task **ret) MUST_CHECK;
/** NULL = unknown. Owner: caller, task_unref. */
struct task *store_get(struct store *s, const char *id);
struct task *store_get_container(struct store *s, const char *container_id);
struct task *task_ref(struct task *t);
void task_unref(struct task *t);
static inline void task_unrefp(struct task **t) {
    task_unref(*t);
    *t = NULL;
}
#define AUTO_TASK __attribute__((cleanup(task_unrefp)))

/** Takes it out of the store (the memory lives as long as there are references). Whoever still
 * waits is told an exit: the recorded one, or "task was destroyed". */
void store_remove(struct store *s, struct task *t);

/** References to all tasks; free() the array after task_unref of each. Returns 0; -ENOMEM. */
int store_all(struct store *s, struct task ***ret, size_t *ret_n) MUST_CHECK;

struct task_look store_look(const struct task *t);

/** From here on its events are found by the container's id. Texts are copied. An end and an OOM
 * kill reported for an earlier container are forgotten. */
void store_set_container(struct task *t, const char *container_id, const char *image_id, bool tty,
                         bool logs);
/** A container of the allocation can put another folder in the place of alloc/logs. All of its
 * tasks that are in the store now may then have their mount point elsewhere, for the rest of their
 * lives.
 */
void store_set_logs_movable(struct store *s, const char *alloc_id);
/** True after that, and for a container that no task has. */
bool store_is_logs_movable(struct store *s, const char *container_id);
/** The container runs (again); @pid may be new. Without effect on a task that has exited. Returns
 * true with *@ret_early when an end was reported while the task was STARTING: the caller records it
 * with store_set_exited. */
bool store_set_running(struct task *t, pid_t pid, int64_t started_ns,
                       struct task_end *ret_early) MUST_CHECK;
/** Whether the container's first process has ended although the task runs. @there: its pid exists
 * on this machine now. A pid that was never here is one of another machine's Docker: false. */
bool store_see_process(struct task *t, bool there) MUST_CHECK;
/** False until this is called for the task's container. */
void store_set_exit_in_events(struct task *t, bool yes);
/** @port_map and @addr are copied. Returns 0; -ENOMEM. */
int store_set_network(struct task *t, const struct kvs *port_map, const char *addr,
                      bool auto_advertise) MUST_CHECK;
/** A copy of the port map. Returns 0; -ENOMEM. Owner: caller, kvs_done. */
int store_ports(const struct task *t, struct kvs *ret) MUST_CHECK;
/** Something in the container was killed when out of memory, at @when_ns (since 1970). Returns true
 * for the first time. Without effect when the task has another container by now. */
bool store_set_oom(struct task *t, const char *container_id, int64_t when_ns);
void store_set_logs(struct task *t, bool logs);
/** Records the end of a RUNNING task, once: a second call changes nothing. Waiters are called from
 * this thread, without the lock. Returns true when this call recorded it. In phase STARTING the
 * first end is only kept for store_set_running: the start may still fail and be repeated with
 * another container. The end of a container that is not the task's is ignored. */
bool store_set_exited(struct task *t, const char *container_id, const struct task_exit *exit,
                      int64_t completed_ns);

/* ---- waiting for the end ---- */
struct task_waiter {
    void (*done)(void *ctx,
                 const struct task_exit *exit); /* exactly once, unless cancelled in time */
    void *ctx;
    struct task_waiter *next;
};
/** Queues @w (caller's memory until done or cancelled), or calls it at once when the task has
 * ended. */
void store_wait(struct task *t, struct task_waiter *w);
/** True: it was taken out, done will not be called. False: done was called or is being called. */
bool store_wait_cancel(struct task *t, struct task_waiter *w);

/** The coordinates of all running tasks for the reconciler (pin_options.snapshot). Returns 0;
 * -ENOMEM. Owner: caller, pin_coord_done of each, then free(). */
int store_snapshot(void *store, struct pin_coord **ret, size_t *ret_n);
