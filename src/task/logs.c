/* A task's output to Nomad's FIFOs, when there is to be any. */
#include "driver_priv.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#define GIVE_UP_DRAIN_US (3 * US_PER_SEC) /* for what a failed task has printed */

int logs_follow(struct driver *d, const struct call *call, struct task *t, bool adopted,
                int64_t since_ns, struct err *err) {
    struct task_look now = store_look(t);
    if (!now.logs)
        return 0;
    struct logpump_task want = {.task_id = t->id,
                                .container_id = now.container_id,
                                .stdout_path = t->stdout_path,
                                .stderr_path = t->stderr_path,
                                .tty = now.tty,
                                .adopted = adopted,
                                .since_ns = since_ns};
    int r = logpump_follow(d->pump, call, &want, err);
    if (r == -ENOSYS) { /* logging { type = "none" } and the like: the task itself is well */
        err_clear(err);
        store_set_logs(t, false);
        driver_tell(d, t, "The container's log driver cannot be read: no logs in Nomad");
        return 0;
    }
    /* It ended before it was followed: that end did not know of any logs. */
    if (r == 0 && store_look(t).phase == TASK_EXITED)
        exit_settle_later(d, t);
    err_reclass(err, r, ERR_RECOVERABLE); /* this machine's trouble, not the job's */
    return err_wrap(err, r, "logs of task %s", t->id);
}

void logs_give_up(struct driver *d, struct task *t) {
    struct call call = call_within(NULL, GIVE_UP_DRAIN_US);
    if (d->pump && logpump_finish(d->pump, &call, 0, t->id, NULL) < 0)
        log_debug("logs", LOG_KV("task_id", t->id), "logs did not end in time");
}
