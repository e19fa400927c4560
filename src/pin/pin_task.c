/* SPDX-License-Identifier: MPL-2.0 */
/* One task: its entry in the list, and the cpuset files of its container (the actual set) and of
 * its source (the wanted set).
 *
 * The pin thread calls this with the lock held. The container's files are found by its process,
 * because the path depends on Docker's cgroup driver, on --cgroup-parent and on the runtime. They
 * are kept open: reading an open file is 12 times cheaper than opening it, and its error reports a
 * removed cgroup. */
#include "src/pin/pin_task.h"
#include "src/pin/pin_priv.h"
#include "paddock/held.h"

#include <limits.h>
#include <string.h>

/* ---- creation and removal ---- */

void pin_task_coord_done(struct pin_coord *c) {
    cleanup_free(&c->task_id);
    cleanup_free(&c->alloc_id);
    cleanup_free(&c->task_name);
    cleanup_free(&c->container_id);
    cleanup_free(&c->source);
    cleanup_free(&c->reserved);
    *c = (struct pin_coord){0};
}

int pin_task_new(struct pin *p, struct pin_coord *take, struct pin_task **ret) {
    AUTO_FREE struct pin_task *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->below = pin_parent_below(p->cgroup_root, take->source);
    t->has_own = cpuset_parse(take->reserved, strlen(take->reserved), &t->own) == 0;
    t->cpus = t->source_cpus = PIN_FILE_NONE;
    t->effective = t->mems.file = t->source_effective = CGROUP_FILE_NONE;
    t->told = PIN_PENDING;
    if (t->below[0]) {
        int r = pin_parent_hold(&p->parents, t->below, &t->parent);
        if (r < 0)
            return r;
    }
    t->seq = ++p->seq;
    t->c = TAKE_STRUCT(*take);
    *ret = TAKE_PTR(t);
    return 0;
}

static void close_source(struct pin *p, struct pin_task *t) {
    pin_watch_close(&p->watch, &t->source_cpus);
    t->source_level = pin_level_drop(&p->levels, t->source_level);
    cgroup_file_close(&t->source_effective);
}

void pin_task_close(struct pin *p, struct pin_task *t) {
    pin_writer_unmark(&p->writers, &t->writer);
    t->writer = (struct pin_writer){0};
    t->watch_off = false;
    pin_mems_close(p, t);
    pin_unit_close(&t->unit);
    pin_watch_close(&p->watch, &t->cpus);
    cgroup_file_close(&t->effective);
    t->level = pin_level_drop(&p->levels, t->level);
    t->inner = pin_inner_close(t->inner);
    free(t->dir_path);
    t->dir_path = NULL;
}

void pin_task_free(struct pin *p, struct pin_task *t) {
    p->removed++;
    pin_task_close(p, t);
    close_source(p, t);
    pin_parent_drop(&p->parents, &p->watch, t->parent);
    pin_task_coord_done(&t->c);
    free(t);
}

enum pin_state pin_task_state(const struct pin_task *t) {
    return t->state == PIN_PINNED && t->unit.error ? PIN_UNIT_UNSYNCED : t->state;
}

/* ---- the container's files ---- */

static const char *unit_of(const char *path) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t len = strlen(name);
    return len > 6 && strcmp(name + len - 6, ".scope") == 0 ? name : NULL;
}

static int open_files(struct pin *p, struct pin_task *t, int dir) {
    int r = cgroup_file_open(dir, "cpuset.cpus", &t->cpus.file);
    if (r == 0)
        r = cgroup_file_open(dir, "cpuset.cpus.effective", &t->effective);
    if (r == 0 && p->nodes.n > 0 && t->has_own)
        r = cgroup_file_open(dir, "cpuset.mems", &t->mems.file);
    return r;
}

static int open_container(struct pin *p, struct pin_task *t) {
    char path[PATH_MAX], own[PATH_MAX];
    if (t->c.pid <= 0)
        return -ESRCH;
    AUTO_FD int dir = cgroup_container_open(p->o.proc_fd, p->o.cgroup_root_fd, t->c.pid,
                                            t->c.container_id, path, own);
    if (dir < 0)
        return dir;
    int r = open_files(p, t, dir);
    if (r == 0)
        r = pin_inner_open(p->o.cgroup_root_fd, path, own, &t->inner);
    if (r == 0) {
        t->dir_path = strdup(path);
        r = t->dir_path ? 0 : -ENOMEM;
    }
    if (r < 0) {
        pin_task_close(p, t);
        return r;
    }
    pin_unit_open(&p->units, &t->unit, unit_of(t->dir_path), clock_now_us());
    t->level = pin_level_hold(&p->levels, t->dir_path);
    pin_watch_add(&p->watch, &t->cpus);
    return 0;
}

/* Opens the files when they are not open, or when the cgroup was replaced. Returns the same values
 * as pin_task_read(). Sets *effective when it has opened them. */
static int read_cpus(struct pin *p, struct pin_task *t, bool *effective) {
    for (int attempt = 0; attempt < 2; attempt++) {
        if (!t->dir_path) {
            int r = open_container(p, t);
            if (r < 0)
                return r;
            *effective = true;
        }
        int changed = cgroup_file_read(&t->cpus.file, p->scratch, sizeof(p->scratch));
        if (t->cpus.file.r != -ENODEV)
            return changed;
        p->counters.reopened++;
        pin_task_close(p, t);
    }
    return -ESRCH;
}

int pin_task_read(struct pin *p, struct pin_task *t, bool effective) {
    HELD_ASSERT(&p->lock);
    int changed = read_cpus(p, t, &effective);
    if (changed < 0)
        return changed;
    changed |= pin_inner_read(t->inner, p->scratch, sizeof(p->scratch));
    if (effective || changed)
        changed |= cgroup_file_read(&t->effective, p->scratch, sizeof(p->scratch));
    return changed;
}

/* ---- the source's files ---- */

static void open_source(struct pin *p, struct pin_task *t) {
    AUTO_FD int dir = cgroup_dir_open(p->o.cgroup_root_fd, t->below);
    if (dir < 0 || cgroup_file_open(dir, "cpuset.cpus", &t->source_cpus.file) < 0)
        return;
    if (cgroup_file_open(dir, "cpuset.cpus.effective", &t->source_effective) < 0)
        t->source_effective = CGROUP_FILE_NONE; /* a read of it reports -EBADF */
    t->source_level = pin_level_hold(&p->levels, t->below);
    pin_watch_add(&p->watch, &t->source_cpus);
}

/* For a scope in share.slice only the effective set is read again. A client with a share.slice
 * leaves the scope's own file blank. A set in that file would also appear in the effective set. */
bool pin_task_read_source(struct pin *p, struct pin_task *t) {
    HELD_ASSERT(&p->lock);
    if (!t->parent || (t->has_own && t->parent->in_reserve))
        return false;
    bool opened = t->source_cpus.file.fd < 0 || t->source_effective.fd < 0;
    bool changed = t->source_cpus.file.fd < 0;
    if (opened) {
        close_source(p, t);
        open_source(p, t);
    }
    if (!t->parent->in_share || changed)
        changed |= cgroup_file_read(&t->source_cpus.file, p->scratch, sizeof(p->scratch)) != 0;
    int r = t->source_cpus.file.r;
    if (t->parent->in_share || r == -ENODATA || r == -EBADF)
        changed |= cgroup_file_read(&t->source_effective, p->scratch, sizeof(p->scratch)) != 0;
    /* The folder was removed: the next check opens the new one. */
    if (t->source_cpus.file.r == -ENODEV || t->source_effective.r == -ENODEV)
        close_source(p, t);
    return changed;
}

/* ---- watches ---- */

void pin_task_watch(struct pin *p, struct pin_task *t, bool at_tick) {
    HELD_ASSERT(&p->lock);
    if (at_tick)
        t->watch_off = false;
    if (!t->watch_off)
        pin_watch_add(&p->watch, &t->cpus);
    pin_watch_add(&p->watch, &t->source_cpus);
}
