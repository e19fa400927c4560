/* SPDX-License-Identifier: MPL-2.0 */
/* The size of a streaming exec's terminal.
 *
 * The client may change it many times a second. A thread of the pool sends one size at a time to
 * Docker, and the newest one last. */
#include "src/task/task_exec_stream_priv.h"

#include "paddock/log.h"

/* Sends one size at a time, and the newest one last, whatever the order in which the pool's
 * threads run. */
static void resize_work(void *arg) {
    struct driver_exec *x = arg;
    struct call call = call_within(NULL, x->d->timeout_us);
    call.cancel = &x->d->ended;
    pthread_mutex_lock(&x->lock);
    while (x->resize_wanted) {
        unsigned height = x->height, width = x->width;
        x->resize_wanted = false;
        pthread_mutex_unlock(&x->lock);
        if (docker_exec_resize(x->d->docker, &call, x->id, height, width, NULL) < 0)
            log_debug("exec", NULL, "resize refused, ignoring");
        pthread_mutex_lock(&x->lock);
    }
    x->resizing = false;
    pthread_mutex_unlock(&x->lock);
    task_exec_stream_ref_drop(x);
}

void task_exec_stream_resize(struct driver_exec *x, unsigned height, unsigned width) {
    pthread_mutex_lock(&x->lock);
    x->height = height;
    x->width = width;
    x->resize_wanted = true;
    bool start = !x->resizing;
    x->resizing = true;
    pthread_mutex_unlock(&x->lock);
    if (!start)
        return;
    atomic_fetch_add(&x->refs, 1);
    if (pool_run(x->d->pool, resize_work, x) < 0) { /* the terminal keeps its size */
        pthread_mutex_lock(&x->lock);
        x->resizing = false;
        pthread_mutex_unlock(&x->lock);
        task_exec_stream_ref_drop(x);
    }
}
