/* SPDX-License-Identifier: MPL-2.0 */
/* Deadlines and cancels: which of two deadlines is used, and how a wait ends. */
#include "paddock/call.h"
#include "paddock/clock.h"
#include "unit/cm.h"

#include <poll.h>

static void test_call_within__outer_is_sooner__outer_wins(void **state) {
    (void)state;
    struct call outer = {.deadline_us = clock_now_us() + 1000};
    struct call c = call_within(&outer, 3600 * US_PER_SEC);
    assert_int_equal(c.deadline_us, outer.deadline_us);
    c = call_within(NULL, 1000);
    assert_true(c.deadline_us > 0);
    assert_null(c.cancel);
}

static void test_call_remaining__none_past_future__as_poll_wants(void **state) {
    (void)state;
    struct call none = {0}, past = {.deadline_us = 1};
    struct call soon = {.deadline_us = clock_now_us() + 100};
    assert_int_equal(call_remaining_ms(&none), -1);
    assert_int_equal(call_remaining_ms(NULL), -1);
    assert_int_equal(call_remaining_ms(&past), 0);
    /* It is rounded up, so that poll() is not called in a busy loop with 0. */
    assert_in_range(call_remaining_ms(&soon), 0, 1);
}

static void test_call_sleep__fired_cancel__ecanceled_immediately(void **state) {
    (void)state;
    struct cancel cancel;
    assert_int_equal(cancel_init(&cancel), 0);
    assert_false(cancel_fired(&cancel));
    cancel_fire(&cancel);
    cancel_fire(&cancel);
    assert_true(cancel_fired(&cancel));
    struct call c = {.cancel = &cancel};
    assert_int_equal(call_sleep(&c, 3600 * US_PER_SEC), -ECANCELED);
    cancel_done(&cancel);
    assert_false(cancel_fired(&cancel));
}

static void test_call_sleep__deadline_first__etimedout(void **state) {
    (void)state;
    struct call c = {.deadline_us = clock_now_us() + 2000};
    assert_int_equal(call_sleep(&c, 3600 * US_PER_SEC), -ETIMEDOUT);
    assert_int_equal(call_sleep(NULL, 1000), 0);
}

static void test_call_wait_fd__ready_cancelled_late__distinguished(void **state) {
    (void)state;
    struct cancel cancel, other;
    assert_int_equal(cancel_init(&cancel), 0);
    assert_int_equal(cancel_init(&other), 0);
    struct call c = {.deadline_us = clock_now_us() + 2000, .cancel = &cancel};
    assert_int_equal(call_wait_fd(&c, other.fd, POLLIN), -ETIMEDOUT);
    assert_true(clock_now_us() >= c.deadline_us);
    cancel_fire(&other);
    assert_int_equal(call_wait_fd(&c, other.fd, POLLIN), 0); /* ready, after the deadline */
    c.deadline_us = 0;
    assert_int_equal(call_wait_fd(&c, other.fd, POLLIN), 0);
    cancel_fire(&cancel);
    assert_int_equal(call_wait_fd(&c, other.fd, POLLIN), -ECANCELED);
    c.cancel = NULL;
    assert_int_equal(call_wait_fd(&c, other.fd, POLLIN), 0);
    cancel_done(&cancel);
    cancel_done(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call_within__outer_is_sooner__outer_wins),
        cmocka_unit_test(test_call_remaining__none_past_future__as_poll_wants),
        cmocka_unit_test(test_call_wait_fd__ready_cancelled_late__distinguished),
        cmocka_unit_test(test_call_sleep__fired_cancel__ecanceled_immediately),
        cmocka_unit_test(test_call_sleep__deadline_first__etimedout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
