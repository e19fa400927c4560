/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The tasks that the pump carries, each with its position file.
 *
 * An entry is made by a plugin's request, or for a position file that exists when the pump starts.
 * It ends when everything is delivered, or when another driver carries the task. All functions: the
 * loop's thread. */
#include "src/pump/pump_task.h"

#include <jansson.h>

struct pump_entries;
struct pump_entry;

struct pump_entries_options {
    struct pump_task_shared tasks;
    int records_fd; /* the folder of the position files; borrowed */
    /* Called when an entry was added or removed. */
    void (*changed)(void *ctx);
    /* Called a moment after a process has opened one of the FIFOs. */
    void (*fifo_opened)(void *ctx);
    /* Receives a sentence about a task, for its events in Nomad. */
    void (*report)(void *ctx, const char *task_id, const char *text);
    void *ctx;
};

/** @o is copied; what it points to is borrowed. Returns 0; -ENOMEM; another -errno.
 * Owner: caller, pump_entries_free(). */
int pump_entries_new(const struct pump_entries_options *o, struct pump_entries **ret) MUST_CHECK;
/** Frees all entries. The position files stay, and no waiter is answered. NULL allowed. */
void pump_entries_free(struct pump_entries *s);

/* A request that waits for an answer about a task. The memory is the owner's and must stay until
 * `answer` is called or pump_entry_waiter_leave() returns. */
struct pump_waiter {
    /* Called once. @r: 0 or -errno. @text: the error's text; for a success, a note or NULL. The
     * callback may free the waiter. */
    void (*answer)(struct pump_waiter *w, int r, const char *text);
    /* Called in each second in which output was delivered or Docker has yet to send it. */
    void (*moves)(struct pump_waiter *w);
    /* used by pump_entry.c only */
    struct pump_entry *entry;
    bool for_end;
    struct pump_waiter *next;
};
/** Stops waiting: @w is not answered any more. Does nothing when @w does not wait. */
void pump_entry_waiter_leave(struct pump_waiter *w);

/** Serves the request `carry` (pump_proto.h). @w is answered, from inside this function
 * or later. */
void pump_entries_carry(struct pump_entries *s, const json_t *rq, struct pump_waiter *w);
/** The container has ended. @w is answered when everything is delivered, or immediately when the
 * task is not known. */
void pump_entries_finish(struct pump_entries *s, const char *task_id, struct pump_waiter *w);
/** Closes the task's FIFOs, whatever is left, and answers its waiters. */
void pump_entries_close(struct pump_entries *s, const char *task_id);

/** Continues all tasks whose position files are in the folder. Returns 0; -errno. */
int pump_entries_resume(struct pump_entries *s) MUST_CHECK;
/** The folder of position files was made again, as @records_fd (borrowed): writes all position
 * files to it. */
void pump_entries_move(struct pump_entries *s, int records_fd);
/** Drops the tasks that the built-in driver has taken over, that is, whose two FIFOs its processes
 * have open. */
void pump_entries_yield(struct pump_entries *s);

/** Returns true when there is an entry. */
bool pump_entries_any(const struct pump_entries *s);
/** Returns true when more output can come for any entry (pump_task_is_open). */
bool pump_entries_any_open(const struct pump_entries *s);
/** Returns an array with an object for each task, or NULL when out of memory. Owner: caller. */
json_t *pump_entries_status(const struct pump_entries *s);
