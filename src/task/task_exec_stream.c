/* SPDX-License-Identifier: MPL-2.0 */
/* ExecTaskStreaming. The streams thread reads the hijacked connection to Docker and forwards the
 * output as it arrives. Stdin and resizes come from other threads.
 *
 * This file contains what other threads and modules call. task_exec_stream_priv.h lists the
 * parts. */
#include "src/task/task_exec_stream_priv.h"

#include "src/task/exec.h"

#include <stdio.h>
#include <string.h>

#define EXEC_STDIN_MESSAGE_MAX ((size_t)64 << 20)

int task_exec_stream_list_new(struct driver *d, struct exec_list **ret) {
    struct exec_list *x = calloc(1, sizeof(*x));
    if (!x)
        return -ENOMEM;
    x->d = d;
    pthread_mutex_init(&x->lock, NULL);
    *ret = x;
    return 0;
}

void task_exec_stream_list_free(struct exec_list *x) {
    if (x) {
        pthread_mutex_destroy(&x->lock);
        free(x);
    }
}

static void list_add(struct driver_exec *x) {
    struct exec_list *l = x->d->execs;
    pthread_mutex_lock(&l->lock);
    x->next = l->first;
    l->first = x;
    pthread_mutex_unlock(&l->lock);
}

static void list_remove(struct driver_exec *x) {
    struct exec_list *l = x->d->execs;
    pthread_mutex_lock(&l->lock);
    for (struct driver_exec **at = &l->first; *at; at = &(*at)->next) {
        if (*at == x) {
            *at = x->next;
            break;
        }
    }
    pthread_mutex_unlock(&l->lock);
}

/* ---- begin and end ---- */

int task_exec_stream_open(struct driver *d, const struct call *call, const char *task_id,
                          const char *const *argv, bool tty, const struct driver_exec_ops *ops,
                          void *ctx, struct driver_exec **ret, struct err *err) {
    if (!argv[0])
        return err_set(err, ERR_INVALID, EINVAL, "command is required but was empty");
    AUTO_TASK struct task *t = store_get(d->store, task_id);
    if (!t)
        return client_not_found(err);
    struct driver_exec *x = calloc(1, sizeof(*x));
    if (!x)
        return err_oom(err);
    *x = (struct driver_exec){
        .d = d, .tty = tty, .ops = *ops, .ctx = ctx, .ask_pause_us = EXEC_ASK_FIRST_US};
    atomic_init(&x->refs, 1);
    pthread_mutex_init(&x->callbacks, NULL);
    pthread_mutex_init(&x->lock, NULL);
    buf_init(&x->in, EXEC_STDIN_MAX + EXEC_STDIN_MESSAGE_MAX);

    struct call within = call_within(call, d->timeout_us);
    struct docker_exec_options o = {.argv = argv, .tty = tty, .stdin_open = true};
    snprintf(x->container_id, sizeof(x->container_id), "%s", store_look(t).container_id);
    int r = docker_exec_create(d->docker, &within, x->container_id, &o, x->id, err);
    if (r == 0) {
        list_add(x); /* before the command runs: its exec_die may come immediately */
        r = docker_exec_start(d->docker, &within, x->id, tty, &x->stream, err);
        if (exec_may_start(r))
            exec_kill(d, x->container_id, x->id);
        if (r < 0)
            list_remove(x);
    }
    if (r < 0) {
        task_exec_stream_ref_drop(x);
        return err_wrap(err, r, "exec in task %s", task_id);
    }
    *ret = x;
    task_exec_stream_ref_post(x, task_exec_stream_data_attach);
    return 0;
}

void task_exec_stream_close(struct driver_exec *x) {
    pthread_mutex_lock(&x->callbacks);
    x->closed = true;
    pthread_mutex_unlock(&x->callbacks);
    list_remove(x);
    task_exec_stream_ref_post(x, task_exec_stream_end_close);
    task_exec_stream_ref_drop(x); /* the reference of task_exec_stream_open() */
}

/* ---- events of Docker ---- */

void task_exec_stream_ask(struct exec_list *l, const char *container_id) {
    pthread_mutex_lock(&l->lock);
    for (struct driver_exec *x = l->first; x; x = x->next)
        if (strcmp(x->container_id, container_id) == 0)
            task_exec_stream_ref_post(x, task_exec_stream_end_ask_soon);
    pthread_mutex_unlock(&l->lock);
}

void task_exec_stream_died(struct exec_list *l, const char *container_id, const char *exec_id,
                           int code) {
    pthread_mutex_lock(&l->lock);
    struct driver_exec *x = l->first;
    while (x && (strcmp(x->id, exec_id) != 0 || strcmp(x->container_id, container_id) != 0))
        x = x->next;
    if (x)
        atomic_fetch_add(&x->refs, 1);
    pthread_mutex_unlock(&l->lock);
    if (!x)
        return;
    task_exec_stream_end_set_code(x, code);
    if (x->tty || x->eof)
        task_exec_stream_end_died(x); /* drops the reference */
    else
        task_exec_stream_ref_drop(x);
}

/* ---- input and output ---- */

int task_exec_stream_stdin(struct driver_exec *x, const char *data, size_t len) {
    pthread_mutex_lock(&x->lock);
    int r = 0;
    if (x->in.len >= EXEC_STDIN_MAX)
        r = -ENOBUFS;
    else if (!x->in_close)
        r = buf_append(&x->in, data, len);
    x->in_refused = x->in_refused || r == -ENOBUFS;
    pthread_mutex_unlock(&x->lock);
    task_exec_stream_ref_post(x, task_exec_stream_data_flush);
    return r;
}

void task_exec_stream_stdin_close(struct driver_exec *x) {
    pthread_mutex_lock(&x->lock);
    x->in_close = true;
    pthread_mutex_unlock(&x->lock);
    task_exec_stream_ref_post(x, task_exec_stream_data_flush);
}

void task_exec_stream_resume(struct driver_exec *x) {
    task_exec_stream_ref_post(x, task_exec_stream_data_resume);
}
