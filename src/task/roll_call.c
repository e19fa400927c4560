/* SPDX-License-Identifier: MPL-2.0 */
/* Finds ends and restarts that no event reported. dockerd drops events for a listener that is 100
 * ms late, and does not record that it did.
 *
 * Every ROLL_CALL_US one list of the running containers is compared with the tasks that count as
 * running. A task is inspected when its container is not in the list, or when its first process has
 * ended (`docker restart` gives a container another first process). Only the inspect decides. The
 * streams thread sets the timer, a thread of the pool asks Docker. */
#include "src/task/driver_priv.h"

#include "paddock/clock.h"
#include "paddock/log.h"

/* With the time of a list and an inspect, an end is found within 30 s. */
#define ROLL_CALL_US (20 * US_PER_SEC)

struct roll_call {
    struct driver *d;
    struct loop_timer *timer;
    atomic_bool busy; /* one list at a time: a slow dockerd may outlast the period */
};

/* The tasks that run now. Only a task that ran before the list was requested can be judged by the
 * list. Returns 0; -ENOMEM. */
static int running_tasks(struct driver *d, struct task ***ret, size_t *ret_n) {
    int r = store_all(d->store, ret, ret_n);
    size_t n = 0;
    for (size_t i = 0; r == 0 && i < *ret_n; i++) {
        if (store_look((*ret)[i]).phase == TASK_RUNNING)
            (*ret)[n++] = (*ret)[i];
        else
            store_task_unref((*ret)[i]);
    }
    *ret_n = r == 0 ? n : 0;
    return r;
}

/* The ids of the running containers, as the keys of an object. */
static int running_ids(struct driver *d, json_t **ret) {
    struct call call = call_within(NULL, d->timeout_us);
    call.cancel = &d->ended;
    AUTO_JSON json_t *list = NULL;
    AUTO_JSON json_t *ids = json_object();
    size_t skipped, i;
    json_t *c;
    int r = docker_container_list(d->docker, &call, false, NULL, &list, &skipped, NULL);
    json_array_foreach(list, i, c) {
        const char *id = json_string_value(json_object_get(c, "Id"));
        if (r == 0 && id && json_object_set_new(ids, id, json_true()) < 0)
            r = -ENOMEM;
    }
    if (r == 0)
        *ret = TAKE_PTR(ids);
    return r;
}

static bool is_as_listed(struct driver *d, const json_t *ids, struct task *t) {
    return json_object_get(ids, store_look(t).container_id) && !exit_is_other_process(d, t);
}

static void call_the_roll(struct driver *d) {
    AUTO_JSON json_t *ids = NULL;
    struct task **tasks;
    size_t n;
    if (running_tasks(d, &tasks, &n) < 0)
        return;
    int r = n ? running_ids(d, &ids) : 0;
    for (size_t i = 0; i < n; i++) {
        if (r == 0 && !is_as_listed(d, ids, tasks[i]) && exit_check(d, tasks[i], -1) < 0)
            log_debug("exit", LOG_KV("task_id", tasks[i]->id),
                      "its container cannot be inspected, retrying");
        store_task_unref(tasks[i]);
    }
    free(tasks);
}

static void compare_all(void *arg) {
    struct roll_call *c = arg;
    call_the_roll(c->d);
    atomic_store(&c->busy, false);
}

static void on_timer(void *arg) {
    struct roll_call *c = arg;
    if (!atomic_exchange(&c->busy, true) && pool_run(c->d->pool, compare_all, c) < 0)
        atomic_store(&c->busy, false); /* no thread is available: the next round tries again */
    loop_timer_at(c->timer, clock_now_us() + ROLL_CALL_US);
}

int roll_call_new(struct driver *d, struct roll_call **ret) {
    struct roll_call *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->d = d;
    int r = loop_timer_new(d->loop, on_timer, c, &c->timer);
    if (r < 0) {
        free(c);
        return r;
    }
    loop_timer_at(c->timer, clock_now_us() + ROLL_CALL_US);
    *ret = c;
    return 0;
}

void roll_call_free(struct roll_call *c) {
    if (!c)
        return;
    loop_timer_del(c->timer);
    free(c);
}
