/* One task: its files, one look at them, and the write. Called by the pin thread with the lock
 * held. */
#include "src/pin/pin_priv.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

/* ---- life ---- */

void pin_coord_done(struct pin_coord *c) {
    cleanup_free(&c->task_id);
    cleanup_free(&c->alloc_id);
    cleanup_free(&c->task_name);
    cleanup_free(&c->container_id);
    cleanup_free(&c->source);
    cleanup_free(&c->reserved);
    *c = (struct pin_coord){0};
}

static int find_parent(struct pin *p, const char *below, struct pin_parent **ret) {
    const char *slash = strrchr(below, '/');
    size_t len = slash ? (size_t)(slash - below) : 0;
    for (struct pin_parent *x = p->parents; x; x = x->next)
        if (strlen(x->path) == len && strncmp(x->path, below, len) == 0) {
            x->users++;
            *ret = x;
            return 0;
        }
    struct pin_parent *fresh;
    int r = pin_parent_new(below, &fresh);
    if (r < 0)
        return r;
    fresh->users = 1;
    fresh->next = p->parents;
    p->parents = fresh;
    *ret = fresh;
    return 0;
}

static void leave_parent(struct pin *p, struct pin_parent *x) {
    if (!x || --x->users > 0)
        return;
    for (struct pin_parent **at = &p->parents; *at; at = &(*at)->next)
        if (*at == x) {
            *at = x->next;
            break;
        }
    pin_watch_del(p, x->watch);
    pin_watch_del(p, x->reserve_watch);
    pin_parent_free(x);
}

int pin_task_new(struct pin *p, struct pin_coord *take, struct pin_task **ret) {
    AUTO_FREE struct pin_task *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->below = pin_source_below(p->cgroup_root, take->source);
    t->has_own = cpuset_parse(take->reserved, strlen(take->reserved), &t->own) == 0;
    t->source_cpus = t->source_effective = CGROUP_FILE_NONE;
    t->cpus = t->effective = t->mems = CGROUP_FILE_NONE;
    t->watch = t->source_watch = -1;
    t->told = PIN_PENDING;
    t->seq = ++p->seq;
    t->pin = p;
    t->dirty = t->source_dirty = true;
    if (t->below[0]) {
        int r = find_parent(p, t->below, &t->parent);
        if (r < 0)
            return r;
    }
    t->c = TAKE_STRUCT(*take);
    *ret = TAKE_PTR(t);
    return 0;
}

static void close_source(struct pin *p, struct pin_task *t) {
    t->source_watch = pin_watch_del(p, t->source_watch);
    cgroup_file_close(&t->source_cpus);
    cgroup_file_close(&t->source_effective);
}

void pin_task_close(struct pin *p, struct pin_task *t) {
    t->watch = pin_watch_del(p, t->watch);
    t->marked = t->watch_off = false; /* the kernel drops the mark with the file */
    t->writer = (struct pin_writer){0};
    pin_unit_forget(p, t);
    cgroup_file_close(&t->cpus);
    cgroup_file_close(&t->effective);
    cgroup_file_close(&t->mems);
    t->inner = pin_inner_close(t->inner);
    t->unit = NULL;
    free(t->dir_path);
    t->dir_path = NULL;
}

void pin_task_free(struct pin *p, struct pin_task *t) {
    if (!t)
        return;
    p->removed++;
    pin_task_close(p, t);
    close_source(p, t);
    leave_parent(p, t->parent);
    pin_coord_done(&t->c);
    free(t);
}

enum pin_state pin_task_state(const struct pin *p, const struct pin_task *t) {
    if (t->state == PIN_PINNED && p->o.systemd && t->unit && t->unit_error)
        return PIN_UNIT_UNSYNCED;
    return t->state;
}

/* ---- the container's files ---- */

static const char *unit_of(const char *path) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t len = strlen(name);
    return len > 6 && strcmp(name + len - 6, ".scope") == 0 ? name : NULL;
}

static int open_files(struct pin *p, struct pin_task *t, int dir) {
    int r = cgroup_file_open(dir, "cpuset.cpus", &t->cpus);
    if (r == 0)
        r = cgroup_file_open(dir, "cpuset.cpus.effective", &t->effective);
    /* A shared task keeps the nodes of its create request. Its pool changes with each reservation,
     * and the kernel would migrate all of its memory each time. */
    if (r == 0 && p->node_cpus && t->has_own)
        r = cgroup_file_open(dir, "cpuset.mems", &t->mems);
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
    t->unit = p->o.systemd ? unit_of(t->dir_path) : NULL;
    t->unit_synced = false;
    pin_unit_touch(t, clock_now_us());
    t->watch = pin_watch_add(p, &t->cpus);
    return 0;
}

/* Reads the container's set, looks for the cgroup anew when it has been replaced under us.
 * Returns 1 when something has changed. */
static int read_container(struct pin *p, struct pin_task *t) {
    for (int attempt = 0; attempt < 2; attempt++) {
        if (!t->dir_path) {
            int r = open_container(p, t);
            if (r < 0)
                return r;
        }
        int changed = cgroup_file_read(&t->cpus, p->scratch, sizeof(p->scratch));
        if (t->cpus.r != -ENODEV)
            return (int)pin_inner_read(t->inner, p->scratch, sizeof(p->scratch)) |
                   cgroup_file_read(&t->effective, p->scratch, sizeof(p->scratch)) | changed;
        p->counters.reopened++;
        pin_task_close(p, t);
    }
    return -ESRCH;
}

/* ---- the wanted set ---- */

/* A watch that was refused, or removed from a contested task, is added again. */
static void renew_watches(struct pin *p, struct pin_task *t, bool at_tick) {
    if (at_tick)
        t->watch_off = false;
    if (t->watch < 0 && !t->watch_off)
        t->watch = pin_watch_add(p, &t->cpus);
    if (t->source_watch < 0)
        t->source_watch = pin_watch_add(p, &t->source_cpus);
}

static void open_source(struct pin *p, struct pin_task *t) {
    AUTO_FD int dir = cgroup_dir_open(p->o.cgroup_root_fd, t->below);
    if (dir < 0 || cgroup_file_open(dir, "cpuset.cpus", &t->source_cpus) < 0)
        return;
    if (cgroup_file_open(dir, "cpuset.cpus.effective", &t->source_effective) < 0)
        t->source_effective = CGROUP_FILE_NONE; /* its reading says so */
    t->source_watch = pin_watch_add(p, &t->source_cpus);
}

/* Of a share.slice's scope the effective set alone: a client that has one leaves the scope's own
 * file blank, and if it were not, the effective set would say so. Returns whether anything has
 * changed. */
static bool read_source(struct pin *p, struct pin_task *t) {
    if (!t->parent || (t->has_own && t->parent->in_reserve))
        return false;
    bool opened = t->source_cpus.fd < 0;
    if (opened || t->source_effective.fd < 0) {
        close_source(p, t);
        open_source(p, t);
    }
    bool changed = opened;
    if (!t->parent->in_share || opened)
        changed |= cgroup_file_read(&t->source_cpus, p->scratch, sizeof(p->scratch)) != 0;
    if (t->parent->in_share || t->source_cpus.r == -ENODATA || t->source_cpus.r == -EBADF)
        changed |= cgroup_file_read(&t->source_effective, p->scratch, sizeof(p->scratch)) != 0;
    return changed;
}

static enum pin_hold wanted_of(struct pin *p, struct pin_task *t, struct cpuset *others,
                               struct cpuset *ret) {
    *others = p->reserved;
    enum pin_hold hold =
        pin_source_want(t->parent, &t->source_cpus, &t->source_effective, t->below[0] != '\0',
                        t->has_own ? &t->own : NULL, others, ret);
    if (t->source_cpus.r == -ENODEV || t->source_effective.r == -ENODEV)
        close_source(p, t);
    return hold;
}

/* ---- doing ---- */

void pin_mems(const struct pin *p, const struct cpuset *cpus, struct cpuset *ret) {
    *ret = (struct cpuset){{0}};
    for (unsigned i = 0; i < p->nodes_n; i++)
        if (cpuset_intersects(&p->node_cpus[i], cpus))
            cpuset_add(ret, i);
}

/* @set: what the container is on now. */
static void follow_mems(struct pin *p, struct pin_task *t, const struct cpuset *set) {
    struct cpuset mems;
    if (t->mems.fd < 0)
        return;
    pin_mems(p, set, &mems);
    if (cpuset_is_empty(&mems) || cgroup_file_read(&t->mems, p->scratch, sizeof(p->scratch)) < 0 ||
        (t->mems.r == 0 && cpuset_equal(&t->mems.set, &mems)))
        return;
    int r = cgroup_file_write(&t->mems, &mems, p->scratch, sizeof(p->scratch));
    if (r < 0) {
        p->counters.write_errors++;
        t->errors++;
    } else {
        pin_unit_touch(t, clock_now_us());
    }
}

static void retry_later(struct pin_task *t, uint64_t now_us) {
    t->backoff_us = pin_backoff_longer(t->backoff_us);
    t->retry_at_us = now_us + t->backoff_us;
}

static void back_off(struct pin *p, struct pin_task *t, int r, uint64_t now_us) {
    retry_later(t, now_us);
    t->error = r;
    t->state = PIN_FAILED;
    t->errors++;
    p->counters.write_errors++;
}

static bool overwritten_much(const struct pin_task *t, uint64_t now_us) {
    if (t->overwrites_n < PIN_CONTEST_COUNT)
        return false;
    uint64_t oldest = t->overwrites[t->overwrites_n % PIN_CONTEST_COUNT];
    return now_us - oldest <= PIN_CONTEST_SPAN_US;
}

static void write_inner(struct pin *p, struct pin_task *t, const struct cpuset *set, bool up) {
    unsigned failed = pin_inner_write(t->inner, set, up, p->scratch, sizeof(p->scratch));
    t->errors += failed;
    p->counters.write_errors += failed;
}

static int carry_out(struct pin *p, struct pin_task *t, const struct pin_plan *plan,
                     uint64_t now_us) {
    char old_set[PIN_SET_TEXT];
    pin_text(&t->cpus.set, old_set, sizeof(old_set));
    bool narrower = t->cpus.r == 0 && cpuset_contains(&t->cpus.set, &plan->set);
    if (narrower)
        write_inner(p, t, &plan->set, true);
    int r = cgroup_file_write(&t->cpus, &plan->set, p->scratch, sizeof(p->scratch));
    if (r < 0)
        return r;
    if (!narrower)
        write_inner(p, t, &plan->set, false);
    pin_unit_touch(t, now_us);
    if (plan->cause == PIN_CAUSE_ECHO)
        return 0;
    if (plan->cause == PIN_CAUSE_OVERWRITTEN) {
        t->overwrites[t->overwrites_n++ % PIN_CONTEST_COUNT] = now_us;
        pin_writer_take(p, t);
        pin_writer_mark(p, t);
    }
    pin_note_fix(p, t, old_set, &plan->set, plan->cause);
    return 0;
}

static void settle(struct pin *p, struct pin_task *t, const struct pin_view *v,
                   const struct pin_plan *plan) {
    t->state = plan->state;
    if (plan->state == PIN_FAILED) {
        if (v->actual_r < 0 && v->actual_r != -ENODATA)
            t->error = v->actual_r;
        if (!t->retry_at_us)
            retry_later(t, v->now_us);
        return; /* backed off: the error stays */
    }
    t->error = 0;
    if (v->hold == PIN_HOLD_NOT) {
        t->last_good = v->wanted;
        t->has_last_good = true;
    }
    if (plan->has_set) {
        t->target = plan->set;
        t->has_target = true;
    }
    if (plan->action == PIN_DO_WRITE || (t->cpus.r == 0 && v->hold == PIN_HOLD_NOT)) {
        t->retry_at_us = t->backoff_us = 0;
        follow_mems(p, t, &t->cpus.set);
    }
}

static void see(const struct pin *p, const struct pin_task *t, struct pin_view *v) {
    v->has_last_good = t->has_last_good;
    v->last_good = t->last_good;
    v->online = p->online.r == 0 ? &p->online.set : NULL;
    v->ours = t->has_target ? &t->target : NULL;
    v->echo = t->cpus.r == 0 && pin_unit_sent(t, &t->cpus.set);
    v->actual_r = t->cpus.r;
    v->actual = &t->cpus.set;
    v->effective_r = t->effective.r;
    v->effective = &t->effective.set;
    v->recent_overwrites = overwritten_much(t, v->now_us);
    v->retry_at_us = t->retry_at_us;
    v->refused = &t->refused;
}

static void cannot_open(struct pin_task *t, int r, uint64_t now_us) {
    t->gone = r == -ESRCH && t->c.pid > 0;
    t->state = r == -ESRCH ? PIN_PENDING : PIN_UNMANAGED;
    t->error = r == -ESRCH ? 0 : r;
    if (r != -ESRCH && (!t->retry_at_us || t->retry_at_us <= now_us))
        retry_later(t, now_us);
}

/* Returns -EAGAIN when the cgroup was replaced between the read and the write. */
static int decide_and_do(struct pin *p, struct pin_task *t, bool at_tick, uint64_t now_us) {
    struct cpuset others;
    struct pin_plan plan;
    struct pin_view v = {.at_tick = at_tick, .now_us = now_us, .others = &others};
    v.hold = wanted_of(p, t, &others, &v.wanted);
    see(p, t, &v);
    pin_plan(&v, &plan);
    t->hold = plan.hold;
    int r = plan.action == PIN_DO_WRITE ? carry_out(p, t, &plan, now_us) : 0;
    if (r == -ENODEV) {
        pin_task_close(p, t);
        return -EAGAIN;
    }
    if (r < 0) {
        t->refused = plan.set;
        back_off(p, t, r, now_us);
    } else {
        settle(p, t, &v, &plan);
    }
    if (plan.has_set && plan.action == PIN_DO_NOTHING && t->cpus.r == 0 &&
        cpuset_equal(&t->cpus.set, &plan.set))
        write_inner(p, t, &plan.set, false);
    if (plan.suppressed) { /* else each of the writer's writes would wake the thread */
        t->watch = pin_watch_del(p, t->watch);
        t->watch_off = true;
        pin_writer_unmark(p, t);
    }
    t->quiet = r == 0 && plan.action == PIN_DO_NOTHING &&
               (plan.state == PIN_PINNED || plan.state == PIN_CONSTRAINED) && t->mems.fd < 0;
    return 0;
}

/* What Nomad changed is carried out before the container's files are read: what they said last is
 * known, and the event of our own write has them read behind the writes of all tasks. */
void pin_task_look(struct pin *p, struct pin_task *t, bool at_tick, uint64_t now_us) {
    bool told = t->source_dirty || p->online_changed || (t->parent && t->parent->changed);
    bool due = t->retry_at_us && t->retry_at_us <= now_us;
    bool read = at_tick || t->dirty || due;
    uint64_t fixes = t->fixes_n;
    t->dirty = t->source_dirty = false;
    for (int attempt = 0; attempt < 2; attempt++) {
        int changed = read || !t->dir_path ? read_container(p, t) : 0;
        if (changed < 0) {
            t->quiet = false;
            cannot_open(t, changed, now_us);
            break;
        }
        t->gone = false;
        renew_watches(p, t, at_tick);
        bool source_changed = (at_tick || told || due) && read_source(p, t);
        /* Nearly always: all files say what they said when all was well. */
        if (!source_changed && !changed && !told && t->quiet)
            return;
        if (decide_and_do(p, t, at_tick, now_us) == 0)
            break;
    }
    if (t->retry_at_us && t->retry_at_us <= now_us)
        t->retry_at_us = 0; /* this was the retry */
    pin_note_state(p, t, t->fixes_n > fixes ? &t->fixes[fixes % PIN_HISTORY] : NULL, now_us);
}
