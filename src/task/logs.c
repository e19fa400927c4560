/* SPDX-License-Identifier: MPL-2.0 */
/* Forwards a task's output to Nomad's FIFOs, when the task has logs. StartTask, RecoverTask and
 * logs_retry.c call this file. The work itself is done by the log pump (logpump.h), a process of
 * its own.
 *
 * A task may end before its output is followed. Then its end found no logs to deliver, so this file
 * begins the drain (drain.c) itself. */
#include "src/task/driver_priv.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#define GIVE_UP_DRAIN_US (3 * US_PER_SEC) /* for the output of a failed task */

/* @now: must outlive the result, which points into it. */
static struct logpump_task pump_task_of(const struct task *t, const struct task_look *now) {
    return (struct logpump_task){.task_id = t->id,
                                 .container_id = now->container_id,
                                 .stdout_path = t->stdout_path,
                                 .stderr_path = t->stderr_path,
                                 .tty = now->tty};
}

static int follow_task(struct driver *d, const struct call *call, struct task *t,
                       const struct logpump_task *want, struct err *err) {
    int r = client_need_pump(d, err);
    if (r == 0)
        r = logpump_follow(d->pump, call, want, err);
    if (r == -ENOSYS) { /* for example logging { type = "none" }: the task itself is well */
        err_clear(err);
        store_set_logs(t, false);
        client_tell(d, t, "The container's log driver cannot be read: no logs in Nomad");
        return 0;
    }
    /* The task ended before it was followed: its end did not know of any logs. */
    if (r == 0 && store_look(t).phase == TASK_EXITED)
        drain_task(d, t);
    err_reclass(err, r, ERR_RECOVERABLE); /* an error of the host, not of the job */
    return err_wrap(err, r, "logs of task %s", t->id);
}

bool logs_prepare(struct driver *d, const struct call *call, const struct task *t, bool recovered) {
    struct task_look now = store_look(t);
    struct logpump_task want = pump_task_of(t, &now);
    want.recovered = recovered;
    return !now.logs || (client_need_pump(d, NULL) == 0 && logpump_prepare(d->pump, call, &want));
}

int logs_follow(struct driver *d, const struct call *call, struct task *t, bool recovered,
                struct err *err) {
    struct task_look now = store_look(t);
    struct logpump_task want = pump_task_of(t, &now);
    want.recovered = recovered;
    return now.logs ? follow_task(d, call, t, &want, err) : 0;
}

/* For a task that has ended, no begin is sent: its end lets the pump deliver what was prepared. A
 * request to begin could arrive after that, and the pump would open the FIFOs again and never
 * close them. */
void logs_begin(struct driver *d, struct task *t) {
    struct task_look now = store_look(t);
    if (!now.logs)
        return;
    if (now.phase == TASK_EXITED)
        drain_task(d, t); /* the end may have come before anything was prepared */
    else
        logpump_begin(d->pump, t->id);
}

void logs_drop(struct driver *d, const struct task *t) {
    if (store_look(t).logs && d->pump)
        logpump_drop(d->pump, t->id);
}

int logs_adopt(struct driver *d, const struct call *call, struct task *t, int64_t since_ns,
               struct err *err) {
    struct task_look now = store_look(t);
    struct logpump_task want = pump_task_of(t, &now);
    want.adopted = want.recovered = true;
    want.since_ns = since_ns;
    return now.logs ? follow_task(d, call, t, &want, err) : 0;
}

void logs_give_up(struct driver *d, struct task *t) {
    struct call call = call_within(NULL, GIVE_UP_DRAIN_US);
    if (d->pump && logpump_finish(d->pump, &call, 0, t->id, NULL) < 0)
        log_debug("logs", LOG_KV("task_id", t->id), "logs did not end in time");
}
