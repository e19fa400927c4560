/* SPDX-License-Identifier: MPL-2.0 */
/* The lines of a json-file log: which lines are records, and where the next record begins after a
 * damaged one. */
#include "src/pump/log_record.h"
#include "unit/cm.h"

#include <stdio.h>
#include <string.h>

#define TIME "2024-01-02T03:04:05.678901234Z"
#define OUT "\",\"stream\":\"stdout\",\"time\":\"" TIME "\"}"
#define RECORD(text) "{\"log\":\"" text OUT

struct row {
    const char *line;
    const char *text; /* NULL: not a record */
    size_t len;       /* 0: up to the NUL */
    int stream;
};

static const struct row rows[] = {
    /* as dockerd writes it */
    {RECORD("hello\\n"), "hello\n", 0, 0},
    {"{\"log\":\"e\\n\",\"stream\":\"stderr\",\"time\":\"" TIME "\"}", "e\n", 0, 1},
    {RECORD("\\r\\t\\\\ \\\"x\\\" \\u003ca\\u003e \\u2028"), "\r\t\\ \"x\" <a> \xe2\x80\xa8", 0, 0},
    {RECORD("\\u0000\\u0001"), "\0\1", 2, 0},
    {RECORD("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x8e\\n"),
     "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x8e\n", 0, 0},
    {RECORD("\x7f"), "\x7f", 0, 0},
    {RECORD("12345678\\n12345678"), "12345678\n12345678", 0, 0},
    {RECORD(""), "", 0, 0},
    {"{\"stream\":\"stdout\",\"time\":\"" TIME "\"}", "", 0, 0},
    {"{\"log\":\"a\\n\",\"stream\":\"stdout\",\"attrs\":{\"log\":\"b\",\"c\":\"\\\"\"},\"time\":"
     "\"" TIME "\"}",
     "a\n", 0, 0},
    {"{\"log\":\"a\",\"stream\":\"stdout\",\"attrs\":{},\"time\":\"" TIME "\"}", "a", 0, 0},
    /* other valid forms */
    {"{\"time\":\"" TIME "\", \"stream\":\"stderr\", \"log\":\"\\ud83d\\udc0e\"}",
     "\xf0\x9f\x90\x8e", 0, 1},
    /* not a record */
    {"", NULL, 0, 0},
    {"{}", NULL, 0, 0},
    {"{\"log\":\"a", NULL, 0, 0},
    {"{\"log\":\"a" RECORD("b\\n"), NULL, 0, 0},
    {RECORD("a") "x", NULL, 0, 0},
    {RECORD("\xff"), NULL, 0, 0},
    {RECORD("\xed\xa0\x80"), NULL, 0, 0},
    {RECORD("\xc0\x80"), NULL, 0, 0},
    {RECORD("\\ud800"), NULL, 0, 0},
    {RECORD("\\x41"), NULL, 0, 0},
    {RECORD("a\tb"), NULL, 0, 0},
    {"{\"log\":\"a\",\"stream\":\"stdin\",\"time\":\"" TIME "\"}", NULL, 0, 0},
    {"{\"log\":\"a\",\"stream\":\"stdout\",\"time\":\"now\"}", NULL, 0, 0},
    {"{\"log\":1,\"stream\":\"stdout\",\"time\":\"" TIME "\"}", NULL, 0, 0},
};

static void test_log_record_parse__table(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        size_t len = strlen(row->line);
        AUTO_FREE char *line =
            malloc(len ? len : 1); /* exact size, so that ASan detects each read beyond it */
        AUTO_FREE char *text = malloc(len + 8);
        struct log_record r;
        memcpy(line, row->line, len);
        int rc = log_record_parse(line, len, text, &r);
        if (rc != (row->text ? 0 : -EPROTO))
            fail_msg("%s: %d", row->line, rc);
        if (!row->text)
            continue;
        size_t want = row->len ? row->len : strlen(row->text);
        if (r.text_len != want || memcmp(text, row->text, want) != 0 || r.stream != row->stream)
            fail_msg("%s: \"%.*s\" of stream %d", row->line, (int)r.text_len, text, r.stream);
        assert_string_equal(r.time, TIME);
    }
}

/* After damage the next record is found, even when messages contain text that looks like one. */
static void test_log_record_resync__half_a_record__next_one(void **state) {
    static const char *const halves[] = {
        "{\"log\":\"abc",
        "{\"log\":\"abc\\",
        "{\"lo",
        "{\"log\":\"a\\n\",\"str",
        "{\"log\":\"{\\\"log\\\":\\\"x",
        "\1\1\1",
        "{",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(halves); i++) {
        char line[256], text[264];
        struct log_record r;
        snprintf(line, sizeof(line), "%s%s", halves[i], RECORD("{\\\"log\\\":\\\"y\\n"));
        assert_int_equal(log_record_parse(line, strlen(line), text, &r), -EPROTO);
        size_t at = log_record_resync(line, strlen(line));
        assert_int_equal(at, strlen(halves[i]));
        assert_int_equal(log_record_parse(line + at, strlen(line) - at, text, &r), 0);
        assert_int_equal(r.text_len, strlen("{\"log\":\"y\n"));
    }
    assert_int_equal(log_record_resync(RECORD("a"), strlen(RECORD("a"))), strlen(RECORD("a")));
    assert_int_equal(log_record_resync("", 0), 0);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_record_parse__table),
        cmocka_unit_test(test_log_record_resync__half_a_record__next_one),
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
