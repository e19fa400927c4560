/* SPDX-License-Identifier: MPL-2.0 */
/* What the report of missed log lines says about their size, and when it is due. */
#include "src/pump/log_gap.h"
#include "unit/cm.h"

#include "paddock/cleanup.h"
#include "paddock/clock.h"

#include <limits.h>
#include <string.h>

#define MS INT64_C(1000000)
#define T1 (INT64_C(1700000000123) * MS) /* 2023-11-14T22:13:20.123Z */
#define T2 (INT64_C(1700000061000) * MS) /* 2023-11-14T22:14:21.000Z */
#define LOST "some log lines may be missing: it was lost"

static void test_log_gap_report__size_known_or_not__text(void **state) {
    static const struct {
        unsigned gaps;
        int64_t after_ns, before_ns;
        uint64_t bytes;
        const char *text;
    } rows[] = {
        {1, T1, T2, 0, LOST " (between 2023-11-14T22:13:20.123Z and 2023-11-14T22:14:21.000Z)"},
        {1, T1, 0, 0, LOST " (after 2023-11-14T22:13:20.123Z)"},
        {1, 0, T2, 0, LOST " (before 2023-11-14T22:14:21.000Z)"},
        {1, T2, T1, 0, LOST " (before 2023-11-14T22:13:20.123Z)"}, /* the clock was set back */
        {1, T1, T1, 0, LOST " (before 2023-11-14T22:13:20.123Z)"},
        {1, 0, 0, 0, LOST},
        {1, 0, 0, 4097, LOST " (4097 bytes of the file)"},
        {3, T1, T2, 5,
         LOST " (3 times, 15 bytes of the file, between 2023-11-14T22:13:20.123Z and "
              "2023-11-14T22:14:21.000Z)"},
        {2, 0, 0, 0, LOST " (2 times)"},
        {1, INT64_MIN, INT64_MIN, 0, LOST},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct log_gap g = {0};
        char text[LOG_GAP_TEXT_MAX];
        log_gap_note(&g, "it was lost", rows[i].after_ns, rows[i].bytes);
        for (unsigned k = 1; k < rows[i].gaps; k++)
            log_gap_note(&g, "of another reason", T2, rows[i].bytes);
        log_gap_close(&g, rows[i].before_ns);
        assert_true(log_gap_report(&g, 1, false, text));
        assert_string_equal(text, rows[i].text);
    }
}

static void test_log_gap_report__longest_text__whole(void **state) {
    struct log_gap g = {
        .times = UINT_MAX, .after_ns = INT64_MAX - MS, .before_ns = INT64_MAX, .bytes = UINT64_MAX};
    char text[LOG_GAP_TEXT_MAX];
    (void)state;
    memset(g.why, 'w', sizeof(g.why) - 1);
    assert_true(log_gap_report(&g, 1, false, text));
    assert_true(strlen(text) < sizeof(text) - 1);
    assert_int_equal(text[strlen(text) - 1], ')');
}

static void test_log_gap_report__several__first_now_then_once_a_minute(void **state) {
    struct log_gap g = {0};
    char text[LOG_GAP_TEXT_MAX];
    (void)state;
    assert_false(log_gap_report(&g, 1, true, text)); /* nothing to report */
    log_gap_close(&g, T1);
    log_gap_note(&g, "it was lost", T1, 0);
    assert_false(log_gap_report(&g, 1, false, text)); /* its end is not known yet */
    log_gap_close(&g, T2);
    assert_true(log_gap_report(&g, 1, false, text));
    assert_false(log_gap_report(&g, 1, true, text)); /* reported once */
    log_gap_note(&g, "it was lost", T2, 0);
    log_gap_close(&g, T2 + MS);
    assert_false(log_gap_report(&g, 2, false, text));
    log_gap_note(&g, "it was lost", T2 + 2 * MS, 0);
    log_gap_close(&g, T2 + 3 * MS);
    assert_false(log_gap_report(&g, 60 * US_PER_SEC, false, text));
    assert_true(log_gap_report(&g, 60 * US_PER_SEC + 1, false, text));
    assert_string_equal(
        text, LOST " (2 times, between 2023-11-14T22:14:21.000Z and 2023-11-14T22:14:21.003Z)");
    log_gap_note(&g, "it was lost", T2, 0);
    assert_true(log_gap_report(&g, 60 * US_PER_SEC + 2, true, text)); /* the reader ends */
    assert_string_equal(text, LOST " (after 2023-11-14T22:14:21.000Z)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_gap_report__size_known_or_not__text),
        cmocka_unit_test(test_log_gap_report__longest_text__whole),
        cmocka_unit_test(test_log_gap_report__several__first_now_then_once_a_minute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
