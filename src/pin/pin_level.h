/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The effective set of a folder in which several tasks have theirs. A folder's own effective set
 * can only change when its text changes, which is reported, or when the effective set above it
 * changes, which is not. So one read per tick of that folder replaces one read per task.
 *
 * The pin thread owns the list and holds the lock while it changes it. */
#include "paddock/cgroup.h"

struct pin_level {
    char *path;                   /* below the root, "system.slice" */
    struct cgroup_file effective; /* when it cannot be opened, it counts as changed */
    size_t users;
    bool changed; /* in this pass: the files below must be read */
    bool again;   /* counts as changed in the next full pass too: the kernel may not have finished
                     below */
    struct pin_level *next;
};

/** Returns the level of the folder that contains @below (a path below the root), and adds one user
 * to it. Creates the level when @list has none. Returns NULL when out of memory; the caller treats
 * that as a level that has always changed. */
struct pin_level *pin_level_hold(struct pin_level **list, const char *below);
/** Removes one user of @x. The last user also frees it. NULL allowed. Returns NULL. */
struct pin_level *pin_level_drop(struct pin_level **list, struct pin_level *x);
/** Reads it and sets x->changed. @full: in a pass that reads everything; else x->changed
 * is false. */
void pin_level_read(struct pin_level *x, bool full, int root_fd, char *scratch, size_t size);
