/* SPDX-License-Identifier: MPL-2.0 */
/* Counts corrections, keeps a history of them, and reports states as task events.
 *
 * The pin thread calls it. The texts for people are built only when something has changed. */
#include "src/pin/pin_priv.h"

#include "paddock/buf.h"
#include "paddock/held.h"

#include <stdio.h>
#include <string.h>

/* The same state of the same task is reported at most once in this time. */
#define TELL_AGAIN_US (60 * US_PER_SEC)

void pin_note_text(const struct cpuset *s, char *out, size_t size) {
    char full[CPUSET_TEXT_MAX];
    int n = cpuset_format(s, full, sizeof(full));
    if (n <= 0)
        snprintf(out, size, "-");
    else if ((size_t)n < size)
        memcpy(out, full, (size_t)n + 1);
    else
        snprintf(out, size, "%.*s...", (int)size - 4, full);
}

/* When out of memory the event is lost; the counters are kept. */
static void add_note(struct pin *p, struct pin_task *t, enum pin_state state, const char *message,
                     const char *old_set, const char *new_set, const char *cause) {
    struct pin_note *n = calloc(1, sizeof(*n));
    if (!n)
        return;
    *n = (struct pin_note){.task = t, .state = state, .cause = cause};
    n->message = strdup(message);
    n->old_set = strdup(old_set);
    n->new_set = strdup(new_set);
    *p->notes_last = n;
    p->notes_last = &n->next;
}

static uint64_t again_us(const struct pin *p) {
    return p->o.tell_again_us ? p->o.tell_again_us : TELL_AGAIN_US;
}

static bool may_tell(const struct pin *p, struct pin_task *t, unsigned what, uint64_t now_us) {
    if (t->told_us[what] && now_us - t->told_us[what] < again_us(p))
        return false;
    t->told_us[what] = now_us;
    return true;
}

static void writer_text(const struct pin_task *t, char *out, size_t size) {
    if (t->writer.pid > 0)
        snprintf(out, size, " by %s, pid %d", t->writer.comm, (int)t->writer.pid);
    else
        out[0] = '\0';
}

void pin_note_fix(struct pin *p, struct pin_task *t, const char *old_set, const struct cpuset *set,
                  enum pin_cause cause) {
    HELD_ASSERT(&p->lock);
    struct pin_fix *f = &t->fixes[t->fixes_n++ % PIN_HISTORY];
    *f = (struct pin_fix){.at_ns = clock_wall_ns(), .cause = cause};
    snprintf(f->old_set, sizeof(f->old_set), "%s", old_set);
    pin_note_text(set, f->new_set, sizeof(f->new_set));
    t->corrections[cause]++;
    p->counters.corrections[cause]++;
    if (cause != PIN_CAUSE_OVERWRITTEN)
        return;
    f->writer = t->writer.pid;
    if (!may_tell(p, t, PIN_TOLD_REPAIRED, clock_now_us()))
        return;
    char message[512], by[64];
    writer_text(t, by, sizeof(by));
    snprintf(message, sizeof(message), "cpuset repaired: %s -> %s (%s%s)", f->old_set, f->new_set,
             pin_plan_cause_name(cause), by);
    add_note(p, t, PIN_PINNED, message, f->old_set, f->new_set, pin_plan_cause_name(cause));
}

static void say_state(struct pin *p, struct pin_task *t, const struct pin_fix *fix) {
    char message[512], old_set[PIN_SET_TEXT], new_set[PIN_SET_TEXT], by[64];
    const char *cause = fix ? pin_plan_cause_name(fix->cause) : pin_plan_state_name(t->state);
    pin_note_text(&t->cpus.file.set, new_set, sizeof(new_set));
    snprintf(old_set, sizeof(old_set), "%s", fix ? fix->old_set : new_set);
    writer_text(t, by, sizeof(by));
    switch (t->state) {
    case PIN_PINNED:
        if (fix)
            snprintf(message, sizeof(message), "cpuset pinned to %s (was %s, %s)", new_set, old_set,
                     cause);
        else
            snprintf(message, sizeof(message), "cpuset pinned to %s", new_set);
        break;
    case PIN_CONSTRAINED:
        pin_note_text(&t->effective.set, new_set, sizeof(new_set));
        snprintf(message, sizeof(message), "cpuset constrained: wanted %s, the kernel gives %s",
                 old_set, new_set);
        break;
    case PIN_HELD:
        cause = pin_plan_hold_name(t->hold);
        snprintf(message, sizeof(message), "cpuset held at %s: %s", new_set, cause);
        break;
    case PIN_SPILLED:
        pin_note_text(&t->last_good, old_set, sizeof(old_set));
        snprintf(message, sizeof(message),
                 "cpuset spilled: no CPU of %s is online or allowed, running on %s", old_set,
                 new_set);
        break;
    case PIN_NO_CPU:
        snprintf(message, sizeof(message),
                 "cpuset left at %s: every online CPU is reserved by other tasks", new_set);
        break;
    case PIN_CONTESTED: /* the last correction may be of an earlier check */
        cause = pin_plan_cause_name(PIN_CAUSE_OVERWRITTEN);
        snprintf(old_set, sizeof(old_set), "%s", t->fixes[(t->fixes_n - 1) % PIN_HISTORY].old_set);
        pin_note_text(&t->last_good, new_set, sizeof(new_set));
        snprintf(message, sizeof(message),
                 "cpuset contested: set again and again%s; corrected to %s at each tick", by,
                 new_set);
        break;
    case PIN_FAILED:
        cause = strerror(-t->error);
        pin_note_text(&t->refused, new_set, sizeof(new_set));
        if (t->cpus.file.r < 0 && t->error == t->cpus.file.r)
            snprintf(message, sizeof(message), "cpuset cannot be read: %s, retrying", cause);
        else
            snprintf(message, sizeof(message), "cpuset not set to %s: %s, retrying", new_set,
                     cause);
        break;
    default:
        cause = t->error ? strerror(-t->error) : "no cgroup of Nomad's to follow";
        snprintf(message, sizeof(message), "cpuset not managed: %s", cause);
        break;
    }
    add_note(p, t, t->state, message, old_set, new_set, cause);
}

void pin_note_state(struct pin *p, struct pin_task *t, const struct pin_fix *fix, uint64_t now_us) {
    HELD_ASSERT(&p->lock);
    if (t->state == t->told || t->state == PIN_PENDING || !may_tell(p, t, t->state, now_us))
        return;
    t->told = t->state;
    say_state(p, t, fix);
}

uint64_t pin_note_next_us(const struct pin *p, const struct pin_task *t) {
    if (t->state == t->told || t->state == PIN_PENDING || t->gone)
        return 0;
    return t->told_us[t->state] + again_us(p);
}

void pin_note_flush(struct pin *p) {
    struct pin_note *n = TAKE_PTR(p->notes);
    p->notes_last = &p->notes;
    while (n) {
        struct pin_note *next = n->next;
        struct pin_event e = {.task_id = n->task->c.task_id,
                              .alloc_id = n->task->c.alloc_id,
                              .task_name = n->task->c.task_name,
                              .state = n->state,
                              .message = n->message,
                              .old_set = n->old_set,
                              .new_set = n->new_set,
                              .cause = n->cause};
        if (p->o.event && n->message && n->old_set && n->new_set)
            p->o.event(p->o.ctx, &e);
        free(n->message);
        free(n->old_set);
        free(n->new_set);
        free(n);
        n = next;
    }
}
