/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The task store: the one state that all threads share. It contains each task's coordinates
 * (container id, alloc id, task name, cgroup path), its phase and exit, and the waiters for
 * its end.
 *
 * One mutex protects it. The mutex is held for memory accesses only: never across a system call
 * that can block, a call to Docker or a callback.
 *
 * A lookup returns a reference (store_get, store_task_unref). A task never moves in memory. The
 * fields above the line in struct task are fixed when the task is added. The fields below the line
 * change under the lock; store_look() and the setters access them. */
#include "paddock/cleanup.h"
#include "paddock/pin.h"
#include "paddock/task_config.h"
#include <stdbool.h>
#include <stdint.h>

struct store;

enum task_phase {
    TASK_STARTING, /* StartTask runs; no other task can use the id */
    TASK_RUNNING,
    TASK_EXITED,
};

struct task_exit {
    int code, signal;
    bool oom;
    char err[512]; /* "" = none; for example "Docker container exited with non-zero exit code: 3" */
};

/* The end of a container, as it was reported. */
struct task_end {
    struct task_exit exit;
    int64_t when_ns; /* since 1970 */
};

/* A copy of a task's state at one moment. */
struct task_look {
    enum task_phase phase;
    char container_id[65], image_id[80];
    pid_t pid;
    bool tty, logs;
    int64_t started_ns, completed_ns; /* since 1970, 0 = not yet */
    bool addr_auto;
    char addr[64];  /* network override */
    int64_t oom_ns; /* when the kernel last killed a process in the container because memory was
                       used up; 0 = never */
    bool exit_in_events; /* see struct docker_state; false while unknown */
    struct task_exit exit;
};

struct task {
    char *id, *alloc_id, *name, *stdout_path, *stderr_path;
    char *source, *reserved; /* LinuxResources.cpuset_cgroup and cpuset_cpus */
    /* ---- under the store's lock ---- */
    struct kvs port_map; /* of the network override: label -> port */
    struct task_look now;
    struct task_end *early; /* reported in phase STARTING; NULL = none */
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
/** Remaining waiters are not called. No reference may be left. */
void store_free(struct store *s);

/** Adds a task in phase STARTING, with copies of @c's coordinates. The store keeps one reference;
 * *@ret is another. Returns 0; -EEXIST when a task has this id; -ENOMEM. */
int store_add(struct store *s, const struct task_config *c, struct task **ret) MUST_CHECK;
/** The task with this id, or the task that has this container. Returns NULL when no such task
 * exists. Owner: caller, store_task_unref(). */
struct task *store_get(struct store *s, const char *id);
struct task *store_get_container(struct store *s, const char *container_id);
struct task *store_task_ref(struct task *t);
void store_task_unref(struct task *t);
static inline void task_unrefp(struct task **t) {
    store_task_unref(*t);
    *t = NULL;
}
#define AUTO_TASK __attribute__((cleanup(task_unrefp)))

/** Removes @t from the store. The memory stays until the last reference is dropped. Remaining
 * waiters are called with an exit: the recorded one, or "task was destroyed". */
void store_remove(struct store *s, struct task *t);

/** References to all tasks. Owner: caller, store_task_unref() of each, then free() of the array.
 * Returns 0; -ENOMEM. */
int store_all(struct store *s, struct task ***ret, size_t *ret_n) MUST_CHECK;

/** A copy of the task's current state. */
struct task_look store_look(const struct task *t);

/** Sets the container of @t. From here on store_get_container() finds the task by the
 * container's id. Texts are copied. An end or an OOM kill that was reported for an earlier
 * container is forgotten. */
void store_set_container(struct task *t, const char *container_id, const char *image_id, bool tty,
                         bool logs);
/** Records that a container of the allocation can put another folder in the place of alloc/logs.
 * Each task of the allocation that is in the store now may then have its mount point elsewhere, for
 * the rest of its life. */
void store_set_logs_movable(struct store *s, const char *alloc_id);
/** True after store_set_logs_movable() for the container's task, and for a container without
 * a task. */
bool store_is_logs_movable(struct store *s, const char *container_id);
/** The container runs, or runs again; @pid may be new. No effect on a task that has exited. Returns
 * true with *@ret_early when an end was reported while the task was STARTING. The caller then
 * records that end with store_set_exited(). */
bool store_set_running(struct task *t, pid_t pid, int64_t started_ns,
                       struct task_end *ret_early) MUST_CHECK;
/** Returns whether the container's first process has ended although the task counts as running.
 * @there: the process exists on this machine now. A pid that never existed here belongs to a Docker
 * on another machine; the result is then false. */
bool store_see_process(struct task *t, bool there) MUST_CHECK;
/** Sets exit_in_events for the task's container. It is false until this call. */
void store_set_exit_in_events(struct task *t, bool yes);
/** @port_map and @addr are copied. Returns 0; -ENOMEM. */
int store_set_network(struct task *t, const struct kvs *port_map, const char *addr,
                      bool auto_advertise) MUST_CHECK;
/** A copy of the port map. Returns 0; -ENOMEM. Owner: caller, kvs_done. */
int store_ports(const struct task *t, struct kvs *ret) MUST_CHECK;
/** The kernel killed a process in the container because memory was used up, at @when_ns (since
 * 1970). Returns true for the first such kill. No effect when the task has another container
 * by now. */
bool store_set_oom(struct task *t, const char *container_id, int64_t when_ns);
/** Sets whether the task has logs to forward (task_look.logs). */
void store_set_logs(struct task *t, bool logs);
/** Records the end of a RUNNING task, once: a second call changes nothing. Calls the waiters from
 * this thread, without the lock. Returns true when this call recorded the end.
 *
 * In phase STARTING the first end is only kept for store_set_running(), because the start may
 * still fail and be repeated with another container. The end of a container that is not the task's
 * is ignored. */
bool store_set_exited(struct task *t, const char *container_id, const struct task_exit *exit,
                      int64_t completed_ns);

/* ---- waiting for the end ---- */
struct task_waiter {
    void (*done)(
        void *ctx,
        const struct task_exit *exit); /* called exactly once, unless it was cancelled in time */
    void *ctx;
    struct task_waiter *next;
};
/** Queues @w (caller's memory until it is done or cancelled). When the task has ended, calls
 * it immediately. */
void store_wait(struct task *t, struct task_waiter *w);
/** Returns true when @w was removed from the queue: done will not be called. Returns false when
 * done was called or is being called. */
bool store_wait_cancel(struct task *t, struct task_waiter *w);

/** The coordinates of all running tasks, for the reconciler (pin_options.snapshot). Returns 0;
 * -ENOMEM. Owner: caller, pin_task_coord_done() of each, then free(). */
int store_snapshot(void *store, struct pin_coord **ret, size_t *ret_n);
