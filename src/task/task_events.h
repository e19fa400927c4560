/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Task events on their way to Nomad (the TaskEvents stream). Each event is sent to all subscribers.
 * While no client subscribes, the last 64 events are kept for the next subscriber, because
 * StartTask may come before the stream is open. */
#include "src/task/fan.h"
#include "paddock/pin.h"

#define TASK_EVENTS_KEPT 64

struct task_events {
    struct fan fan;
    struct driver_event kept[TASK_EVENTS_KEPT]; /* owns its strings; oldest first from `start` */
    size_t start, n;
};

void task_events_init(struct task_events *e);
void task_events_done(struct task_events *e);
/** Sends the event, or keeps it. Any thread, does not block. When out of memory the event
 * is lost. */
void task_events_tell(struct task_events *e, const struct driver_event *event);
/** Sends an event of the reconciler, with the annotations cpuset.state, .old, .new and .cause. */
void task_events_tell_pin(struct task_events *e, const struct pin_event *event);
/** Calls @on for the kept events and adds the subscriber. Returns 0; -ENOMEM. The caller
 * owns the subscription and ends it by fan_unsubscribe(). */
int task_events_listen(struct task_events *e, void (*on)(void *, const struct driver_event *),
                       void *ctx, struct driver_sub **ret) MUST_CHECK;
