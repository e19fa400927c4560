#pragma once
/* The tasks that the pump carries, each with its position file: made by a plugin's request or found
 * at the start, and left when all is delivered, or when another driver carries them. All functions:
 * the loop's thread. */
#include "pump_task.h"

#include <jansson.h>

struct pump_entries;
struct pump_entry;

struct pump_entries_options {
    struct pump_task_shared tasks;
    int records_fd; /* the folder of the position files; borrowed */
    /* A task has come or gone. */
    void (*changed)(void *ctx);
    /* Somebody has opened one of the FIFOs. */
    void (*fifo_opened)(void *ctx);
    /* A sentence about a task, for its events in Nomad. */
    void (*report)(void *ctx, const char *task_id, const char *text);
    void *ctx;
};

int pump_entries_new(const struct pump_entries_options *o, struct pump_entries **ret) MUST_CHECK;
/** The position files stay. NULL allowed. */
void pump_entries_free(struct pump_entries *s);

/* Somebody who waits for a task. The owner's memory, which must stay until `answer` or
 * pump_waiter_leave. */
struct pump_waiter {
    /* Once. @text: the error's; for a success a note or NULL. May free the waiter. */
    void (*answer)(struct pump_waiter *w, int r, const char *text);
    /* Each second in which output was delivered or Docker has yet to send it. */
    void (*moves)(struct pump_waiter *w);
    /* ---- pump_entry.c's ---- */
    struct pump_entry *entry;
    bool for_end;
    struct pump_waiter *next;
};
/** @w is not answered any more. One that does not wait: nothing. */
void pump_waiter_leave(struct pump_waiter *w);

/** The request `carry` (pump_proto.h). @w is answered, from in here or later. */
void pump_entries_carry(struct pump_entries *s, const json_t *rq, struct pump_waiter *w);
/** The container has ended: @w is answered when all is delivered, or immediately when the task is
 * not known. */
void pump_entries_finish(struct pump_entries *s, const char *task_id, struct pump_waiter *w);
/** The FIFOs close, whatever is left; those that wait are answered. */
void pump_entries_close(struct pump_entries *s, const char *task_id);

/** Goes on with what an earlier pump was at. Returns 0; -errno. */
int pump_entries_resume(struct pump_entries *s) MUST_CHECK;
/** The folder of position files was made again, as @records_fd: all of them are written to it. */
void pump_entries_move(struct pump_entries *s, int records_fd);
/** Leaves the tasks that the built-in driver has taken over: its processes have both FIFOs. */
void pump_entries_yield(struct pump_entries *s);

bool pump_entries_any(const struct pump_entries *s);
/** Does a log stream of any of them stand? */
bool pump_entries_any_open(const struct pump_entries *s);
/** An array with an object for each task. NULL when out of memory. Owner: caller. */
json_t *pump_entries_status(const struct pump_entries *s);
