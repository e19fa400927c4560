/* SPDX-License-Identifier: MPL-2.0 */
/* Lines that are longer than one message of Docker and have no end. dockerd gives each piece the
 * time of the first one, however much later the piece comes. */
#include "fake/pump_world.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define PIECE 16384u
#define WORD 8u

static void control(struct pump_world *x, const char *what) {
    fake_control(&x->w.fake, "POST", what, "", NULL, 0);
}

/* Cuts the stream. Docker answers no request for logs until `reset`. */
static void cut(struct pump_world *x) {
    fake_rules(&x->w.fake, "GET /containers/*/logs drop\n");
    control(x, "drop");
}

static void kill_pump(struct pump_world *x) {
    fake_rules(&x->w.fake, "GET /containers/*/logs drop\n");
    world_pump_kill(&x->w);
}

/* The numbered words must be exactly [0, delivered) and [from, to). */
static void check(struct pump_world *x, unsigned delivered, unsigned from, unsigned to) {
    size_t want = (size_t)(delivered + to - from) * PIECE, len;
    reader_until_len(&x->out, want);
    world_exit(&x->w, &x->task, 0);
    world_wait(&x->w, x->task.id);
    reader_until_eof(&x->out);
    AUTO_FREE char *text = reader_text(&x->out, &len);
    assert_int_equal(len, want);
    for (size_t at = 0; at < len; at += WORD) {
        size_t piece = at / PIECE;
        size_t number = (piece < delivered ? at : at + (size_t)(from - delivered) * PIECE) / WORD;
        char word[WORD + 1];
        snprintf(word, sizeof(word), "%08zu", number);
        if (memcmp(text + at, word, WORD) != 0)
            fail_msg("byte %zu (piece %zu): %.8s, not %s", at, piece, text + at, word);
    }
}

/* A long line has begun, and another stream prints newer lines. Then @lose is called, and the
 * line continues. */
static void continue_line_after(struct pump_world *x, void (*lose)(struct pump_world *x)) {
    pump_world_read(x);
    control(x, "clock/web-a1?ms=-60000");
    control(x, "piece/web-a1?count=10");
    reader_until_len(&x->out, 10 * PIECE);
    control(x, "clock/web-a1?ms=0");
    fake_control(&x->w.fake, "POST", "print/web-a1?stream=2", "a minute later\n", NULL, 0);
    reader_until(&x->err, "a minute later\n");
    lose(x);
    control(x, "piece/web-a1?count=5");
}

static void test_logs__long_line_continues_after_a_cut__whole(void **state) {
    struct pump_world *x = *state;
    continue_line_after(x, cut);
    control(x, "reset");
    check(x, 10, 10, 15);
}

static void test_logs__long_line_continues_after_a_kill__whole(void **state) {
    struct pump_world *x = *state;
    continue_line_after(x, kill_pump);
    control(x, "reset");
    check(x, 10, 10, 15);
}

/* The first part of the line is no longer in the log. Some of the pieces that are left were
 * delivered. */
static void test_logs__long_line_rotated__whole(void **state) {
    struct pump_world *x = *state;
    continue_line_after(x, cut);
    control(x, "rotate/web-a1?keep=9"); /* 3 pieces, the line on stderr, 5 pieces */
    control(x, "reset");
    check(x, 10, 10, 15);
}

static void test_logs__long_line_rotated_and_pump_killed__whole(void **state) {
    struct pump_world *x = *state;
    continue_line_after(x, kill_pump);
    control(x, "rotate/web-a1?keep=9");
    control(x, "reset");
    check(x, 10, 10, 15);
}

/* No delivered piece is left in the log, and some that were not delivered are lost, too. */
static void test_logs__long_line_rotated_away__what_is_left(void **state) {
    struct pump_world *x = *state;
    continue_line_after(x, cut);
    control(x, "rotate/web-a1?keep=3");
    control(x, "reset");
    check(x, 10, 12, 15);
}

static const struct CMUnitTest tests[] = {
    PUMP_WORLD_T(test_logs__long_line_continues_after_a_cut__whole),
    PUMP_WORLD_T(test_logs__long_line_continues_after_a_kill__whole),
    PUMP_WORLD_T(test_logs__long_line_rotated__whole),
    PUMP_WORLD_T(test_logs__long_line_rotated_and_pump_killed__whole),
    PUMP_WORLD_T(test_logs__long_line_rotated_away__what_is_left),
};
WORLD_MAIN(tests)
