/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Counters, history and task events about corrections. The pin thread calls the functions with the
 * lock held, unless their comment says otherwise. */
#include "paddock/pin_plan.h"

#define PIN_HISTORY 64u
#define PIN_SET_TEXT 56u /* a set in the history: longer ones are cut and end in "..." */

struct pin;
struct pin_task;

/* A correction that was made. */
struct pin_fix {
    int64_t at_ns; /* wall clock */
    enum pin_cause cause;
    pid_t writer; /* the process that had written the replaced set; 0 = not known */
    char old_set[PIN_SET_TEXT], new_set[PIN_SET_TEXT];
};

/* The kinds of task events: the states, and this one. The limit of one event per time counts each
 * kind separately. */
enum pin_told { PIN_TOLD_REPAIRED = PIN_UNMANAGED + 1, PIN_TOLDS };

/* A task event that has not been sent yet. */
struct pin_note {
    struct pin_task *task;
    enum pin_state state;
    char *message, *old_set, *new_set;
    const char *cause;
    struct pin_note *next;
};

struct pin_counters {
    uint64_t passes, ticks, pass_cpu_ns, tick_cpu_ns, corrections[PIN_CAUSES], write_errors;
    uint64_t reopened;
    uint64_t foreign_us; /* cores of others that tasks could use, times microseconds */
};

/** Writes @s to @out as short text: with "..." at the end when it was cut, and "-" for the
 * empty set. */
void pin_note_text(const struct cpuset *s, char *out, size_t size);
/** Counts a correction and adds it to the history. */
void pin_note_fix(struct pin *p, struct pin_task *t, const char *old_set, const struct cpuset *set,
                  enum pin_cause cause);
/** Notes an event when the task's state differs from the last reported one.
 *  @fix: what was corrected in the same check, NULL = nothing. */
void pin_note_state(struct pin *p, struct pin_task *t, const struct pin_fix *fix, uint64_t now_us);
/** Returns when to report a state that was withheld because the same state had been reported a
 * short time ago; 0 = no state is withheld. */
uint64_t pin_note_next_us(const struct pin *p, const struct pin_task *t);
/** Passes the notes to the event callback. No lock held. */
void pin_note_flush(struct pin *p);
