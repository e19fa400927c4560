/* SPDX-License-Identifier: MPL-2.0 */
/* Decides which task's memory is migrated next, for `mems = "follow"`. The pin thread calls it.
 *
 * The create request sets the nodes, so a migration is needed only when the cores of a running task
 * change. Shared tasks keep the nodes of their create request: their pool changes with each
 * reservation, and the kernel would migrate all of their memory each time. One task is migrated at
 * a time, after its CPUs are right, in another thread (pin_migrate).
 *
 * systemd's copy of the nodes is updated after the migration. Otherwise systemd would write the
 * nodes first, and would itself wait for the migration. */
#include "src/pin/pin_mems.h"
#include "src/pin/pin_priv.h"
#include "paddock/held.h"

static bool in_flight(const struct pin *p, const struct pin_task *t) {
    return p->migrator.job && p->migrating == t;
}

/* The unit waits for a migration that may succeed. After a failure it gets the CPUs alone. */
static void report_to_unit(const struct pin *p, struct pin_task *t, bool right) {
    bool hold = in_flight(p, t) || (t->mems.pending && !t->mems.backoff_us);
    pin_unit_set_mems(&t->unit, right && !hold ? &t->mems.file.set : NULL, hold, clock_now_us());
}

void pin_mems_check(struct pin *p, struct pin_task *t) {
    HELD_ASSERT(&p->lock);
    struct cpuset want;
    if (t->mems.file.fd < 0)
        return;
    pin_nodes_of(&p->nodes, &t->cpus.file.set, &want);
    int r = cgroup_file_read(&t->mems.file, p->scratch, sizeof(p->scratch));
    bool known = r >= 0 && !cpuset_is_empty(&want);
    bool right = known && t->mems.file.r == 0 && cpuset_equal(&t->mems.file.set, &want);
    t->mems.pending = known && !right && !in_flight(p, t);
    if (right && !in_flight(p, t))
        t->mems.backoff_us = 0;
    report_to_unit(p, t, right);
}

void pin_mems_close(struct pin *p, struct pin_task *t) {
    if (p->migrating == t)
        p->migrating = NULL;
    cgroup_file_close(&t->mems.file);
    t->mems.pending = false;
    t->mems.retry_us = t->mems.backoff_us = 0;
    report_to_unit(p, t, false);
}

static void retry_later(struct pin *p, struct pin_task *t, uint64_t now_us) {
    t->mems.backoff_us = pin_plan_backoff_longer(t->mems.backoff_us);
    t->mems.retry_us = now_us + t->mems.backoff_us;
    t->mems.pending = true;
    t->errors++;
    p->counters.write_errors++;
    report_to_unit(p, t, false);
}

/* The task's CPUs are corrected first. A failed CPU write has a retry, and the nodes are checked
 * again after it. */
static bool may_start(const struct pin *p, const struct pin_task *t) {
    return !p->migrator.job && t->mems.pending && t->state != PIN_FAILED;
}

void pin_mems_next(struct pin *p, uint64_t now_us) {
    HELD_ASSERT(&p->lock);
    for (struct pin_task *t = p->tasks; t; t = t->next) {
        struct cpuset want;
        if (!may_start(p, t) || t->mems.retry_us > now_us)
            continue;
        pin_nodes_of(&p->nodes, &t->cpus.file.set, &want);
        if (pin_migrate_start(&p->migrator, &t->mems.file, &want) < 0) {
            retry_later(p, t, now_us);
            continue;
        }
        p->migrating = t;
        t->mems.pending = false;
        report_to_unit(p, t, false);
    }
}

void pin_mems_finish(struct pin *p) {
    HELD_ASSERT(&p->lock);
    int r;
    if (!pin_migrate_finish(&p->migrator, &r))
        return;
    struct pin_task *t = TAKE_PTR(p->migrating);
    uint64_t now = clock_now_us();
    if (!t)
        return; /* the task has ended */
    if (r < 0) {
        retry_later(p, t, now);
        return;
    }
    t->mems.retry_us = now + PIN_BACKOFF_MIN_US;
    pin_mems_check(p, t);
}

uint64_t pin_mems_next_us(const struct pin *p, const struct pin_task *t) {
    return may_start(p, t) ? t->mems.retry_us : 0;
}
