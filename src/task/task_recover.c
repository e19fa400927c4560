/* SPDX-License-Identifier: MPL-2.0 */
/* RecoverTask: takes a task that this process does not know, and whose container runs or has ended
 * in Docker, into the store.
 *
 * After a restart of the agent, RecoverTask does not contain the job's driver config. Everything
 * that is needed comes from driver_state and from the container. The built-in driver's state is
 * understood, too. Its docker_logger process is ended (after a check of what that pid really is)
 * and its logs are taken over.
 *
 * An error here ends the task, because Nomad then starts it again. So only a certain failure is
 * returned as an error. */
#include "src/task/driver_priv.h"

#include "paddock/clock.h"
#include "paddock/log.h"
#include "paddock/task_state.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>

#define RECOVER_PAUSE_US (500 * US_PER_MS) /* between two attempts to reach Docker */
#define RECOVER_PATIENCE_US (5 * US_PER_SEC)
#define RECOVER_LOGS_US (10 * US_PER_SEC)
#define LOGGER_END_MS 2000 /* until a killed process has ended */

/* One RecoverTask, on its thread's stack. The driver's list contains them in the order in which
 * they came, under the driver's lock. The first one of a task runs, the others wait. */
struct recovery {
    const char *task_id;
    struct cancel turn; /* of one that waits: fired when it is the first of its task */
    struct recovery *next;
};

static struct recovery *first_of(struct recovery *list, const char *task_id) {
    while (list && strcmp(list->task_id, task_id) != 0)
        list = list->next;
    return list;
}

/* Adds @mine. Returns 1 when it can run; 0 when it has to wait for its turn; -errno when it is not
 * added, because no descriptor is left to wait with. */
static int queue_enter(struct driver *d, struct recovery *mine) {
    pthread_mutex_lock(&d->lock);
    int r = first_of(d->recoveries, mine->task_id) ? cancel_init(&mine->turn) : 1;
    struct recovery **at = &d->recoveries;
    while (*at)
        at = &(*at)->next;
    if (r >= 0)
        *at = mine;
    pthread_mutex_unlock(&d->lock);
    return r;
}

/* Removes @mine. The next one of its task runs. */
static void queue_leave(struct driver *d, struct recovery *mine) {
    pthread_mutex_lock(&d->lock);
    struct recovery **at = &d->recoveries;
    while (*at != mine)
        at = &(*at)->next;
    *at = mine->next;
    const struct recovery *next = first_of(d->recoveries, mine->task_id);
    if (next)
        cancel_fire(&next->turn); /* has no effect on one that runs already */
    pthread_mutex_unlock(&d->lock);
    cancel_done(&mine->turn);
}

static int wait_for_turn(const struct call *call, const struct recovery *mine) {
    int r = 0;
    while (r == 0 && !cancel_fired(&mine->turn))
        r = call_wait_fd(call, mine->turn.fd, POLLIN);
    return r;
}

/* Kills the process of @fd and waits until it has closed its files. Returns 0; -ETIMEDOUT;
 * another -errno. */
static int end_process(int fd) {
    if (pidfd_send_signal(fd, SIGKILL, NULL, 0) < 0)
        return errno == ESRCH ? 0 : -errno;
    struct pollfd end = {.fd = fd, .events = POLLIN};
    int r = poll(&end, 1, LOGGER_END_MS);
    return r < 0 ? -errno : r == 0 ? -ETIMEDOUT : 0;
}

/* Ends the built-in driver's docker_logger. While it has the FIFOs open, the pump would treat the
 * task as the built-in driver's. */
static void end_logger(const struct driver *d, const struct task_state *state) {
    AUTO_FD int fd = state->logger_pid > 0 ? pidfd_open(state->logger_pid, 0) : -EBADF;
    /* The pid from a file may have been reused. The pidfd pins the process that is checked. */
    if (fd < 0 || !pump_rival_is_docker_logger(d->proc_fd, (pid_t)state->logger_pid))
        return;
    int r = end_process(fd);
    if (r < 0)
        log_warn("recover", LOG_KV("errno", strerror(-r)),
                 "the built-in driver's docker_logger could not be ended, ignoring");
}

/* Takes over the logs. Lines from before belonged to the old logger. If it had died earlier, the
 * lines that it missed are lost; the alternative would be to repeat the whole log. */
static int take_over_logs(struct driver *d, const struct call *call, struct task *t,
                          const struct task_state *state, int64_t since_ns, struct err *err) {
    end_logger(d, state);
    return logs_adopt(d, call, t, since_ns, err);
}

/* Resumes the logs of a task of this driver. It is known from the task's start that its output can
 * be read, so Docker need not be available. */
static int resume_logs(struct driver *d, const struct call *call, struct task *t, struct err *err) {
    if (!logs_prepare(d, call, t, true))
        return logs_follow(d, call, t, true, err);
    logs_begin(d, t);
    return 0;
}

/* A failure of the logs alone (no pump, no FIFO, a full /run) must not end a healthy task: Nomad
 * would start it again. The task runs without logs until they can be followed. */
static void recover_logs(struct driver *d, const struct call *call, struct task *t,
                         const struct task_state *state) {
    /* Open until the pump or logs_retry_later() has the FIFOs, because logmon must not see an end
     * of file in between: a logger that ends and an attempt that fails both close theirs. A FIFO
     * that cannot be opened is reported by the attempt. */
    AUTO_FD int out = -EBADF;
    AUTO_FD int err_out = -EBADF;
    bool logs = store_look(t).logs;
    if (logs && pump_fifo_open(t->stdout_path, &out) < 0)
        log_debug("recover", LOG_KV("path", t->stdout_path), "the log FIFO cannot be opened");
    if (logs && pump_fifo_open(t->stderr_path, &err_out) < 0)
        log_debug("recover", LOG_KV("path", t->stderr_path), "the log FIFO cannot be opened");
    struct err err = {0};
    int64_t now = clock_wall_ns();
    struct call within = call_within(call, RECOVER_LOGS_US);
    int r = state->ours ? resume_logs(d, &within, t, &err)
                        : take_over_logs(d, &within, t, state, now, &err);
    if (r < 0)
        logs_retry_later(d, t, !state->ours, now, &err);
}

/* Inspects the container, and gives a restarting dockerd time. */
static int inspect_patiently(struct driver *d, const struct call *call, const char *id,
                             struct docker_state *ret, struct err *err) {
    for (;;) {
        struct err failed = {0};
        int r = docker_container_inspect(d->docker, call, id, ret, NULL, &failed);
        if (r == 0)
            return 0;
        if (r == -ENOENT || atomic_load(&d->ending) || call_sleep(call, RECOVER_PAUSE_US) < 0)
            return err_set(err, failed.cls, -r, "failed to inspect container for id %s: %s", id,
                           failed.text);
    }
}

/* Inspects the container. When Docker does not answer, a task of ours is assumed to be what
 * driver_state contains (@ret_inspected false). The state of the built-in driver contains too
 * little for that, so such a task waits for as long as Docker may take for any answer. */
static int find_container(struct driver *d, const struct call *call, const struct task_state *state,
                          struct docker_state *ret, bool *ret_inspected, struct err *err) {
    uint64_t limit =
        state->ours && d->timeout_us > RECOVER_PATIENCE_US ? RECOVER_PATIENCE_US : d->timeout_us;
    struct call within = call_within(call, limit);
    struct err failed = {0};
    int r = inspect_patiently(d, &within, state->container_id, ret, &failed);
    *ret_inspected = r == 0;
    if (r == 0)
        return 0;
    bool wanted = !atomic_load(&d->ending) && call_sleep(call, US_PER_MS) == 0;
    if (r == -ENOENT || !state->ours || !wanted)
        return err_set(err, failed.cls, -r, "%s", failed.text);
    log_warn("recover", LOG_KV("container_id", state->container_id, "error", failed.text),
             "Docker does not answer: the task is taken to run until it says otherwise");
    *ret = (struct docker_state){.running = true, .tty = state->tty, .pid = (pid_t)state->pid};
    snprintf(ret->id, sizeof(ret->id), "%s", state->container_id);
    snprintf(ret->image_id, sizeof(ret->image_id), "%s", state->image_id);
    return 0;
}

static int adopt_task(struct driver *d, const struct call *call, struct task *t,
                      const struct task_state *state, struct err *err) {
    AUTO_CONFIG struct config_snapshot *c = client_config_get(d);
    struct docker_state container;
    bool inspected;
    int r = find_container(d, call, state, &container, &inspected, err);
    if (r < 0)
        return r;

    if (strcmp(container.status, "created") == 0) /* such a container will never end */
        return err_set(err, ERR_PLAIN, ESRCH, "container %s was never started", container.id);

    bool to_null =
        strcmp(t->stdout_path, "/dev/null") == 0 && strcmp(t->stderr_path, "/dev/null") == 0;
    /* The built-in driver's state does not contain whether it collects logs. It has a logger when
     * it does. */
    bool logs = state->ours ? state->logs
                            : state->logger_pid > 0 && !c->c.disable_log_collection && !to_null;
    /* Hold the image under the id that StartTask used. The container's image id can be
     * another one. */
    if (!str_empty(state->image_id))
        snprintf(container.image_id, sizeof(container.image_id), "%s", state->image_id);
    store_set_container(t, container.id, container.image_id, container.tty, logs);
    r = store_set_network(t, &state->port_map, state->ip ? state->ip : "", state->auto_advertise);
    if (r == 0 && container.image_id[0])
        r = image_users_hold(d->images, container.image_id, container.image, t->id);
    if (r < 0)
        return err_oom(err);
    exit_task_runs(d, t, &container);

    recover_logs(d, call, t, state);
    /* The container may have ended since. The task is in the store by now, so an unavailable Docker
     * is not a failure of the recovery. A failure would end the task. */
    if (!inspected || exit_check(d, t, container.running ? -1 : container.exit_code) < 0)
        exit_look_later(d, t);
    return 0;
}

static int recover_task(struct driver *d, const struct call *call, const struct task_config *task,
                        const void *data, size_t len, struct err *err) {
    AUTO_TASK struct task *known = store_get(d->store, task->id);
    if (known) /* this process still has the task: the agent only reconnected */
        return client_meet(d, task, err);
    struct task_state state = {0};
    int r = task_state_decode(data, len, &state, err);
    if (r < 0)
        return err_wrap(err, r, "failed to decode driver state of task %s", task->id);
    struct task *t = NULL;
    r = client_meet(d, task, err);
    if (r == 0) {
        r = store_add(d->store, task, &t);
        if (r == -EEXIST)
            r = 0; /* started since */
        else if (r < 0)
            err_oom(err);
        else /* it is unknown what ran beside it before */
            store_set_logs_movable(d->store, t->alloc_id);
    }
    if (r == 0 && t) {
        r = adopt_task(d, call, t, &state, err);
        if (r < 0) {
            logs_give_up(d, t);
            image_users_release(d->images, store_look(t).image_id, t->id);
            exit_task_leaves(d, t);
        }
    }
    store_task_unref(t);
    task_state_done(&state);
    return r;
}

/* The recoveries of one task run one after the other. The second finds the result of the first. */
int task_recover(struct driver *d, const struct call *call, const struct task_config *task,
                 const void *data, size_t len, struct err *err) {
    struct recovery mine = {.task_id = task->id, .turn = {.fd = -EBADF}};
    int r = queue_enter(d, &mine);
    bool entered = r >= 0;
    if (r == 0)
        r = wait_for_turn(call, &mine);
    if (r < 0)
        r = err_set(err, ERR_PLAIN, -r, "another recovery of task %s is under way", task->id);
    else
        r = recover_task(d, call, task, data, len, err);
    if (entered)
        queue_leave(d, &mine);
    return r;
}
