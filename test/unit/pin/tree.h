/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* A cgroup tree and a /proc in a temporary folder, with the layout of a client >= 1.7 (or 1.6)
 * and of Docker. */
#include "paddock/pin.h"

#include <pthread.h>

#define TREE_TASKS_MAX 1000

struct tree_task {
    char id[80]; /* of the container, 64 hex digits */
    char alloc[40];
    char source[256];            /* below the root */
    char cgroup[256];            /* the container's folder, below the root */
    char reserved[64], name[64]; /* of the task, "web" */
    pid_t pid;
    bool present;
};

struct tree {
    char dir[64], root[80], proc[80];
    int root_fd, proc_fd;
    int inotify_fd;       /* the test's own */
    pthread_mutex_t lock; /* of the tasks: the pin thread takes its snapshot here */
    struct tree_task tasks[TREE_TASKS_MAX];
    size_t n;
    /* Reported events: "message [state, old > new, cause]". */
    pthread_cond_t reported;
    char events[64][512];
    size_t events_n;
};

void tree_init(struct tree *t);
void tree_done(struct tree *t);

/* Writes @text to @path below the root in a single write. Makes the folders. An existing file keeps
 * its inode, because the inode is watched. */
void tree_put(struct tree *t, const char *path, const char *text);
/* Reads @path below the root without trailing blanks. Returns @out: "" for a missing file. */
const char *tree_get(struct tree *t, const char *path, char *out, size_t size);
/* Waits up to 10 s until the existing file contains @text. Returns whether it did. */
bool tree_wait(struct tree *t, const char *path, const char *text);

/* Sets share.slice and reserve.slice of a client >= 1.7, and each shared scope's effective set. */
void tree_share(struct tree *t, const char *pool, const char *reserve);

/* Adds a task with a container whose set is @actual. @reserved is "" for a shared task. */
struct tree_task *tree_add(struct tree *t, const char *reserved, const char *actual);

/* Makes the container's folder and the line of its process in /proc. */
void tree_put_container(struct tree *t, const struct tree_task *x, const char *actual);

/* Options for a reconciler on this tree. */
struct pin_options tree_options(struct tree *t);
/* Waits up to 10 s for an event with @text in it. Returns whether it came. */
bool tree_wait_event(struct tree *t, const char *text);

/* Path of the container's cpuset.cpus below the root. Valid until the next call. */
const char *tree_cpus(const struct tree_task *x);
/* Calls pin_show_status() for up to 10 s until @is returns true. It polls because not every change
 * raises an event. Returns whether @is did. */
bool tree_wait_status(struct pin *p, bool (*is)(const json_t *status, void *ctx), void *ctx);
/* Returns a counter of pin_show_status(). */
json_int_t tree_counter(struct pin *p, const char *name);
/* Waits until the counter is at least @n. */
bool tree_wait_counter(struct pin *p, const char *name, json_int_t n);
/* Waits until the text @key of the @i-th task in pin_show_status() is @want. "gone" means that this
 * task does not exist. Returns whether it became so. */
bool tree_wait_task(struct pin *p, size_t i, const char *key, const char *want);
