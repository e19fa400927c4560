/* SPDX-License-Identifier: MPL-2.0 */
/* References to a streaming exec.
 *
 * The client, a posted function and a request for the exit code have one each. The last one may be
 * dropped on any thread. */
#include "src/task/task_exec_stream_priv.h"

void task_exec_stream_ref_drop(void *arg) {
    struct driver_exec *x = arg;
    if (atomic_fetch_sub(&x->refs, 1) != 1)
        return;
    docker_stream_free(x->stream);
    buf_done(&x->in);
    pthread_mutex_destroy(&x->lock);
    pthread_mutex_destroy(&x->callbacks);
    free(x);
}

void task_exec_stream_ref_post(struct driver_exec *x, loop_cb cb) {
    atomic_fetch_add(&x->refs, 1);
    if (loop_post(x->d->loop, cb, x) < 0)
        task_exec_stream_ref_drop(x);
}
