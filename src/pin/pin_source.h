#pragma once
/* Where the wanted set comes from: the task's source folder, and the parent that it shares with
 * others. */
#include "paddock/cgroup.h"
#include "paddock/pin_plan.h"

/* A parent of sources in use: <root>/nomad.slice/share.slice, <root>/nomad.slice/reserve.slice, or
 * <root>/nomad.slice itself with an old client (1.3 - 1.6). */
struct pin_parent {
    char *path; /* below the root, "nomad.slice/share.slice" */
    bool in_share, in_reserve;
    struct cgroup_file cpus;    /* share.slice's cpuset.cpus: blank = empty pool */
    struct cgroup_file reserve; /* reserve.slice's cpuset.cpus: the cores of all tasks */
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
 *  share.slice and reserve.slice are the two slices of the client's own parent. Beside the scopes
 * of an old client they exist after an upgrade of the client, which then writes only to them.
 *  Returns 1 when the wanted set of its tasks may have changed, else 0. */
int pin_parent_read(struct pin_parent *p, int root_fd, char *scratch, size_t size) MUST_CHECK;

/** The wanted set of one task, from what was read in this pass.
 *  @x: NULL = the source is not below the root. @cpus, @effective: of the source's own folder.
 *  @own: the task's cores; NULL = shared task.
 *  @others: in: the cores of all known tasks; out: what this task must not use.
 *  Returns as pin_source_wanted(). Pure. */
enum pin_hold pin_source_want(const struct pin_parent *x, const struct cgroup_file *cpus,
                              const struct cgroup_file *effective, bool has_path,
                              const struct cpuset *own, struct cpuset *others, struct cpuset *ret);
