/* SPDX-License-Identifier: MPL-2.0 */
/* SignalTask, and the text of a signal in a request to Docker.
 *
 * plugin/svc_task.c and task_stop.c call this file. Docker knows only half of the names of the
 * real-time signals, but all of their numbers: these are sent as numbers. */
#include "src/task/driver_priv.h"

#include "paddock/parse.h"

#include <signal.h>
#include <stdio.h>

int task_signal_for_docker(const char *name, char ret[DRIVER_SIGNAL_MAX], struct err *err) {
    int n;
    if (parse_signal(name, &n) < 0)
        return err_set(err, ERR_INVALID, EINVAL, "signal: \"%s\" is not a signal", name);
    if (n >= SIGRTMIN)
        snprintf(ret, DRIVER_SIGNAL_MAX, "%d", n);
    else
        snprintf(ret, DRIVER_SIGNAL_MAX, "%s", name);
    return 0;
}

int task_signal(struct driver *d, const struct call *call, const char *task_id, const char *signal,
                struct err *err) {
    AUTO_TASK struct task *t = store_get(d->store, task_id);
    if (!t)
        return client_not_found(err);
    char sent[DRIVER_SIGNAL_MAX];
    int r = task_signal_for_docker(signal, sent, err);
    if (r < 0)
        return r;
    struct call within = call_within(call, d->timeout_us);
    struct task_look now = store_look(t);
    if (!now.container_id[0])
        return err_set(err, ERR_PLAIN, ESRCH, "task %s is still being started", task_id);
    r = docker_container_kill(d->docker, &within, now.container_id, sent, err);
    return err_wrap(err, r, "Failed to signal task %s", task_id);
}
