/* SPDX-License-Identifier: MPL-2.0 */
/* Docker's output stream, with frames and with a TTY, cut at every byte. */
#include "src/pump/log_parser.h"
#include "unit/cm.h"

#include "paddock/buf.h"

#include <stdio.h>
#include <string.h>

#define T1 "2024-01-02T03:04:05.000000001Z"
#define T2 "2024-01-02T03:04:05.000000002Z"

static void add_frame(struct buf *b, int channel, const char *text) {
    size_t n = strlen(text);
    char head[8] = {(char)channel,  0,      0, 0, (char)(n >> 24), (char)(n >> 16),
                    (char)(n >> 8), (char)n};
    assert_int_equal(buf_append(b, head, sizeof(head)), 0);
    assert_int_equal(buf_append(b, text, n), 0);
}

/* Feeds @in in pieces of @step bytes and writes the result as "channel:text[|]" ('|' = end
 * of message). */
static int feed(bool tty, const struct buf *in, size_t step, size_t max, struct buf *out) {
    struct log_parser p;
    log_parser_init(&p, tty);
    int last = 0;
    for (size_t at = 0; at < in->len;) {
        size_t n = in->len - at < step ? in->len - at : step;
        struct log_piece piece;
        ssize_t took = log_parser_feed(&p, in->data + at, n, max, &piece);
        if (took < 0)
            return (int)took;
        at += (size_t)took;
        if (!piece.channel)
            continue;
        assert_true(piece.len <= max);
        if (piece.channel != last && piece.offset == 0)
            assert_int_equal(buf_printf(out, "%d:", piece.channel), 0);
        last = piece.end ? 0 : piece.channel;
        assert_int_equal(buf_append(out, piece.data, piece.len), 0);
        if (piece.end)
            assert_int_equal(buf_puts(out, "|"), 0);
    }
    return 0;
}

static void test_log_parser_feed__frames_cut_anywhere__same_messages(void **state) {
    (void)state;
    AUTO_BUF struct buf in;
    buf_init(&in, 0);
    add_frame(&in, 1, T1 " hello\n");
    add_frame(&in, 2, T2 " oops\n");
    add_frame(&in, 1, T2 " \n");
    for (size_t step = 1; step <= in.len; step++) {
        for (size_t max = 1; max < 8; max += 3) {
            AUTO_BUF struct buf out;
            buf_init(&out, 0);
            assert_int_equal(feed(false, &in, step, max, &out), 0);
            assert_string_equal(buf_text(&out), "1:hello\n|2:oops\n|1:\n|");
        }
    }
}

static void test_log_parser_feed__tty__lines_are_messages(void **state) {
    (void)state;
    AUTO_BUF struct buf in, out;
    buf_init(&in, 0);
    buf_init(&out, 0);
    assert_int_equal(buf_puts(&in, T1 " a b\r\n" T2 " c\r\n"), 0);
    assert_int_equal(feed(true, &in, 5, 4096, &out), 0);
    assert_string_equal(buf_text(&out), "1:a b\r\n|1:c\r\n|");
}

static void test_log_parser_feed__tty_long_line__next_piece_has_its_own_time(void **state) {
    (void)state;
    AUTO_BUF struct buf in;
    struct log_parser p;
    struct log_piece piece;
    buf_init(&in, 0);
    assert_int_equal(buf_puts(&in, T1 " "), 0);
    for (int i = 0; i < LOG_MESSAGE_MAX; i++)
        assert_int_equal(buf_puts(&in, "x"), 0);
    assert_int_equal(buf_puts(&in, T2 " tail\r\n"), 0);
    log_parser_init(&p, true);
    ssize_t n = log_parser_feed(&p, in.data, in.len, SIZE_MAX, &piece);
    assert_true(n > 0);
    assert_int_equal(piece.len, LOG_MESSAGE_MAX);
    assert_true(piece.end);
    n = log_parser_feed(&p, in.data + n, in.len - (size_t)n, SIZE_MAX, &piece);
    assert_true(n > 0);
    assert_int_equal(piece.len, strlen("tail\r\n"));
    assert_memory_equal(piece.data, "tail\r\n", piece.len);
    assert_int_equal(piece.time_ns % 10, 2);
}

static void test_log_parser_feed__garbage__eproto(void **state) {
    static const struct {
        bool tty;
        const char *data;
        size_t len;
    } rows[] = {
        {false, "\x07\0\0\0\0\0\0\1x", 9},
        {false, "\1\1\0\0\0\0\0\1x", 9},
        {false, "\1\0\0\0\0\0\0\5nope ", 13},
        {true, "no time here at all, and a text that is longer than any time\n", 60},
        {true, "yesterday text\n", 15},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_BUF struct buf in, out;
        buf_init(&in, 0);
        buf_init(&out, 0);
        assert_int_equal(buf_append(&in, rows[i].data, rows[i].len), 0);
        assert_int_equal(feed(rows[i].tty, &in, 64, 64, &out), -EPROTO);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_parser_feed__frames_cut_anywhere__same_messages),
        cmocka_unit_test(test_log_parser_feed__tty__lines_are_messages),
        cmocka_unit_test(test_log_parser_feed__tty_long_line__next_piece_has_its_own_time),
        cmocka_unit_test(test_log_parser_feed__garbage__eproto),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
