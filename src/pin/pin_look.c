/* SPDX-License-Identifier: MPL-2.0 */
/* One check of one task: reads its files, asks the rule (pin_plan) what to do, and does it.
 *
 * The pin thread calls it for each task whose files or wanted set may have changed, and at the tick
 * for all tasks. A change by Nomad is written before the container's files are read again. Their
 * last contents are known, and our own write raises an event that leads to another check after all
 * tasks have been written. */
#include "src/pin/pin_look.h"
#include "src/pin/pin_priv.h"
#include "src/pin/pin_task.h"
#include "paddock/held.h"

#define FULL_LOOK_TICKS 10u

/* ---- actions ---- */

static void retry_later(struct pin_task *t, uint64_t now_us) {
    t->backoff_us = pin_plan_backoff_longer(t->backoff_us);
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
    pin_note_text(&t->cpus.file.set, old_set, sizeof(old_set));
    bool narrower = t->cpus.file.r == 0 && cpuset_contains(&t->cpus.file.set, &plan->set);
    if (narrower)
        write_inner(p, t, &plan->set, true);
    /* Before the write, because the other writer can answer it immediately. The event of that
     * answer belongs to the next repair. */
    if (plan->cause == PIN_CAUSE_OVERWRITTEN)
        pin_writer_take(&p->writers, &t->writer);
    int r = cgroup_file_write(&t->cpus.file, &plan->set, p->scratch, sizeof(p->scratch));
    if (r < 0)
        return r;
    if (!narrower)
        write_inner(p, t, &plan->set, false);
    pin_unit_touch(&t->unit, now_us);
    if (plan->cause == PIN_CAUSE_ECHO)
        return 0;
    if (plan->cause == PIN_CAUSE_OVERWRITTEN) {
        t->overwrites[t->overwrites_n++ % PIN_CONTEST_COUNT] = now_us;
        pin_writer_mark(&p->writers, &t->writer, t->cpus.file.fd);
    }
    metrics_observe(&p->repair, clock_now_us() - now_us);
    pin_note_fix(p, t, old_set, &plan->set, plan->cause);
    return 0;
}

static void note_result(struct pin *p, struct pin_task *t, const struct pin_view *v,
                        const struct pin_plan *plan) {
    t->state = plan->state;
    if (plan->state == PIN_FAILED) {
        if (v->actual_r < 0 && v->actual_r != -ENODATA)
            t->error = v->actual_r;
        if (!t->retry_at_us)
            retry_later(t, v->now_us);
        return; /* waiting for the back-off: the error is kept */
    }
    t->error = 0;
    if (v->hold == PIN_HOLD_NOT) {
        t->last_good = v->wanted;
        t->has_last_good = true;
    }
    if (plan->has_set) {
        t->target = plan->set;
        t->has_target = true;
        t->unit.set = &t->target;
    }
    if (plan->action == PIN_DO_WRITE || (t->cpus.file.r == 0 && v->hold == PIN_HOLD_NOT)) {
        t->retry_at_us = t->backoff_us = 0;
        pin_mems_check(p, t);
    }
}

/* ---- decision ---- */

static enum pin_hold wanted_of(const struct pin *p, const struct pin_task *t, struct cpuset *others,
                               struct cpuset *ret) {
    *others = p->reserved;
    return pin_source_want(t->parent, &t->source_cpus.file, &t->source_effective,
                           t->below[0] != '\0', t->has_own ? &t->own : NULL, others, ret);
}

static void read_view(const struct pin *p, const struct pin_task *t, struct pin_view *v) {
    v->has_last_good = t->has_last_good;
    v->last_good = t->last_good;
    v->online = p->online.r == 0 ? &p->online.set : NULL;
    v->ours = t->has_target ? &t->target : NULL;
    v->echo = t->cpus.file.r == 0 && pin_unit_sent(&t->unit, &t->cpus.file.set);
    v->actual_r = t->cpus.file.r;
    v->actual = &t->cpus.file.set;
    v->effective_r = t->effective.r;
    v->effective = &t->effective.set;
    v->recent_overwrites = overwritten_much(t, v->now_us);
    v->retry_at_us = t->retry_at_us;
    v->refused = &t->refused;
}

/* Adds the time since the last call to the foreign-core counters. Notes how many cores of others
 * the task may use now. */
static void count_foreign(struct pin *p, struct pin_task *t, const struct cpuset *others,
                          uint64_t now_us) {
    struct cpuset foreign = {{0}};
    if (t->foreign_us && now_us > t->foreign_us)
        p->counters.foreign_us += t->foreign_n * (now_us - t->foreign_us);
    if (t->cpus.file.r == 0)
        foreign = t->cpus.file.set;
    cpuset_intersect(&foreign, others);
    t->foreign_n = cpuset_count(&foreign);
    t->foreign_us = now_us;
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
    count_foreign(p, t, &others, now_us);
    read_view(p, t, &v);
    pin_plan(&v, &plan);
    t->hold = plan.hold;
    int r = plan.action == PIN_DO_WRITE ? carry_out(p, t, &plan, now_us) : 0;
    if (plan.action == PIN_DO_WRITE)
        count_foreign(p, t, &others, clock_now_us());
    if (r == -ENODEV) {
        pin_task_close(p, t);
        return -EAGAIN;
    }
    if (r < 0) {
        t->refused = plan.set;
        back_off(p, t, r, now_us);
    } else {
        note_result(p, t, &v, &plan);
    }
    if (plan.has_set && plan.action == PIN_DO_NOTHING && t->cpus.file.r == 0 &&
        cpuset_equal(&t->cpus.file.set, &plan.set))
        write_inner(p, t, &plan.set, false);
    if (plan.suppressed) { /* without the watch, the other writer's writes do not wake the thread */
        pin_watch_del(&p->watch, &t->cpus);
        t->watch_off = true;
        pin_writer_unmark(&p->writers, &t->writer);
    }
    t->quiet = r == 0 && plan.action == PIN_DO_NOTHING &&
               (plan.state == PIN_PINNED || plan.state == PIN_CONSTRAINED) && t->mems.file.fd < 0;
    return 0;
}

/* Some changes raise no event and do not change the sets of the parent folders: a removed source,
 * or a partition made of a part of the container's CPUs. So each task is read in full at one of
 * ten ticks. */
static bool is_its_turn(const struct pin *p, const struct pin_task *t) {
    return (t->seq + p->counters.ticks) % FULL_LOOK_TICKS == 0;
}

/* Whether the source's files can change without an event. The files of a scope in share.slice
 * cannot, as long as the sets above that scope have not changed. */
static bool is_source_open_to_change(const struct pin_task *t) {
    return !t->parent || !t->parent->in_share || t->source_cpus.watch < 0 || !t->source_level ||
           t->source_level->changed;
}

void pin_look(struct pin *p, struct pin_task *t, bool at_tick, uint64_t now_us) {
    HELD_ASSERT(&p->lock);
    bool told = t->source_cpus.dirty || t->others_changed || p->online_changed ||
                (t->parent && t->parent->changed);
    bool due = t->retry_at_us && t->retry_at_us <= now_us;
    bool all = told || due || !t->quiet || is_its_turn(p, t);
    bool read = at_tick || t->cpus.dirty || due;
    bool effective = all || t->cpus.dirty || !t->level || t->level->changed;
    bool source = told || due || (at_tick && (all || is_source_open_to_change(t)));
    uint64_t fixes = t->fixes_n;
    t->cpus.dirty = t->source_cpus.dirty = t->others_changed = false;
    for (int attempt = 0; attempt < 2; attempt++) {
        int changed = read || !t->dir_path ? pin_task_read(p, t, effective) : 0;
        if (changed < 0) {
            t->quiet = false;
            cannot_open(t, changed, now_us);
            break;
        }
        t->gone = false;
        pin_task_watch(p, t, at_tick);
        bool source_changed = source && pin_task_read_source(p, t);
        /* The usual case: all files have the contents of the last check, and that check found
         * nothing to do. */
        if (!source_changed && !changed && !told && t->quiet)
            return;
        if (decide_and_do(p, t, at_tick, now_us) == 0)
            break;
    }
    if (t->retry_at_us && t->retry_at_us <= now_us)
        t->retry_at_us = 0; /* this check was the retry */
    pin_note_state(p, t, t->fixes_n > fixes ? &t->fixes[fixes % PIN_HISTORY] : NULL, now_us);
}
