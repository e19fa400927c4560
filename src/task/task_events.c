/* SPDX-License-Identifier: MPL-2.0 */
/* Sends task events to Nomad: keeps them while no client subscribes, see task_events.h. client.c
 * sends the events of tasks; the reconciler's events come through driver.c.
 *
 * The kept events and the list of subscribers have one lock, the fan's. So no event is lost or sent
 * twice when a client subscribes at the same moment. */
#include "src/task/task_events.h"

#include "paddock/clock.h"
#include "paddock/pin_plan.h"

static void event_done(struct driver_event *e) {
    free((char *)e->task_id);
    free((char *)e->alloc_id);
    free((char *)e->task_name);
    free((char *)e->message);
    kvs_done(&e->annotations);
    *e = (struct driver_event){0};
}

void task_events_init(struct task_events *e) {
    *e = (struct task_events){0};
    fan_init(&e->fan);
}

void task_events_done(struct task_events *e) {
    for (size_t i = 0; i < TASK_EVENTS_KEPT; i++)
        event_done(&e->kept[i]);
    fan_done(&e->fan);
}

static void keep_event(struct task_events *e, const struct driver_event *event) {
    if (e->n == TASK_EVENTS_KEPT) {
        event_done(&e->kept[e->start]);
        e->start = (e->start + 1) % TASK_EVENTS_KEPT;
        e->n--;
    }
    int r = 0;
    struct driver_event copy = {.task_id = str_dup(event->task_id, &r),
                                .alloc_id = str_dup(event->alloc_id, &r),
                                .task_name = str_dup(event->task_name, &r),
                                .message = str_dup(event->message, &r),
                                .time_ns = event->time_ns};
    if (r == 0)
        r = kvs_copy(&event->annotations, &copy.annotations);
    if (r < 0) {
        event_done(&copy);
        return;
    }
    e->kept[(e->start + e->n++) % TASK_EVENTS_KEPT] = copy;
}

void task_events_tell(struct task_events *e, const struct driver_event *event) {
    pthread_mutex_lock(&e->fan.lock);
    if (e->fan.first)
        fan_tell_locked(&e->fan, event);
    else
        keep_event(e, event);
    pthread_mutex_unlock(&e->fan.lock);
}

void task_events_tell_pin(struct task_events *e, const struct pin_event *event) {
    const char *const notes[][2] = {{"cpuset.state", pin_plan_state_name(event->state)},
                                    {"cpuset.old", event->old_set},
                                    {"cpuset.new", event->new_set},
                                    {"cpuset.cause", event->cause}};
    struct driver_event out = {.task_id = event->task_id,
                               .alloc_id = event->alloc_id,
                               .task_name = event->task_name,
                               .time_ns = clock_wall_ns(),
                               .message = event->message};
    int r = 0;
    for (size_t i = 0; i < ARRAY_LEN(notes) && r == 0; i++)
        r = kvs_set(&out.annotations, notes[i][0], notes[i][1]);
    if (r < 0)
        kvs_done(&out.annotations); /* the message alone is enough */
    task_events_tell(e, &out);
    kvs_done(&out.annotations);
}

static void call_subscriber(struct driver_sub *sub, const void *what) {
    ((void (*)(void *, const struct driver_event *))sub->on)(sub->ctx, what);
}

int task_events_listen(struct task_events *e, void (*on)(void *, const struct driver_event *),
                       void *ctx, struct driver_sub **ret) {
    struct driver_sub *sub = fan_sub_new(&e->fan, call_subscriber, (void (*)(void))on, ctx);
    if (!sub)
        return -ENOMEM;
    pthread_mutex_lock(&e->fan.lock);
    for (; e->n > 0; e->n--) {
        call_subscriber(sub, &e->kept[e->start]);
        event_done(&e->kept[e->start]);
        e->start = (e->start + 1) % TASK_EVENTS_KEPT;
    }
    fan_add_locked(&e->fan, sub);
    pthread_mutex_unlock(&e->fan.lock);
    *ret = sub;
    return 0;
}
