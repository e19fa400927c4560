#pragma once
/* Where the wanted set comes from: the task's source folder, and the parent that it shares with
 * others. */
#include "paddock/cgroup.h"
#include "paddock/pin_plan.h"

/* A parent of sources in use: <root>/nomad.slice/share.slice and its neighbours. */
struct pin_parent {
    char *path; /* below the root, "nomad.slice/share.slice" */
    bool in_share, in_reserve;
    struct cgroup_file cpus;    /* its own cpuset.cpus: blank = empty pool. Of a share.slice only */
    struct cgroup_file reserve; /* the sibling reserve.slice's cpuset.cpus. Of a share.slice only */
    int watch, reserve_watch;   /* inotify's, -1 = none */
    size_t users;
    bool dirty, changed;
    struct pin_parent *next;
};

/** Where @source is below @root: "" when there is none or when it lies elsewhere. Pure. */
const char *pin_source_below(const char *root, const char *source);

/** Makes the parent of source path @below (not opened yet). Returns 0; -ENOMEM. */
int pin_parent_new(const char *below, struct pin_parent **ret) MUST_CHECK;
void pin_parent_free(struct pin_parent *p);

/** Opens what is not open and reads both files. Opens nothing once both are there.
 *  Returns 1 when the wanted set of its tasks may have changed, else 0. */
int pin_parent_read(struct pin_parent *p, int root_fd, char *scratch, size_t size) MUST_CHECK;
