/* SPDX-License-Identifier: MPL-2.0 */
/* Task events: those that are kept while no client listens, and the text of the
 * reconciler's events. */
#include "src/task/task_events.h"
#include "unit/cm.h"

#include <stdio.h>
#include <string.h>

static char heard[8192];

static void hear(void *ctx, const struct driver_event *e) {
    (void)ctx;
    size_t len = strlen(heard);
    snprintf(heard + len, sizeof(heard) - len, "%s;", e->message);
}

static void send_event(struct task_events *e, const char *message) {
    struct driver_event event = {
        .task_id = "t", .alloc_id = "a", .task_name = "n", .message = message};
    task_events_tell(e, &event);
}

static void test_task_events__no_listener__kept_and_sent_first(void **state) {
    struct task_events e;
    struct driver_sub *sub;
    (void)state;
    heard[0] = '\0';
    task_events_init(&e);
    send_event(&e, "one");
    send_event(&e, "two");
    assert_int_equal(task_events_listen(&e, hear, NULL, &sub), 0);
    send_event(&e, "three");
    assert_string_equal(heard, "one;two;three;");
    fan_unsubscribe(sub);
    send_event(&e, "four");
    assert_string_equal(heard, "one;two;three;");
    task_events_done(&e);
}

static void test_task_events__more_than_kept__oldest_are_dropped(void **state) {
    struct task_events e;
    struct driver_sub *sub;
    char text[32];
    (void)state;
    heard[0] = '\0';
    task_events_init(&e);
    for (int i = 0; i < TASK_EVENTS_KEPT + 2; i++) {
        snprintf(text, sizeof(text), "m%d", i);
        send_event(&e, text);
    }
    assert_int_equal(task_events_listen(&e, hear, NULL, &sub), 0);
    assert_memory_equal(heard, "m2;m3;", 6);
    fan_unsubscribe(sub);
    task_events_done(&e);
}

static void hear_all(void *ctx, const struct driver_event *e) {
    (void)ctx;
    assert_true(e->time_ns > 0);
    int n = snprintf(heard, sizeof(heard), "%s %s %s: %s", e->task_id, e->alloc_id, e->task_name,
                     e->message);
    for (size_t i = 0; i < e->annotations.n; i++)
        n += snprintf(heard + n, sizeof(heard) - (size_t)n, "; %s=%s", e->annotations.v[i].key,
                      e->annotations.v[i].value);
}

static void test_task_events_tell_pin__state_sets_and_cause_go_along(void **state) {
    struct task_events e;
    struct driver_sub *sub;
    struct pin_event event = {.task_id = "t",
                              .alloc_id = "a",
                              .task_name = "n",
                              .state = PIN_CONSTRAINED,
                              .message = "m",
                              .old_set = "1-3",
                              .new_set = "1-2",
                              .cause = "why"};
    (void)state;
    task_events_init(&e);
    task_events_tell_pin(&e, &event);
    assert_int_equal(task_events_listen(&e, hear_all, NULL, &sub), 0);
    assert_string_equal(heard, "t a n: m; cpuset.state=constrained; cpuset.old=1-3; "
                               "cpuset.new=1-2; cpuset.cause=why");
    fan_unsubscribe(sub);
    task_events_done(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_task_events__no_listener__kept_and_sent_first),
        cmocka_unit_test(test_task_events__more_than_kept__oldest_are_dropped),
        cmocka_unit_test(test_task_events_tell_pin__state_sets_and_cause_go_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
