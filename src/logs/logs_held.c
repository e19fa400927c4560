/* SPDX-License-Identifier: MPL-2.0 */
/* Keeps the list of tasks for logpump.c: what their requests contain and the write ends of their
 * FIFOs.
 *
 * One mutex protects the list. FIFOs are opened and closed outside of it. A request is made when it
 * is sent: its JSON would take three times the memory of what it contains, for the task's life. */
#include "src/logs/logs_held.h"

#include "paddock/log.h"

#include <pthread.h>
#include <string.h>

struct held {
    char *task_id, *container_id, *stdout_path, *stderr_path;
    int64_t since_ns; /* 0 after the first request: more was delivered by then */
    bool tty, recovered, runs;
    /* The number of this hold. The task may be held again while the end of this hold is awaited. */
    unsigned long number;
    int fd[2];
    pid_t pump;  /* the process that the request was sent to last */
    bool asking; /* the pump has not answered yet: the end must not be asked for */
    struct held *next;
};

struct logs_held {
    pthread_mutex_t lock;
    struct held *first;
    unsigned long holds; /* holds so far; the last number */
};

static void held_free(struct held *h) {
    fd_close(h->fd[0]);
    fd_close(h->fd[1]);
    free(h->task_id);
    free(h->container_id);
    free(h->stdout_path);
    free(h->stderr_path);
    free(h);
}

static struct held **held_find(struct logs_held *l, const char *task_id) {
    struct held **at = &l->first;
    while (*at && strcmp((*at)->task_id, task_id) != 0)
        at = &(*at)->next;
    return at;
}

int logs_held_add(struct logs_held *l, const struct logpump_task *t, struct err *err) {
    struct held *h = calloc(1, sizeof(*h));
    if (!h)
        return err_oom(err);
    h->fd[0] = h->fd[1] = -EBADF;
    h->asking = true;
    h->since_ns = t->adopted ? t->since_ns : 0;
    h->tty = t->tty;
    h->recovered = t->recovered;
    int oom = 0;
    h->task_id = str_dup(t->task_id, &oom);
    h->container_id = str_dup(t->container_id, &oom);
    h->stdout_path = str_dup(t->stdout_path, &oom);
    h->stderr_path = str_dup(t->stderr_path, &oom);
    if (oom < 0) {
        held_free(h);
        return err_oom(err);
    }
    const char *paths[] = {t->stdout_path, t->stderr_path};
    for (int s = 0; s < 2; s++) {
        int r = pump_fifo_open(paths[s], &h->fd[s]);
        if (r < 0) {
            held_free(h);
            return err_set(err, ERR_RECOVERABLE, -r, "log FIFO %s: %s", paths[s],
                           r == -ELOOP ? "it, or a folder of the allocation on the way to it, is a "
                                         "symbolic link"
                                       : strerror(-r));
        }
    }
    pthread_mutex_lock(&l->lock);
    struct held **at = held_find(l, t->task_id), *old = *at;
    h->number = ++l->holds;
    h->next = old ? old->next : NULL;
    *at = h;
    pthread_mutex_unlock(&l->lock);
    if (old)
        held_free(old);
    return 0;
}

void logs_held_remove(struct logs_held *l, const char *task_id, unsigned long number) {
    pthread_mutex_lock(&l->lock);
    struct held **at = held_find(l, task_id), *h = *at;
    if (h && number && h->number != number)
        h = NULL;
    if (h)
        *at = h->next;
    pthread_mutex_unlock(&l->lock);
    if (h)
        held_free(h);
}

/* Makes the request of @h, and notes for later ones that one has left. */
static int make_request(struct held *h, bool runs, json_t **ret) {
    h->runs = h->runs || runs;
    json_t *rq = json_pack("{s:s,s:s,s:s,s:s,s:s,s:b,s:I,s:b,s:b}", "op", "carry", "task",
                           h->task_id, "container", h->container_id, "stdout", h->stdout_path,
                           "stderr", h->stderr_path, "tty", h->tty, "since_ns",
                           (json_int_t)h->since_ns, "runs", h->runs, "recovered", h->recovered);
    if (!rq)
        return -ENOMEM;
    h->recovered = true;
    h->since_ns = 0;
    *ret = rq;
    return 0;
}

int logs_held_request(struct logs_held *l, const char *task_id, bool runs, json_t **ret) {
    pthread_mutex_lock(&l->lock);
    struct held *h = *held_find(l, task_id);
    int r = h ? make_request(h, runs, ret) : -ENOENT;
    pthread_mutex_unlock(&l->lock);
    return r;
}

bool logs_held_has(struct logs_held *l, const char *task_id) {
    pthread_mutex_lock(&l->lock);
    bool has = *held_find(l, task_id) != NULL;
    pthread_mutex_unlock(&l->lock);
    return has;
}

void logs_held_asked(struct logs_held *l, const char *task_id, pid_t pump) {
    pthread_mutex_lock(&l->lock);
    struct held *h = *held_find(l, task_id);
    if (h) {
        h->asking = false;
        h->pump = pump;
    }
    pthread_mutex_unlock(&l->lock);
}

int logs_held_others(struct logs_held *l, pid_t pump, struct strv *ret) {
    int r = 0;
    pthread_mutex_lock(&l->lock);
    for (struct held *h = l->first; h && r == 0; h = h->next)
        if (!h->asking && h->pump != pump)
            r = strv_add(ret, h->task_id);
    pthread_mutex_unlock(&l->lock);
    return r;
}

bool logs_held_is_others(struct logs_held *l, const char *task_id, pid_t pump) {
    pthread_mutex_lock(&l->lock);
    const struct held *h = *held_find(l, task_id);
    bool others = h && h->pump != pump;
    pthread_mutex_unlock(&l->lock);
    return others;
}

void logs_held_sent(struct logs_held *l, const char *task_id, pid_t pump) {
    pthread_mutex_lock(&l->lock);
    struct held *h = *held_find(l, task_id);
    if (h && !h->asking)
        h->pump = pump;
    pthread_mutex_unlock(&l->lock);
}

unsigned long logs_held_to_end(struct logs_held *l, const char *task_id) {
    pthread_mutex_lock(&l->lock);
    const struct held *h = *held_find(l, task_id);
    unsigned long number = h && !h->asking ? h->number : 0;
    pthread_mutex_unlock(&l->lock);
    return number;
}

bool logs_held_any(struct logs_held *l) {
    pthread_mutex_lock(&l->lock);
    bool any = l->first != NULL;
    pthread_mutex_unlock(&l->lock);
    return any;
}

int logs_held_new(struct logs_held **ret) {
    struct logs_held *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    pthread_mutex_init(&l->lock, NULL);
    *ret = l;
    return 0;
}

void logs_held_free(struct logs_held *l) {
    if (!l)
        return;
    for (struct held *h = l->first, *next; h; h = next) {
        next = h->next;
        held_free(h);
    }
    pthread_mutex_destroy(&l->lock);
    free(l);
}
