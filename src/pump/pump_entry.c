/* SPDX-License-Identifier: MPL-2.0 */
/* Keeps the list of tasks. pump_conn.c passes it the requests. pump_main.c calls it at the start
 * and at the end.
 *
 * An entry ends in two steps. pump_task.c calls `drained` from inside its own callback, so the loop
 * removes the entry from the list later. Waiters are in a list of their entry, which answers them.
 * This file does not know what a waiter is. */
#include "src/pump/pump_entry.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include "src/pump/pump_entry_record.h"
#include "src/pump/pump_rival.h"
#include "src/pump/pump_rival_watch.h"
#include "src/pump/pump_task.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

/* A plugin that waits for an end gives up after a longer time without a sign. */
#define BEAT_US (1 * US_PER_SEC)

struct pump_entry {
    struct pump_entries *all;
    struct pump_task *task;
    bool opened, drained;
    int open_r;
    bool past_unknown; /* the task is not new, and it had no record */
    const char *note;  /* for the plugin that asks to carry the task; may be NULL */
    struct pump_waiter *waiters;
    struct pump_entry *next;
};

struct pump_entries {
    struct pump_entries_options o;
    int proc_fd;
    struct pump_rival_watch *rivals;
    struct loop_timer *beat;
    struct pump_entry *first;
};

static struct pump_entry *find_entry(struct pump_entries *s, const char *task_id) {
    for (struct pump_entry *e = s->first; e; e = e->next)
        if (!e->drained && strcmp(pump_task_record(e->task)->task_id, task_id) == 0)
            return e;
    return NULL;
}

/* ---- waiters ---- */

static void wait_for(struct pump_entry *e, struct pump_waiter *w, bool for_end) {
    w->entry = e;
    w->for_end = for_end;
    w->next = e->waiters;
    e->waiters = w;
}

void pump_entry_waiter_leave(struct pump_waiter *w) {
    for (struct pump_waiter **at = w->entry ? &w->entry->waiters : NULL; at && *at;
         at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            break;
        }
    }
    w->entry = NULL;
}

static void answer_opened(const struct pump_entry *e, struct pump_waiter *w) {
    int r = e->open_r;
    w->answer(w, r,
              r == -ENOSYS ? "the container's log driver cannot be read"
              : r < 0      ? strerror(-r)
                           : e->note);
}

/* Answers the waiters of @e. @gone: the entry is being removed, so all of them; otherwise only
 * those that wait for the open stream. */
static void answer_waiters(struct pump_entry *e, bool gone) {
    for (struct pump_waiter *w = e->waiters, *next; w; w = next) {
        next = w->next;
        if (w->for_end && !gone)
            continue;
        pump_entry_waiter_leave(w);
        if (w->for_end || !e->opened)
            w->answer(w, 0, NULL);
        else
            answer_opened(e, w);
    }
}

/* Reports progress to the waiters for an end, each BEAT_US. */
static void on_beat(void *arg) {
    struct pump_entries *s = arg;
    bool any = false;
    for (struct pump_entry *e = s->first; e; e = e->next) {
        bool moves = !e->drained && pump_task_moves(e->task);
        for (struct pump_waiter *w = e->waiters; w; w = w->next) {
            any = any || w->for_end;
            if (w->for_end && moves)
                w->moves(w);
        }
    }
    if (any)
        loop_timer_at(s->beat, clock_now_us() + BEAT_US);
}

/* ---- end of an entry ---- */

/* Removes and frees the entry. @ended: keeps its position file until DestroyTask; otherwise removes
 * the file. The FIFOs are closed before the waiters are answered. */
static void forget_entry(struct pump_entry *e, bool ended) {
    struct pump_entries *s = e->all;
    struct pump_entry **at = &s->first;
    while (*at && *at != e)
        at = &(*at)->next;
    if (*at)
        *at = e->next;
    const char *container_id = pump_task_record(e->task)->container_id;
    if (ended)
        pump_entry_record_keep(s->o.records_fd, container_id);
    else if (unlinkat(s->o.records_fd, container_id, 0) < 0)
        log_debug("logpump", LOG_KV("errno", strerror(errno)), "position file");
    pump_task_free(e->task);
    answer_waiters(e, true);
    free(e);
    s->o.changed(s->o.ctx);
}

static void on_report(void *ctx, struct pump_task *t, const char *text) {
    struct pump_entry *e = ctx;
    e->all->o.report(e->all->o.ctx, pump_task_record(t)->task_id, text);
}

static void on_opened(void *ctx, struct pump_task *t, int r) {
    struct pump_entry *e = ctx;
    e->opened = true;
    e->open_r = r;
    if (e->past_unknown && pump_task_runs(t))
        on_report(e, t,
                  "some log lines may be missing: it is not known what of its earlier output was "
                  "delivered");
    answer_waiters(e, false);
}

static void forget_posted(void *ctx) {
    forget_entry(ctx, true);
}

/* The entry is not freed inside its own callback. */
static void on_drained(void *ctx, struct pump_task *t) {
    struct pump_entry *e = ctx;
    (void)t;
    e->drained = true;
    if (loop_post(e->all->o.tasks.loop, forget_posted, e) < 0)
        log_warn("logpump", NULL, "out of memory: a task's FIFOs stay open, ignoring");
}

static const struct pump_task_ops task_ops = {
    .opened = on_opened, .drained = on_drained, .report = on_report};

/* ---- start of an entry ---- */

/* Adds an entry for @record. Takes ownership of @record, also on failure. */
static int add_entry(struct pump_entries *s, struct pump_record *record, struct pump_entry **ret) {
    struct pump_entry *e = calloc(1, sizeof(*e));
    if (!e) {
        pump_record_close(record);
        return -ENOMEM;
    }
    e->all = s;
    int r = pump_task_new(&s->o.tasks, record, &task_ops, e, &e->task);
    if (r < 0) {
        free(e);
        return r;
    }
    e->next = s->first;
    s->first = e;
    for (int i = 0; i < 2; i++)
        pump_rival_watch_add(s->rivals, record->path[i]);
    s->o.changed(s->o.ctx);
    *ret = e;
    return 0;
}

static int prepare_record(struct pump_entries *s, const char *id, const json_t *rq,
                          struct pump_entry **ret) {
    struct pump_record *rec;
    bool fresh = false;
    const char *note = NULL;
    int r = pump_entry_record_take(s->o.records_fd, id, rq, &rec, &fresh, &note);
    if (r == 0)
        r = add_entry(s, rec, ret);
    if (r == 0) {
        (*ret)->note = note;
        (*ret)->past_unknown = fresh && json_is_true(json_object_get(rq, "recovered")) &&
                               !json_integer_value(json_object_get(rq, "since_ns"));
    } else if (fresh)
        unlinkat(s->o.records_fd, id, 0);
    return r;
}

/* ---- requests ---- */

void pump_entries_carry(struct pump_entries *s, const json_t *rq, struct pump_waiter *w) {
    const char *task = json_string_value(json_object_get(rq, "task"));
    const char *id = json_string_value(json_object_get(rq, "container"));
    bool runs = json_is_true(json_object_get(rq, "runs"));
    if (!task || !pump_entry_record_is_id(id)) {
        w->answer(w, -EINVAL, "task or container is not valid");
        return;
    }
    struct pump_entry *e = find_entry(s, task);
    if (e && strcmp(pump_task_record(e->task)->container_id, id) != 0) {
        forget_entry(e, false); /* the entry is of an earlier container that was replaced */
        e = NULL;
    }
    int r = e ? pump_task_reopen(e->task) : prepare_record(s, id, rq, &e);
    if (r == 0 && runs)
        pump_task_begin(e->task);
    if (r < 0)
        log_warn("logpump", LOG_KV("task_id", task, "errno", strerror(-r)),
                 "the task's output cannot be carried, ignoring");
    if (r < 0)
        w->answer(w, r, strerror(-r));
    else if (!runs || e->opened)
        answer_opened(e, w);
    else
        wait_for(e, w, false);
}

void pump_entries_finish(struct pump_entries *s, const char *task_id, struct pump_waiter *w) {
    struct pump_entry *e = find_entry(s, task_id);
    if (!e) {
        w->answer(w, 0, NULL);
        return;
    }
    wait_for(e, w, true);
    loop_timer_at(s->beat, clock_now_us() + BEAT_US);
    pump_task_finish(e->task);
}

void pump_entries_close(struct pump_entries *s, const char *task_id) {
    struct pump_entry *e = find_entry(s, task_id);
    if (e)
        forget_entry(e, true);
}

/* ---- all entries ---- */

/* Continues the task of the position file @name. Returns 0; -ENODATA when the file is empty;
 * -EPROTO; another -errno. */
static int resume_entry(struct pump_entries *s, const char *name) {
    struct pump_record *rec;
    struct pump_entry *e;
    bool fresh;
    int r = pump_record_open(s->o.records_fd, name, &rec, &fresh);
    if (r == 0 && fresh) {
        pump_record_close(rec);
        return -ENODATA;
    }
    if (r == 0)
        r = add_entry(s, rec, &e);
    if (r == 0)
        pump_task_begin(e->task);
    return r;
}

int pump_entries_resume(struct pump_entries *s) {
    int fd = openat(s->o.records_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        fd_close(fd);
        return -errno;
    }
    for (const struct dirent *e; (e = readdir(d));) {
        int r = pump_entry_record_is_id(e->d_name) ? resume_entry(s, e->d_name) : -EPROTO;
        if (r == 0 || r == -EPROTO)
            continue;
        bool lost = pump_entry_record_is_lost(r);
        log_warn("logpump", LOG_KV("container_id", e->d_name, "errno", strerror(-r)),
                 lost ? "its logs cannot be followed any more, ignoring"
                      : "its logs cannot be followed now, ignoring");
        if (lost)
            unlinkat(s->o.records_fd, e->d_name, 0);
    }
    closedir(d);
    return 0;
}

void pump_entries_move(struct pump_entries *s, int records_fd) {
    s->o.records_fd = records_fd;
    for (struct pump_entry *e = s->first; e; e = e->next) {
        int r = pump_task_move_record(e->task, records_fd);
        if (r < 0)
            log_warn("logpump",
                     LOG_KV("errno", strerror(-r), "task_id", pump_task_record(e->task)->task_id),
                     "the task's position file was removed and cannot be written again, ignoring");
    }
}

static bool is_taken(const struct pump_rivals *rivals, const struct pump_record *rec) {
    /* Both FIFOs must be open there. Until then, the reader of the other FIFO must not see an end
     * of file. */
    return pump_rivals_have(rivals, rec->path[0]) && pump_rivals_have(rivals, rec->path[1]);
}

void pump_entries_yield(struct pump_entries *s) {
    struct pump_rivals rivals;
    if (pump_rivals_find(s->proc_fd, &rivals) < 0)
        return;
    for (struct pump_entry *e = s->first, *next; e; e = next) {
        next = e->next;
        const struct pump_record *rec = pump_task_record(e->task);
        if (e->drained || !is_taken(&rivals, rec))
            continue;
        log_info("logpump", LOG_KV("task_id", rec->task_id),
                 "the built-in driver has taken over the task's logs");
        forget_entry(e, false);
    }
    pump_rivals_done(&rivals);
}

bool pump_entries_any(const struct pump_entries *s) {
    return s->first != NULL;
}

bool pump_entries_any_open(const struct pump_entries *s) {
    for (const struct pump_entry *e = s->first; e; e = e->next)
        if (pump_task_is_open(e->task))
            return true;
    return false;
}

static json_t *task_status(const struct pump_entry *e) {
    static const char *const ways[] = {"none", "file", "api"};
    struct pump_task_status st;
    pump_task_status(e->task, &st);
    return json_pack("{s:s,s:s,s:I,s:f,s:I,s:I,s:I}", "task", pump_task_record(e->task)->task_id,
                     "way", ways[st.way], "lag_bytes", (json_int_t)st.lag_bytes, "lag_seconds",
                     (double)st.lag_ns / 1e9, "lines_skipped", (json_int_t)st.damaged,
                     "bytes_dropped", (json_int_t)st.dropped_bytes, "gaps", (json_int_t)st.gaps);
}

json_t *pump_entries_status(const struct pump_entries *s) {
    json_t *list = json_array();
    for (const struct pump_entry *e = s->first; e; e = e->next)
        json_array_append_new(list, task_status(e));
    return list;
}

int pump_entries_new(const struct pump_entries_options *o, struct pump_entries **ret) {
    struct pump_entries *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->o = *o;
    s->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = pump_rival_watch_new(o->tasks.loop, o->fifo_opened, o->ctx, &s->rivals);
    if (r == 0)
        r = loop_timer_new(o->tasks.loop, on_beat, s, &s->beat);
    if (r < 0)
        pump_entries_free(TAKE_PTR(s));
    *ret = s;
    return r;
}

void pump_entries_free(struct pump_entries *s) {
    if (!s)
        return;
    for (struct pump_entry *e = s->first, *next; e; e = next) {
        next = e->next;
        while (e->waiters)
            pump_entry_waiter_leave(e->waiters);
        pump_task_free(e->task);
        free(e);
    }
    pump_rival_watch_free(s->rivals);
    loop_timer_del(s->beat);
    fd_close(s->proc_fd);
    free(s);
}
