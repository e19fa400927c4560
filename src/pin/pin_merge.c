/* SPDX-License-Identifier: MPL-2.0 */
/* Merges the task store's snapshot into the reconciler's list of tasks.
 *
 * The pin thread asks for a snapshot when the store has changed. A task is identified by its
 * container, its id, its source and its reserved cores. When one of these changes, it is a
 * different task. */
#include "src/pin/pin_merge.h"
#include "src/pin/pin_priv.h"
#include "src/pin/pin_task.h"

#include <string.h>

static void free_coords(struct pin_coord *c, size_t n) {
    for (size_t i = 0; i < n; i++)
        pin_task_coord_done(&c[i]);
    free(c);
}

static bool same_task(const struct pin_task *t, const struct pin_coord *c) {
    return strcmp(t->c.container_id, c->container_id) == 0 &&
           strcmp(t->c.task_id, c->task_id) == 0 && strcmp(t->c.source, c->source) == 0 &&
           strcmp(t->c.reserved, c->reserved) == 0;
}

/* The store's order is stable, so the next match almost always directly follows the
 * previous one. */
static struct pin_task *find_task(struct pin *p, struct pin_task *hint, const struct pin_coord *c) {
    if (hint && same_task(hint, c))
        return hint;
    for (struct pin_task *t = p->tasks; t; t = t->next)
        if (same_task(t, c))
            return t;
    return NULL;
}

static struct pin_task *take_coord(struct pin *p, struct pin_task *hint, struct pin_task **tail,
                                   struct pin_coord *c) {
    struct pin_task *t = find_task(p, hint, c);
    if (t) {
        if (t->c.pid != c->pid) {
            t->c.pid = c->pid;
            t->cpus.dirty = true;
            pin_task_close(p, t);
        }
    } else if (pin_task_new(p, c, &t) < 0) {
        return NULL; /* out of memory: the retry timer asks for another snapshot, which contains the
                        task */
    } else {
        *tail = t;
    }
    t->seen = true;
    return t;
}

static void drop_unseen(struct pin *p) {
    struct cpuset reserved = {{0}};
    for (struct pin_task **at = &p->tasks; *at;) {
        struct pin_task *t = *at;
        if (!t->seen) {
            *at = t->next;
            pin_task_free(p, t);
            continue;
        }
        t->seen = false;
        if (t->has_own)
            cpuset_union(&reserved, &t->own);
        at = &t->next;
    }
    /* Cores were reserved or released: the other tasks must leave them, or may use them again. */
    if (!cpuset_equal(&reserved, &p->reserved))
        for (struct pin_task *t = p->tasks; t; t = t->next)
            t->others_changed = true;
    p->reserved = reserved;
}

static void merge_coords(struct pin *p, struct pin_coord *coords, size_t n) {
    struct pin_task *hint = p->tasks;
    struct pin_task **tail = &p->tasks;
    bool lost = false;
    while (*tail)
        tail = &(*tail)->next;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < n; i++) {
        struct pin_task *t = take_coord(p, hint, tail, &coords[i]);
        while (*tail)
            tail = &(*tail)->next;
        lost = lost || !t;
        hint = t ? t->next : hint;
    }
    if (!lost)
        drop_unseen(p);
    p->want_snapshot = lost;
    pthread_mutex_unlock(&p->lock);
}

void pin_merge(struct pin *p) {
    struct pin_coord *coords = NULL;
    size_t n = 0;
    int r = p->o.snapshot(p->o.ctx, &coords, &n);
    p->want_snapshot = r < 0;
    if (r < 0)
        return;
    merge_coords(p, coords, n);
    free_coords(coords, n);
}
