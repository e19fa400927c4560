/* Keeps the list of tasks for logpump.c: their requests and the write ends of their FIFOs.
 *
 * One mutex protects the list. FIFOs are opened and closed outside of it. Requests leave as copies,
 * because jansson's reference counts must not be used by several threads. */
#include "logs_held.h"

#include "paddock/log.h"

#include <pthread.h>
#include <string.h>

struct held {
    json_t *rq; /* the request `carry`; its members change under the lock only */
    /* The number of this hold. The task may be held anew while the end of this hold is awaited. */
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

static const char *task_of(const struct held *h) {
    return json_string_value(json_object_get(h->rq, "task"));
}

static void held_free(struct held *h) {
    fd_close(h->fd[0]);
    fd_close(h->fd[1]);
    json_decref(h->rq);
    free(h);
}

static struct held **held_find(struct logs_held *l, const char *task_id) {
    struct held **at = &l->first;
    while (*at && strcmp(task_of(*at), task_id) != 0)
        at = &(*at)->next;
    return at;
}

int logs_held_add(struct logs_held *l, const struct logpump_task *t, struct err *err) {
    struct held *h = calloc(1, sizeof(*h));
    if (!h)
        return err_oom(err);
    h->fd[0] = h->fd[1] = -EBADF;
    h->asking = true;
    h->rq =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:b,s:I,s:b,s:b}", "op", "carry", "task", t->task_id,
                  "container", t->container_id, "stdout", t->stdout_path, "stderr", t->stderr_path,
                  "tty", t->tty, "since_ns", t->adopted ? (json_int_t)t->since_ns : (json_int_t)0,
                  "runs", false, "recovered", t->recovered);
    if (!h->rq) {
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

/* Copies the request of @h, and notes for later copies that one has left. On failure none has. */
static int copy_request(struct held *h, bool runs, json_t **ret) {
    if (runs && json_object_set_new(h->rq, "runs", json_true()) < 0)
        return -ENOMEM;
    json_t *rq = json_deep_copy(h->rq);
    if (!rq)
        return -ENOMEM;
    /* More was delivered by then than since_ns says. */
    if (json_object_set_new(h->rq, "recovered", json_true()) < 0 ||
        json_object_set_new(h->rq, "since_ns", json_integer(0)) < 0) {
        json_decref(rq);
        return -ENOMEM;
    }
    *ret = rq;
    return 0;
}

int logs_held_request(struct logs_held *l, const char *task_id, bool runs, json_t **ret) {
    pthread_mutex_lock(&l->lock);
    struct held *h = *held_find(l, task_id);
    int r = h ? copy_request(h, runs, ret) : -ENOENT;
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
            r = strv_add(ret, task_of(h));
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
