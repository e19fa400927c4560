/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The folder that contains a task's source. It is shared with other tasks:
 * <root>/nomad.slice/share.slice, <root>/nomad.slice/reserve.slice, or <root>/nomad.slice itself
 * with an old client (1.3 - 1.6).
 *
 * The pin thread owns the list of the folders in use, and holds the lock while it changes the list.
 * The create request opens one folder for a short time, without a list and without watches. */
#include "src/pin/pin_watch.h"

struct pin_parent {
    char *path; /* below the root, "nomad.slice/share.slice" */
    bool in_share, in_reserve;
    struct pin_file cpus;    /* share.slice's cpuset.cpus: blank = empty pool */
    struct pin_file reserve; /* reserve.slice's cpuset.cpus: the cores of all tasks */
    size_t users;
    bool changed; /* in this pass: the wanted set of its tasks may have changed */
    struct pin_parent *next;
};

/** Returns the path of @source below @root; "" when @source is empty or not below @root. Pure. */
const char *pin_parent_below(const char *root, const char *source);

/** Allocates the parent of the source path @below. Nothing is opened yet. Returns 0; -ENOMEM. */
int pin_parent_new(const char *below, struct pin_parent **ret) MUST_CHECK;
/** Frees @x, which has no watches. NULL allowed. */
void pin_parent_free(struct pin_parent *x);

/** Finds the parent of the source path @below in @list, or adds it, and adds one user to it.
 *  Returns 0; -ENOMEM. */
int pin_parent_hold(struct pin_parent **list, const char *below,
                    struct pin_parent **ret) MUST_CHECK;
/** Removes one user of @x. The last user also frees it. NULL allowed. */
void pin_parent_drop(struct pin_parent **list, struct pin_watch *w, struct pin_parent *x);

/** Opens the files that are not open, and reads both. Opens nothing while both are open.
 *  share.slice and reserve.slice are the two slices of the client's own parent. They exist next to
 * the scopes of an old client after an upgrade. The upgraded client writes only to the two slices.
 *  Returns 1 when the wanted set of its tasks may have changed, else 0. */
int pin_parent_read(struct pin_parent *x, int root_fd, char *scratch, size_t size) MUST_CHECK;
/** Watches the files that are open, and removes the watches of the others. */
void pin_parent_watch(struct pin_parent *x, struct pin_watch *w);
