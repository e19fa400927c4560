#pragma once
/* What the files of the pump's process share. Order of layers inside: pump_task.c (one container's
 * output) < pump_entry.c (all of them) and pump_conn.c (who asks) < pump_main.c (the process). */
#include "paddock/docker.h"
#include "paddock/docker_multi.h"
#include "paddock/loop.h"

#include "pump_dir.h"
#include "pump_task.h"

#include <jansson.h>

struct conn;

struct entry {
    struct pump *pump;
    struct pump_task *task;
    bool opened, drained, moves;
    int open_r;
    const char *note; /* for whoever asked to follow it; NULL */
    struct entry *next;
};

struct pump {
    struct loop *loop;
    struct docker *docker;
    struct docker_multi *http;
    struct pump_dir dir;
    int listen_fd, signal_fd, inotify_fd, proc_fd;
    struct loop_watch *listen_watch, *signal_watch, *inotify_watch;
    struct loop_timer *idle, *alone, *beat, *rival_look, *accept_again;
    uint64_t patience_us;              /* with who prepares a task, and with Docker */
    uint64_t alone_us, alone_since_us; /* the limit; when it was not alone last */
    struct conn *conns;
    struct entry *entries;
};

/* ---- pump_main.c ---- */
/** Connections or entries have changed: sees whether the process is still wanted. */
void pump_idle_check(struct pump *p);

/* ---- pump_entry.c ---- */
/** Is it an id as Docker's, fit for a file's name? */
bool pump_entry_is_id(const char *id);
/** NULL: not followed. */
struct entry *pump_entry_find(struct pump *p, const char *task_id);
/** Gets ready to carry the task of the request @rq (pump_task_begin). Returns 0; as
 * pump_record_open and pump_task_new. */
int pump_entry_prepare(struct pump *p, const char *container_id, const json_t *rq,
                       struct entry **ret) MUST_CHECK;
/** Ends it and releases @e; those that wait for it are answered. @ended: its position is kept until
 * DestroyTask. */
void pump_entry_forget(struct entry *e, bool ended);
/** Goes on with what an earlier pump was at. Returns 0; -errno. */
int pump_entry_resume(struct pump *p) MUST_CHECK;
/** Looks out for the built-in driver. Returns 0; -errno. */
int pump_entry_watch_rivals(struct pump *p) MUST_CHECK;

/* ---- pump_conn.c ---- */
/** Returns 0; -ENAMETOOLONG; -errno. */
int pump_conn_listen(struct pump *p) MUST_CHECK;
void pump_conn_free(struct conn *c);
/** @e was opened or drained: answers those that waited for that. @e may be gone after it. */
void pump_conn_answer(struct entry *e);
/** @e goes: answers all that wait for it. */
void pump_conn_answer_gone(struct entry *e);
/** The timer `beat`: those that wait for a task's last lines hear that they are still coming. */
void pump_conn_beat(void *pump);
/** The timer `accept_again`: there may be a free fd for those that wait to connect. */
void pump_conn_go_on(void *pump);
