#pragma once
/* The effective set of a folder in which several tasks have theirs. A folder's own effective set
 * can only change when its text changes, which is reported, or when the effective set above it
 * changes, which is not. So one read per tick here stands for one read per task.
 *
 * The pin thread owns the list and holds the lock while it changes it. */
#include "paddock/cgroup.h"

struct pin_level {
    char *path;                   /* below the root, "system.slice" */
    struct cgroup_file effective; /* not open = not readable: it counts as changed */
    size_t users;
    bool changed; /* in this pass: what lies below has to be read */
    bool again;   /* in the next full pass too: the kernel may still have been busy below */
    struct pin_level *next;
};

/** The level of the folder that @below (a path below the root) lies in. @list gets a new one when
 * it has none. One more user. Returns it; NULL when out of memory, which the caller treats as a
 * level that has always changed. */
struct pin_level *pin_level_hold(struct pin_level **list, const char *below);
/** One user less; the last one removes it. NULL allowed. Returns NULL. */
struct pin_level *pin_level_drop(struct pin_level **list, struct pin_level *x);
/** Reads it and sets x->changed. @full: in a pass that reads everything; else x->changed is false.
 */
void pin_level_read(struct pin_level *x, bool full, int root_fd, char *scratch, size_t size);
