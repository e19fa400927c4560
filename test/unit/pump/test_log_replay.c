/* SPDX-License-Identifier: MPL-2.0 */
/* Which part of a repeated log was delivered before. Each message is one letter. All messages have
 * the same time, except those in capital letters, which are later. */
#include "src/pump/log_replay.h"
#include "unit/cm.h"

#include <ctype.h>
#include <string.h>

static struct log_piece piece_of(const char *letter) {
    return (struct log_piece){.channel = 1,
                              .time_ns = isupper((unsigned char)*letter) ? 200 : 100,
                              .data = letter,
                              .len = 1,
                              .end = true};
}

/* Returns the position after all of @text was delivered. */
static struct log_position after(const char *text) {
    struct log_replay r;
    struct log_position at = {0};
    log_replay_begin(&r, &at, 0, 0);
    for (; *text; text++) {
        struct log_piece p = piece_of(text);
        assert_int_equal(log_replay_take(&r, &p), 0);
        at = log_replay_after(&r, &p);
    }
    return at;
}

/* Reads @log from before @at. Returns the delivered text. */
static const char *read_log(struct log_replay *r, const struct log_position *at, uint32_t missing,
                            const char *log) {
    static char text[64];
    size_t n = 0;
    log_replay_begin(r, at, 0, missing);
    for (; *log && !log_replay_is_front_lost(r); log++) {
        struct log_piece p = piece_of(log);
        if (log_replay_take(r, &p) == 0)
            text[n++] = *log;
    }
    text[n] = '\0';
    return text;
}

static uint32_t probe(const struct log_position *at, const char *log) {
    struct log_replay r;
    log_replay_begin(&r, at, 0, 0);
    for (; *log; log++) {
        struct log_piece p = piece_of(log);
        (void)!log_replay_take(&r, &p);
    }
    return log_replay_missing(&r);
}

static void test_log_replay__log_unchanged__rest_is_new(void **state) {
    static const struct {
        const char *delivered, *log, *rest;
    } rows[] = {
        {"", "abc", "abc"},         {"abc", "abc", ""},     {"abc", "abcdE", "dE"},
        {"abcD", "abcDE", "E"},     {"aaa", "aaaab", "ab"}, {"abc", "D", "D"},
        {"abcDE", "abcDEFG", "FG"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct log_replay r;
        struct log_position at = after(rows[i].delivered);
        assert_string_equal(read_log(&r, &at, 0, rows[i].log), rows[i].rest);
        assert_false(log_replay_is_front_lost(&r));
    }
}

static void test_log_replay__front_lost__probed_and_rest_is_new(void **state) {
    static const struct {
        const char *delivered, *log, *rest;
        uint32_t missing;
    } rows[] = {
        {"abcd", "cdef", "ef", 2}, /* a part of the delivered messages is left */
        {"abcd", "d", "", 3},      {"abcd", "ef", "ef", 4}, /* none of them is left */
        {"abcd", "efG", "efG", 4}, {"abcd", "cdG", "G", 2},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct log_replay r;
        struct log_position at = after(rows[i].delivered);
        assert_string_equal(read_log(&r, &at, 0, rows[i].log), "");
        assert_true(log_replay_is_front_lost(&r));
        uint32_t missing = probe(&at, rows[i].log);
        assert_int_equal(missing, rows[i].missing);
        assert_string_equal(read_log(&r, &at, missing, rows[i].log), rows[i].rest);
    }
}

/* A position of an older layout has no fingerprints. Only the count is compared. */
static void test_log_replay__no_prints__counted(void **state) {
    (void)state;
    struct log_replay r;
    struct log_position at = {.time_ns = 100, .nth = 2};
    assert_string_equal(read_log(&r, &at, 0, "abcd"), "cd");
}

/* The first half of "abcd..." was delivered, and the messages before it were removed. */
static void test_log_replay__within_a_message__its_rest_is_new(void **state) {
    static const char text[] = "0123456789";
    struct log_replay r;
    struct log_position at = after("ab");
    struct log_piece half = {.channel = 1, .time_ns = 100, .data = text, .len = 4};
    (void)state;
    log_replay_begin(&r, &at, 0, 2);
    assert_int_equal(log_replay_take(&r, &half), 0);
    at = log_replay_after(&r, &half);
    assert_int_equal(at.offset, 4);
    struct log_piece whole = {
        .channel = 1, .time_ns = 100, .data = text, .len = sizeof(text) - 1, .end = true};
    log_replay_begin(&r, &at, 0, 0);
    (void)!log_replay_take(&r, &whole);
    assert_true(log_replay_is_front_lost(&r));
    uint32_t missing = log_replay_missing(&r);
    assert_int_equal(missing, 2);
    log_replay_begin(&r, &at, 0, missing);
    assert_int_equal(log_replay_take(&r, &whole), 4);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_replay__log_unchanged__rest_is_new),
        cmocka_unit_test(test_log_replay__front_lost__probed_and_rest_is_new),
        cmocka_unit_test(test_log_replay__no_prints__counted),
        cmocka_unit_test(test_log_replay__within_a_message__its_rest_is_new),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
