/* SPDX-License-Identifier: MPL-2.0 */
/* The task store of store.h: a list of tasks under one mutex. Most files of src/task use it.
 *
 * A task is freed with its last reference, not when it leaves the store. Waiters are called after
 * the mutex is released, so that a waiter may call the store. */
#include "paddock/store.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct store {
    pthread_mutex_t lock;
    struct task *first; /* a list, because 1,000 tasks are searched in microseconds */
    size_t n;
};

int store_new(struct store **ret) {
    struct store *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    pthread_mutex_init(&s->lock, NULL);
    *ret = s;
    return 0;
}

static void task_free(struct task *t) {
    int keep = errno;
    free(t->id);
    free(t->alloc_id);
    free(t->name);
    free(t->stdout_path);
    free(t->stderr_path);
    free(t->source);
    free(t->reserved);
    free(t->early);
    kvs_done(&t->port_map);
    free(t);
    errno = keep;
}

void store_free(struct store *s) {
    if (!s)
        return;
    for (struct task *t = s->first, *next; t; t = next) {
        next = t->next;
        task_free(t);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static struct task *find_task(const struct store *s, const char *id) {
    for (struct task *t = s->first; t; t = t->next)
        if (strcmp(t->id, id) == 0)
            return t;
    return NULL;
}

static struct task *task_new(struct store *s, const struct task_config *c) {
    struct task *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    int r = 0;
    t->id = str_dup(c->id, &r);
    t->alloc_id = str_dup(c->alloc_id, &r);
    t->name = str_dup(c->name, &r);
    t->stdout_path = str_dup(c->stdout_path, &r);
    t->stderr_path = str_dup(c->stderr_path, &r);
    t->source = str_dup(c->resources.cpuset_cgroup ? c->resources.cpuset_cgroup : "", &r);
    t->reserved = str_dup(c->resources.cpuset_cpus ? c->resources.cpuset_cpus : "", &r);
    if (r < 0) {
        task_free(t);
        return NULL;
    }
    t->store = s;
    t->stored = true;
    t->refs = 2; /* one for the store and one for the caller */
    return t;
}

int store_add(struct store *s, const struct task_config *c, struct task **ret) {
    struct task *t = task_new(s, c);
    if (!t)
        return -ENOMEM;
    pthread_mutex_lock(&s->lock);
    bool taken = find_task(s, t->id);
    if (!taken) {
        t->next = s->first;
        s->first = t;
        s->n++;
    }
    pthread_mutex_unlock(&s->lock);
    if (taken) {
        task_free(t);
        return -EEXIST;
    }
    *ret = t;
    return 0;
}

struct task *store_get(struct store *s, const char *id) {
    pthread_mutex_lock(&s->lock);
    struct task *t = find_task(s, id);
    if (t)
        t->refs++;
    pthread_mutex_unlock(&s->lock);
    return t;
}

struct task *store_get_container(struct store *s, const char *container_id) {
    struct task *found = NULL;
    pthread_mutex_lock(&s->lock);
    for (struct task *t = s->first; t && !found; t = t->next)
        if (t->now.container_id[0] && strcmp(t->now.container_id, container_id) == 0)
            found = t;
    if (found)
        found->refs++;
    pthread_mutex_unlock(&s->lock);
    return found;
}

struct task *store_task_ref(struct task *t) {
    pthread_mutex_lock(&t->store->lock);
    t->refs++;
    pthread_mutex_unlock(&t->store->lock);
    return t;
}

void store_task_unref(struct task *t) {
    if (!t)
        return;
    pthread_mutex_lock(&t->store->lock);
    bool last = --t->refs == 0;
    pthread_mutex_unlock(&t->store->lock);
    if (last)
        task_free(t);
}

static void answer_waiters(struct task_waiter *w, const struct task_exit *exit) {
    while (w) {
        struct task_waiter *next = w->next; /* done may free the waiter */
        w->done(w->ctx, exit);
        w = next;
    }
}

void store_remove(struct store *s, struct task *t) {
    pthread_mutex_lock(&s->lock);
    bool was_in = t->stored;
    for (struct task **at = &s->first; was_in && *at; at = &(*at)->next) {
        if (*at == t) {
            *at = t->next;
            break;
        }
    }
    t->stored = false;
    t->next = NULL;
    if (was_in)
        s->n--;
    struct task_waiter *waiters = TAKE_PTR(t->waiters);
    struct task_exit exit = t->now.exit;
    if (t->now.phase != TASK_EXITED)
        snprintf(exit.err, sizeof(exit.err), "task was destroyed");
    pthread_mutex_unlock(&s->lock);
    answer_waiters(waiters, &exit);
    if (was_in)
        store_task_unref(t);
}

int store_all(struct store *s, struct task ***ret, size_t *ret_n) {
    pthread_mutex_lock(&s->lock);
    size_t n = 0;
    struct task **all = malloc((s->n + 1) * sizeof(struct task *));
    for (struct task *t = s->first; all && t; t = t->next) {
        t->refs++;
        all[n++] = t;
    }
    pthread_mutex_unlock(&s->lock);
    if (!all)
        return -ENOMEM;
    *ret = all;
    *ret_n = n;
    return 0;
}

struct task_look store_look(const struct task *t) {
    pthread_mutex_lock(&t->store->lock);
    struct task_look now = t->now;
    pthread_mutex_unlock(&t->store->lock);
    return now;
}

void store_set_logs_movable(struct store *s, const char *alloc_id) {
    pthread_mutex_lock(&s->lock);
    for (struct task *t = s->first; t; t = t->next)
        if (strcmp(t->alloc_id, alloc_id) == 0)
            t->logs_movable = true;
    pthread_mutex_unlock(&s->lock);
}

bool store_is_logs_movable(struct store *s, const char *container_id) {
    bool movable = true;
    pthread_mutex_lock(&s->lock);
    for (const struct task *t = s->first; t; t = t->next)
        if (strcmp(t->now.container_id, container_id) == 0)
            movable = t->logs_movable;
    pthread_mutex_unlock(&s->lock);
    return movable;
}

void store_set_container(struct task *t, const char *container_id, const char *image_id, bool tty,
                         bool logs) {
    pthread_mutex_lock(&t->store->lock);
    snprintf(t->now.container_id, sizeof(t->now.container_id), "%s", container_id);
    snprintf(t->now.image_id, sizeof(t->now.image_id), "%s", image_id);
    t->now.tty = tty;
    t->now.logs = logs;
    free(TAKE_PTR(t->early));
    t->now.oom_ns = 0;
    t->now.exit_in_events = false;
    pthread_mutex_unlock(&t->store->lock);
}

bool store_set_running(struct task *t, pid_t pid, int64_t started_ns, struct task_end *ret_early) {
    pthread_mutex_lock(&t->store->lock);
    if (t->now.phase != TASK_EXITED) {
        t->now.phase = TASK_RUNNING;
        t->now.pid = pid;
        t->now.started_ns = started_ns;
    }
    AUTO_FREE struct task_end *early = TAKE_PTR(t->early);
    pthread_mutex_unlock(&t->store->lock);
    if (early)
        *ret_early = *early;
    return early != NULL;
}

bool store_see_process(struct task *t, bool there) {
    pthread_mutex_lock(&t->store->lock);
    if (there)
        t->seen_pid = t->now.pid;
    bool ended =
        !there && t->now.phase == TASK_RUNNING && t->seen_pid == t->now.pid && t->now.pid > 0;
    pthread_mutex_unlock(&t->store->lock);
    return ended;
}

void store_set_exit_in_events(struct task *t, bool yes) {
    pthread_mutex_lock(&t->store->lock);
    t->now.exit_in_events = yes;
    pthread_mutex_unlock(&t->store->lock);
}

int store_set_network(struct task *t, const struct kvs *port_map, const char *addr,
                      bool auto_advertise) {
    struct kvs copy = {0};
    int r = kvs_copy(port_map, &copy);
    if (r < 0)
        return r;
    pthread_mutex_lock(&t->store->lock);
    struct kvs old = t->port_map;
    t->port_map = copy;
    snprintf(t->now.addr, sizeof(t->now.addr), "%s", addr);
    t->now.addr_auto = auto_advertise;
    pthread_mutex_unlock(&t->store->lock);
    kvs_done(&old);
    return 0;
}

int store_ports(const struct task *t, struct kvs *ret) {
    pthread_mutex_lock(&t->store->lock);
    int r = kvs_copy(&t->port_map, ret);
    pthread_mutex_unlock(&t->store->lock);
    return r;
}

bool store_set_oom(struct task *t, const char *container_id, int64_t when_ns) {
    pthread_mutex_lock(&t->store->lock);
    bool mine = strcmp(t->now.container_id, container_id) == 0;
    bool first = mine && t->now.oom_ns == 0;
    if (mine && when_ns > t->now.oom_ns)
        t->now.oom_ns = when_ns;
    pthread_mutex_unlock(&t->store->lock);
    return first;
}

void store_set_logs(struct task *t, bool logs) {
    pthread_mutex_lock(&t->store->lock);
    t->now.logs = logs;
    pthread_mutex_unlock(&t->store->lock);
}

bool store_set_exited(struct task *t, const char *container_id, const struct task_exit *exit,
                      int64_t completed_ns) {
    pthread_mutex_lock(&t->store->lock);
    bool mine = strcmp(t->now.container_id, container_id) == 0;
    bool first = mine && t->now.phase == TASK_RUNNING;
    struct task_waiter *waiters = NULL;
    if (mine && t->now.phase == TASK_STARTING && !t->early) {
        t->early = malloc(sizeof(*t->early));
        if (t->early) /* when out of memory, the roll call finds the end later */
            *t->early = (struct task_end){.exit = *exit, .when_ns = completed_ns};
    }
    if (first) {
        t->now.phase = TASK_EXITED;
        t->now.pid = 0;
        t->now.exit = *exit;
        t->now.completed_ns = completed_ns;
        waiters = TAKE_PTR(t->waiters);
    }
    pthread_mutex_unlock(&t->store->lock);
    answer_waiters(waiters, exit);
    return first;
}

void store_wait(struct task *t, struct task_waiter *w) {
    pthread_mutex_lock(&t->store->lock);
    struct task_exit exit = t->now.exit;
    bool ended = t->now.phase == TASK_EXITED;
    if (!ended && !t->stored) {
        snprintf(exit.err, sizeof(exit.err), "task was destroyed");
        ended = true;
    }
    if (!ended) {
        w->next = t->waiters;
        t->waiters = w;
    }
    pthread_mutex_unlock(&t->store->lock);
    if (ended)
        w->done(w->ctx, &exit);
}

bool store_wait_cancel(struct task *t, struct task_waiter *w) {
    bool found = false;
    pthread_mutex_lock(&t->store->lock);
    for (struct task_waiter **at = &t->waiters; *at && !found; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            found = true;
            break;
        }
    }
    pthread_mutex_unlock(&t->store->lock);
    return found;
}

static int coord_fill(struct pin_coord *c, const struct task *t) {
    int r = 0;
    c->task_id = str_dup(t->id, &r);
    c->alloc_id = str_dup(t->alloc_id, &r);
    c->task_name = str_dup(t->name, &r);
    c->container_id = str_dup(t->now.container_id, &r);
    c->source = str_dup(t->source, &r);
    c->reserved = str_dup(t->reserved, &r);
    c->pid = t->now.pid;
    return r;
}

int store_snapshot(void *store, struct pin_coord **ret, size_t *ret_n) {
    struct store *s = store;
    pthread_mutex_lock(&s->lock);
    struct pin_coord *coords = calloc(s->n + 1, sizeof(*coords));
    size_t n = 0;
    int r = coords ? 0 : -ENOMEM;
    for (struct task *t = s->first; t && r == 0; t = t->next)
        if (t->now.phase == TASK_RUNNING)
            r = coord_fill(&coords[n++], t);
    pthread_mutex_unlock(&s->lock);
    if (r < 0) {
        for (size_t i = 0; i < n; i++)
            pin_task_coord_done(&coords[i]);
        free(coords);
        return r;
    }
    *ret = coords;
    *ret_n = n;
    return 0;
}
