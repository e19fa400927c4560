/* SPDX-License-Identifier: MPL-2.0 */
/* Parsers of numbers, times, signals and globs, each with a table. */
#include "paddock/parse.h"
#include "unit/cm.h"

#include <stdio.h>

static void test_parse_u64__table__value_or_errno(void **state) {
    static const struct {
        const char *text;
        uint64_t max;
        int r;
        uint64_t want;
    } rows[] = {
        {"0", 10, 0, 0},
        {"10", 10, 0, 10},
        {"11", 10, -ERANGE, 0},
        {"18446744073709551615", UINT64_MAX, 0, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, -ERANGE, 0},
        {"", 10, -EINVAL, 0},
        {" 1", 10, -EINVAL, 0},
        {"1 ", 10, -EINVAL, 0},
        {"-1", 10, -EINVAL, 0},
        {"0x1", 10, -EINVAL, 0},
        {"5", 3, -ERANGE, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t v = 0;
        assert_int_equal(parse_u64(rows[i].text, rows[i].max, &v), rows[i].r);
        assert_int_equal(v, rows[i].want);
    }
}

static void test_parse_i64__limits__exact(void **state) {
    int64_t v;
    (void)state;
    assert_int_equal(parse_i64("-9223372036854775808", &v), 0);
    assert_true(v == INT64_MIN);
    assert_int_equal(parse_i64("9223372036854775807", &v), 0);
    assert_true(v == INT64_MAX);
    assert_int_equal(parse_i64("9223372036854775808", &v), -ERANGE);
    assert_int_equal(parse_i64("+-1", &v), -EINVAL);
}

static void test_parse_duration__table__as_go(void **state) {
    static const struct {
        const char *text;
        int r;
        int64_t us;
    } rows[] = {
        {"0", 0, 0},
        {"3m", 0, 180000000},
        {"1h30m", 0, INT64_C(5400000000)},
        {"1.5s", 0, 1500000},
        {".5s", 0, 500000},
        {"300ms", 0, 300000},
        {"1m1ms", 0, 60001000},
        {"10us", 0, 10},
        {"10\xc2\xb5s", 0, 10},
        {"1500ns", 0, 1},
        {"-2s", 0, -2000000},
        {"0.0000001h", 0, 360},
        {"", -EINVAL, 7},
        {"5", -EINVAL, 7},
        {"s", -EINVAL, 7},
        {".s", -EINVAL, 7},
        {"1x", -EINVAL, 7},
        {"1 s", -EINVAL, 7},
        {"1h ", -EINVAL, 7},
        {"99999999999h", -ERANGE, 7},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t us = 7;
        assert_int_equal(parse_duration_us(rows[i].text, &us), rows[i].r);
        assert_int_equal(us, rows[i].us);
    }
}

static void test_parse_rfc3339__table__nanoseconds(void **state) {
    static const struct {
        const char *text;
        int r;
        int64_t ns;
    } rows[] = {
        {"1970-01-01T00:00:01Z", 0, 1000000000},
        {"2024-02-29T12:00:00.5Z", 0, INT64_C(1709208000500000000)},
        {"2024-01-02T03:04:05.678901234Z", 0, INT64_C(1704164645678901234)},
        {"2024-01-02T05:04:05+02:00", 0, INT64_C(1704164645000000000)},
        {"0001-01-01T00:00:00Z", 0, 0},
        {"2024-01-02T03:04:05.Z", -EINVAL, 7},
        {"2024-01-02T03:04:05", -EINVAL, 7},
        {"2024-13-02T03:04:05Z", -EINVAL, 7},
        {"2024-01-02 03:04:05Z", -EINVAL, 7},
        {"2024-01-02T03:04:05Zx", -EINVAL, 7},
        {"", -EINVAL, 7},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t ns = 7;
        assert_int_equal(parse_rfc3339_ns(rows[i].text, &ns), rows[i].r);
        assert_true(ns == rows[i].ns);
    }
}

static void test_parse_signal__table__number(void **state) {
    static const struct {
        const char *text;
        int r, want;
    } rows[] = {
        {"SIGHUP", 0, 1},
        {"hup", 0, 1},
        {"1", 0, 1},
        {"sigterm", 0, 15},
        {"IOT", 0, 6},
        {"CLD", 0, 17},
        {"64", 0, 64},
        {"34", 0, 34},
        {"SIGRTMIN", 0, 34},
        {"rtmin+1", 0, 35},
        {"SIGRTMIN+15", 0, 49},
        {"SIGRTMIN+16", 0, 50},
        {"SIGRTMIN+30", 0, 64},
        {"SIGRTMAX", 0, 64},
        {"rtmax-14", 0, 50},
        {"SIGRTMAX-30", 0, 34},
        {"SIGRTMIN+31", -EINVAL, 0},
        {"SIGRTMAX-31", -EINVAL, 0},
        {"SIGRTMIN-1", -EINVAL, 0},
        {"SIGRTMAX+1", -EINVAL, 0},
        {"RTMINX", -EINVAL, 0},
        {"RTMIN+", -EINVAL, 0},
        {"RTMIN+-1", -EINVAL, 0},
        {"65", -EINVAL, 0},
        {"0", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"", -EINVAL, 0},
        {"SIG", -EINVAL, 0},
        {"SIGSIGHUP", -EINVAL, 0},
        {"1x", -EINVAL, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int n = 0;
        if (parse_signal(rows[i].text, &n) != rows[i].r || n != rows[i].want)
            fail_msg("%s: %d", rows[i].text, n);
    }
    /* every real-time signal has two names and a number */
    for (int sig = 34; sig <= 64; sig++) {
        char text[3][24];
        snprintf(text[0], sizeof(text[0]), "%d", sig);
        snprintf(text[1], sizeof(text[1]), "SIGRTMIN+%d", sig - 34);
        snprintf(text[2], sizeof(text[2]), "SIGRTMAX-%d", 64 - sig);
        for (int k = 0; k < 3; k++) {
            int n = 0;
            assert_int_equal(parse_signal(text[k], &n), 0);
            assert_int_equal(n, sig);
        }
    }
}

static void test_parse_glob__table(void **state) {
    (void)state;
    assert_true(parse_glob("", ""));
    assert_true(parse_glob("*", ""));
    assert_true(parse_glob("a*", "a"));
    assert_true(parse_glob("*b*", "abc"));
    assert_true(parse_glob("a*c*e", "abcde"));
    assert_true(parse_glob("*ab", "aab"));
    assert_false(parse_glob("", "a"));
    assert_false(parse_glob("a", "A"));
    assert_false(parse_glob("a*c", "ab"));
    assert_false(parse_glob("?", "a"));
    assert_false(parse_glob("a*b", "abc"));
}

static void test_has_word__part_of_another__not_found(void **state) {
    (void)state;
    assert_true(parse_has_word("cpuset cpu io\n", "cpuset"));
    assert_true(parse_has_word("io cpuset\n", "cpuset"));
    assert_true(parse_has_word("io cpuset", "cpuset"));
    assert_true(parse_has_word("cpusets cpuset", "cpuset"));
    assert_false(parse_has_word("cpu io", "cpuset"));
    assert_false(parse_has_word("xcpuset cpuset2", "cpuset"));
    assert_false(parse_has_word("", "cpuset"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_has_word__part_of_another__not_found),
        cmocka_unit_test(test_parse_glob__table),
        cmocka_unit_test(test_parse_u64__table__value_or_errno),
        cmocka_unit_test(test_parse_i64__limits__exact),
        cmocka_unit_test(test_parse_duration__table__as_go),
        cmocka_unit_test(test_parse_rfc3339__table__nanoseconds),
        cmocka_unit_test(test_parse_signal__table__number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
