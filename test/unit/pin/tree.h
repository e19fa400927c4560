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
    /* What was told: "message [state, old > new, cause]". */
    pthread_cond_t told;
    char events[64][512];
    size_t events_n;
};

void tree_init(struct tree *t);
void tree_done(struct tree *t);

/* Writes @text to @path below the root in one write, and makes the folders. An existing file
 * keeps its inode, which is watched. */
void tree_put(struct tree *t, const char *path, const char *text);
/* Reads it, the trailing blanks cut. Returns @out; "" when it is not there. */
const char *tree_get(struct tree *t, const char *path, char *out, size_t size);
/* Waits until the file, which is there, says @text. Returns whether it came to it within 10 s. */
bool tree_wait(struct tree *t, const char *path, const char *text);

/* share.slice and reserve.slice of a client >= 1.7, and the effective set of each shared scope. */
void tree_share(struct tree *t, const char *pool, const char *reserve);

/* A task with its container, at @actual. @reserved: "" = shared. */
struct tree_task *tree_add(struct tree *t, const char *reserved, const char *actual);

/* The container's folder and its process's line in /proc. */
void tree_put_container(struct tree *t, const struct tree_task *x, const char *actual);

/* pin_options on this tree. */
struct pin_options tree_options(struct tree *t);
/* Waits for an event with @text in it. */
bool tree_wait_event(struct tree *t, const char *text);

/* The container's cpuset.cpus below the root; good until the next call. */
const char *tree_cpus(const struct tree_task *x);
/* Asks pin_show_status until @is says so, for 10 s: there is no event for all that it shows.
 * Returns whether it came to it. */
bool tree_wait_status(struct pin *p, bool (*is)(const json_t *status, void *ctx), void *ctx);
/* A counter of pin_show_status. */
json_int_t tree_counter(struct pin *p, const char *name);
/* Waits until the counter is at least @n. */
bool tree_wait_counter(struct pin *p, const char *name, json_int_t n);
/* Waits until text @key of the @i-th task in pin_show_status is @want; "gone" = there is no such
 * task.
 */
bool tree_wait_task(struct pin *p, size_t i, const char *key, const char *want);
