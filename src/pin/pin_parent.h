#pragma once
/* The folder that a task's source lies in, and which it shares with other tasks:
 * <root>/nomad.slice/share.slice, <root>/nomad.slice/reserve.slice, or <root>/nomad.slice itself
 * with an old client (1.3 - 1.6).
 *
 * The pin thread owns the list of those in use and holds the lock while it changes it. The create
 * request opens one for a moment, without a list and without watches. */
#include "src/pin/pin_watch.h"

struct pin_parent {
    char *path; /* below the root, "nomad.slice/share.slice" */
    bool in_share, in_reserve;
    struct pin_file cpus;    /* share.slice's cpuset.cpus: blank = empty pool */
    struct pin_file reserve; /* reserve.slice's cpuset.cpus: the cores of all tasks */
    size_t users;
    bool changed; /* in this pass: the wanted set of its tasks may be another one */
    struct pin_parent *next;
};

/** Where @source is below @root: "" when there is none or when it lies elsewhere. Pure. */
const char *pin_parent_below(const char *root, const char *source);

/** Makes the parent of source path @below (not opened yet). Returns 0; -ENOMEM. */
int pin_parent_new(const char *below, struct pin_parent **ret) MUST_CHECK;
/** NULL allowed. It has no watches. */
void pin_parent_free(struct pin_parent *x);

/** The parent of source path @below in @list, which gets a new one when it has none. One more user.
 *  Returns 0; -ENOMEM. */
int pin_parent_hold(struct pin_parent **list, const char *below,
                    struct pin_parent **ret) MUST_CHECK;
/** One user less; the last one removes it. NULL allowed. */
void pin_parent_drop(struct pin_parent **list, struct pin_watch *w, struct pin_parent *x);

/** Opens what is not open and reads both files. Opens nothing once both are there.
 *  share.slice and reserve.slice are the two slices of the client's own parent. Beside the scopes
 * of an old client they exist after an upgrade of the client, which then writes only to them.
 *  Returns 1 when the wanted set of its tasks may have changed, else 0. */
int pin_parent_read(struct pin_parent *x, int root_fd, char *scratch, size_t size) MUST_CHECK;
/** Watches what is open, and removes the watch of what is not. */
void pin_parent_watch(struct pin_parent *x, struct pin_watch *w);
