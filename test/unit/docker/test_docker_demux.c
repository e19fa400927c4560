/* SPDX-License-Identifier: MPL-2.0 */
/* Docker's frames of stdout and stderr, cut at every byte. */
#include "paddock/buf.h"
#include "paddock/docker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static const char two_frames[] =
    "\1\0\0\0\0\0\0\3out\2\0\0\0\0\0\0\0\2\0\0\0\0\0\0\4err\n\3\0\0\0\0\0\0\1!";
#define FRAMES_LEN (sizeof(two_frames) - 1)

struct seen {
    struct buf of[3];
};

static int on_piece(void *ctx, int channel, const char *data, size_t len) {
    struct seen *s = ctx;
    assert_true(channel == 1 || channel == 2);
    return buf_append(&s->of[channel], data, len);
}

static void test_docker_demux_feed__cut_at_every_byte__same_payload(void **state) {
    (void)state;
    for (size_t cut = 0; cut <= FRAMES_LEN; cut++) {
        struct docker_demux x = {0};
        struct seen s = {0};
        assert_int_equal(docker_demux_feed(&x, two_frames, cut, on_piece, &s), 0);
        assert_int_equal(docker_demux_feed(&x, two_frames + cut, FRAMES_LEN - cut, on_piece, &s),
                         0);
        assert_string_equal(buf_text(&s.of[1]), "out");
        assert_string_equal(buf_text(&s.of[2]), "err\n!"); /* stream 3 is an error of dockerd */
        buf_done(&s.of[1]);
        buf_done(&s.of[2]);
    }
}

static void test_docker_demux_feed__no_frame__eproto(void **state) {
    static const char *const bad[] = {"\4\0\0\0\0\0\0\1", "\1\1\0\0\0\0\0\1", "\1\0\0\1\0\0\0\1",
                                      "plain te"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct docker_demux x = {0};
        struct seen s = {0};
        assert_int_equal(docker_demux_feed(&x, bad[i], 8, on_piece, &s), -EPROTO);
    }
}

static int on_full(void *ctx, int channel, const char *data, size_t len) {
    (void)ctx;
    (void)channel;
    (void)data;
    (void)len;
    return -ENOSPC;
}

static void test_docker_demux_feed__callback_fails__its_error(void **state) {
    struct docker_demux x = {0};
    (void)state;
    assert_int_equal(docker_demux_feed(&x, two_frames, FRAMES_LEN, on_full, NULL), -ENOSPC);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_docker_demux_feed__cut_at_every_byte__same_payload),
        cmocka_unit_test(test_docker_demux_feed__no_frame__eproto),
        cmocka_unit_test(test_docker_demux_feed__callback_fails__its_error),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
