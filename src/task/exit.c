/* SPDX-License-Identifier: MPL-2.0 */
/* How the driver learns that a container has ended, and what it does then. The streams thread
 * calls this file for each event of Docker; StartTask, RecoverTask, StopTask and roll_call.c call
 * it, too.
 *
 * One event stream reports the ends of all containers. After each (re)connection of that stream
 * every tracked container is inspected, because events in between were lost. A die event is an end,
 * with its exit code. Docker's inspect decides when there is no code, as after a lost stream, and
 * when a label of the container replaced the code: otherwise a job or an image could choose the
 * code. While Docker does not answer, nothing is concluded, and Docker is asked again. */
#include "src/task/driver_priv.h"
#include "src/task/exit_judge.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXIT_UNKNOWN_CODE (-1)
/* The pauses between two inspections of a container whose inspect fails. The pause is doubled up to
 * the longest. Then the container is left to the scan of all containers. */
#define EXIT_RETRY_FIRST_US (100 * US_PER_MS)
#define EXIT_RETRY_MAX_US US_PER_SEC
/* The limit of one inspection in the first round. Docker may keep some containers locked, and these
 * must not delay the others. */
#define EXIT_SHORT_LOOK_US (2 * US_PER_SEC)
/* How long to wait after no thread was available, or no memory. */
#define EXIT_THREAD_US US_PER_SEC

/* Skipped events are logged at most once in this time; the metrics count them. */
#define SKIPPED_LOG_US (60 * US_PER_SEC)

struct exit_job {
    struct driver *d;
    struct task *task;
};

/* A reference to @t. Returns NULL when @t has left the store. */
static struct task *tracked_ref(struct driver *d, const struct task *t) {
    struct task *now = store_get(d->store, t->id);
    if (now == t)
        return now;
    store_task_unref(now); /* started again, with the same id */
    return NULL;
}

static bool is_tracked(struct driver *d, const struct task *t) {
    AUTO_TASK struct task *now = tracked_ref(d, t);
    return now;
}

/* Runs @work with (d, task) on @pool, with a reference of its own. Returns 0, also for a task that
 * has left the store; -ENOMEM; -EAGAIN. */
static int run_later(struct driver *d, struct pool *pool, struct task *t, void (*work)(void *)) {
    struct exit_job *job = calloc(1, sizeof(*job));
    if (!job)
        return -ENOMEM;
    struct task *ref = tracked_ref(d, t);
    *job = (struct exit_job){.d = d, .task = ref};
    int r = ref ? pool_run(pool, work, job) : 0;
    if (r < 0 || !ref) {
        store_task_unref(ref);
        free(job);
    }
    return r;
}

void exit_task_leaves(struct driver *d, struct task *t) {
    oom_forget(d->oom, store_look(t).container_id);
    store_remove(d->store, t);
    pin_wake(d->pin);
}

/* When the kernel last killed a process in the container because memory was used up; 0 = never. */
static int64_t oom_time(struct driver *d, const struct task *t) {
    oom_look(d->oom);
    return store_look(t).oom_ns;
}

void exit_oom(struct driver *d, struct task *t, const char *container_id, int64_t when_ns) {
    if (store_set_oom(t, container_id, when_ns))
        client_tell(d, t, "A process in the container was killed because its memory was used up");
}

static void record_end(struct driver *d, struct task *t, const char *container_id,
                       const struct task_exit *e, int64_t when_ns) {
    if (!store_set_exited(t, container_id, e, when_ns ? when_ns : clock_wall_ns()))
        return;
    oom_forget(d->oom, container_id);
    pin_wake(d->pin);
    task_stats_ended(d->stats, t->id);
    drain_task(d, t);
}

bool exit_is_other_process(struct driver *d, struct task *t) {
    char pid[16];
    snprintf(pid, sizeof(pid), "%d", (int)store_look(t).pid);
    return store_see_process(t, faccessat(d->proc_fd, pid, F_OK, 0) == 0);
}

void exit_task_runs(struct driver *d, struct task *t, const struct docker_state *s) {
    const struct task_look now = store_look(t);
    struct task_end early;
    store_set_exit_in_events(t, s->exit_in_events);
    if (store_set_running(t, s->pid, s->started_ns, &early)) {
        record_end(d, t, now.container_id, &early.exit, early.when_ns);
        return;
    }
    (void)exit_is_other_process(d, t); /* remember that the process exists here */
    pin_wake(d->pin);
    oom_watch(d->oom, s->pid, now.container_id);
}

/* The container was removed. Its end can only be guessed: from the event, if one came. */
static void record_gone(struct driver *d, struct task *t, const char *container_id,
                        int event_code) {
    struct task_exit e;
    int code = event_code == EXIT_UNKNOWN_CODE ? 137 : event_code;
    exit_judge_fill(&e, code, exit_judge_is_oom(code, oom_time(d, t), clock_wall_ns(), false));
    if (event_code == EXIT_UNKNOWN_CODE)
        snprintf(e.err, sizeof(e.err), "the container was removed outside of Nomad");
    record_end(d, t, container_id, &e, 0);
}

static int check_within(struct driver *d, struct task *t, int event_code, uint64_t limit_us) {
    struct task_look now = store_look(t);
    if (now.phase == TASK_EXITED || !now.container_id[0])
        return 0;
    struct call call = call_within(NULL, limit_us);
    call.cancel = &d->ended;
    struct docker_state s;
    struct err err = {0};
    int r = docker_container_inspect(d->docker, &call, now.container_id, &s, NULL, &err);
    if (r == -ENOENT) {
        record_gone(d, t, now.container_id, event_code);
        return 0;
    }
    if (r < 0) {
        log_debug("exit", LOG_KV("task_id", t->id), "inspect: %s, retrying", err.text);
        return r;
    }
    if (s.running || s.restarting || s.paused) {
        if (s.oom_killed) /* its event was lost with the stream */
            exit_oom(d, t, now.container_id, now.oom_ns ? now.oom_ns : clock_wall_ns());
        if (now.phase == TASK_RUNNING && s.pid != now.pid)
            exit_task_runs(d, t, &s);
    } else if (strcmp(s.status, "created") != 0) {
        struct task_exit e;
        exit_judge_fill(
            &e, s.exit_code,
            exit_judge_is_oom(s.exit_code, oom_time(d, t), s.finished_ns, s.oom_killed));
        record_end(d, t, now.container_id, &e, s.finished_ns);
    }
    return 0;
}

int exit_check(struct driver *d, struct task *t, int event_code) {
    return check_within(d, t, event_code, d->timeout_us);
}

/* Waits before the next inspection. Returns false when the driver ends. */
static bool pause_before_retry(const struct driver *d, uint64_t us) {
    return call_sleep(&(struct call){.cancel = &d->ended}, us) == 0;
}

static uint64_t short_look_us(const struct driver *d) {
    return d->timeout_us < EXIT_SHORT_LOOK_US ? d->timeout_us : EXIT_SHORT_LOOK_US;
}

/* Inspects all tasks once. Those that could not be inspected stay in @all. Returns how many. */
static size_t inspect_all(struct driver *d, struct task **all, size_t n, unsigned mine,
                          uint64_t limit_us) {
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        if (mine == atomic_load(&d->resyncs) &&
            check_within(d, all[i], EXIT_UNKNOWN_CODE, limit_us) < 0 && is_tracked(d, all[i]))
            all[left++] = all[i];
        else
            store_task_unref(all[i]);
    }
    return left;
}

/* Inspects all tasks. When Docker does not answer, it is asked again until it does, or until the
 * stream was opened once more: then a newer scan is running. Tasks that are answered do not wait
 * for one container that Docker keeps locked. */
static void resync_work(void *arg) {
    struct driver *d = arg;
    unsigned mine = atomic_load(&d->resyncs);
    struct task **all;
    size_t n;
    while (store_all(d->store, &all, &n) < 0)
        if (!pause_before_retry(d, EXIT_THREAD_US))
            return;
    uint64_t limit = short_look_us(d);
    while ((n = inspect_all(d, all, n, mine, limit)) > 0) {
        limit = d->timeout_us;
        if (!pause_before_retry(d, EXIT_RETRY_MAX_US))
            break;
    }
    for (size_t i = 0; i < n; i++)
        store_task_unref(all[i]);
    free(all);
}

static void resync_tasks(void *ctx);

/* Many callers may ask for a scan at about the same time; one scan serves them all. Context: the
 * streams thread. */
static void resync_soon(void *ctx) {
    struct driver *d = ctx;
    if (d->resync_asked ||
        (!d->resync_again && loop_timer_new(d->loop, resync_tasks, d, &d->resync_again) < 0))
        return;
    d->resync_asked = true;
    loop_timer_at(d->resync_again, clock_now_us() + EXIT_THREAD_US);
}

/* No thread was available for one inspection or for a scan: the streams thread starts a
 * scan later. */
static void resync_later(struct driver *d) {
    log_warn("exit", NULL, "no thread to look at the containers, retrying");
    resync_soon(d);
}

static void resync_tasks(void *ctx) {
    struct driver *d = ctx;
    d->resync_asked = false; /* this is the scan */
    atomic_fetch_add(&d->resyncs, 1);
    if (pool_run(d->pool, resync_work, d) < 0)
        resync_later(d);
}

/* Docker sent an event but does not answer the inspect. Asks again, until a scan of all containers
 * is running. A container that Docker keeps locked must not hold a thread forever, because there
 * may be as many of them as threads. After some attempts a scan takes over for all. */
static void check_work(void *arg) {
    struct exit_job *job = arg;
    struct driver *d = job->d;
    unsigned mine = atomic_load(&d->resyncs);
    uint64_t wait = EXIT_RETRY_FIRST_US;
    while (check_within(d, job->task, EXIT_UNKNOWN_CODE, short_look_us(d)) < 0 &&
           is_tracked(d, job->task)) {
        if (wait > EXIT_RETRY_MAX_US && loop_post(d->loop, resync_soon, d) == 0)
            break;
        if (!pause_before_retry(d, wait) || mine != atomic_load(&d->resyncs))
            break;
        wait = wait > EXIT_RETRY_MAX_US ? wait : wait * 2;
    }
    store_task_unref(job->task);
    free(job);
}

void exit_look_later(struct driver *d, struct task *t) {
    if (run_later(d, d->pool, t, check_work) < 0)
        resync_later(d);
}

static void on_disconnected(void *ctx, const char *why) {
    struct driver *d = ctx;
    log_debug("exit", LOG_KV("error", why), "event stream lost, retrying");
    fingerprint_docker_lost(d->fingerprint);
}

/* The skipped event may have been the end of one of our tasks, so its container is inspected. */
static void on_skipped(void *ctx, const char *container_id, const char *why) {
    struct driver *d = ctx;
    uint64_t now = clock_now_us();
    if (!d->skipped_logged_us || now - d->skipped_logged_us >= SKIPPED_LOG_US) {
        d->skipped_logged_us = now;
        log_warn("exit", LOG_KV("container_id", container_id, "error", why),
                 "an event from Docker cannot be read, ignoring");
    }
    AUTO_TASK struct task *t = container_id[0] ? store_get_container(d->store, container_id) : NULL;
    if (t) {
        exit_look_later(d, t);
        task_exec_stream_ask(d->execs, container_id);
    }
}

/* The event's execID and exitCode are the exec's own only when no label of the container
 * replaced them. */
static void on_exec_die(struct driver *d, const struct task *t, const struct docker_event *e) {
    const char *id = json_string_value(json_object_get(e->attributes, "execID"));
    if (store_look(t).exit_in_events && id && e->exit_code >= 0)
        task_exec_stream_died(d->execs, e->container_id, id, e->exit_code);
    else
        task_exec_stream_ask(d->execs, e->container_id);
}

/* Returns whether Docker has restarted the container, which then has another pid. The first start
 * is the one of StartTask. */
static bool is_new_start(const struct task *t, const char *action) {
    return strcmp(action, "restart") == 0 ||
           (strcmp(action, "start") == 0 && store_look(t).phase == TASK_RUNNING);
}

/* The event alone is enough, and it is earlier: an inspect waits until dockerd has cleaned up, and
 * reports nothing more.
 *
 * dockerd takes an OOM kill and an end from one queue per container. So it has reported the kill
 * when it reports the end. A kill after the end would find the waiting inspect already answered.
 * Measured with 880 OOM kills on Docker 20.10 (first process or child, idle and loaded): the
 * inspect never knew of a kill that the stream had not reported. */
static void on_die(struct driver *d, struct task *t, const struct docker_event *e) {
    if (e->exit_code < 0 || !store_look(t).exit_in_events) {
        exit_look_later(d, t);
        return;
    }
    struct task_exit exit;
    exit_judge_fill(&exit, e->exit_code,
                    exit_judge_is_oom(e->exit_code, oom_time(d, t), e->time_ns, false));
    record_end(d, t, e->container_id, &exit, e->time_ns);
}

static void on_event(void *ctx, const struct docker_event *e) {
    struct driver *d = ctx;
    AUTO_TASK struct task *t = store_get_container(d->store, e->container_id);
    if (!t)
        return;
    if (strcmp(e->action, "exec_die") == 0)
        on_exec_die(d, t, e);
    else if (strcmp(e->action, "oom") == 0)
        exit_oom(d, t, e->container_id, e->time_ns ? e->time_ns : clock_wall_ns());
    else if (strcmp(e->action, "die") == 0)
        on_die(d, t, e);
    else if (strcmp(e->action, "destroy") == 0 || is_new_start(t, e->action))
        exit_look_later(d, t);
}

const struct docker_events_ops exit_events_ops = {
    .connected = resync_tasks,
    .event = on_event,
    .skipped = on_skipped,
    .disconnected = on_disconnected,
};

int exit_wait(struct driver *d, const char *task_id, struct task_waiter *w, struct task **ret_task,
              struct err *err) {
    struct task *t = store_get(d->store, task_id);
    if (!t)
        return client_not_found(err);
    *ret_task = t; /* before store_wait(), which may call done immediately */
    store_wait(t, w);
    return 0;
}
