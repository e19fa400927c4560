/* SPDX-License-Identifier: MPL-2.0 */
/* The reader of a container's log files delivers each byte of the program once: after rotations,
 * damaged records and truncations, and while the FIFO's reader stalls. */
#include "unit/pump/file_world.h"

#include "paddock/clock.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- Lines and rotation ---- */

static void test_pump_file__both_streams__delivered_and_drained(void **state) {
    struct file_world *w = *state;
    file_world_print(w, 0, "before it begins\n");
    file_world_begin(w);
    file_world_print(w, 0, "one\n");
    file_world_print(w, 1, "two\n");
    file_world_expect(w);
    for (int i = 0; i < 3; i++) { /* also after a pause */
        file_world_expect_quiet();
        file_world_print(w, i & 1, "later\n");
        file_world_expect(w);
    }
    file_world_print(w, 0, "last, without a newline");
    file_world_finish(w);
    file_world_expect_drained(w);
    assert_string_equal(w->reports, "");
}

/* The last piece of a long line is in the file before the other stream's line. */
static void test_pump_file__long_line_in_pieces__every_byte(void **state) {
    struct file_world *w = *state;
    char piece[16385];
    memset(piece, 'x', 16384);
    piece[16384] = '\0';
    file_world_begin(w);
    file_world_print(w, 0, piece);
    piece[3616] = '\0';
    file_world_print(w, 0, piece);
    file_world_print(w, 1, "later\n");
    file_world_finish(w);
    file_world_expect_drained(w);
}

/* 16 KiB of bytes that are not UTF-8 are 48 KiB when dockerd has replaced them. */
static void test_pump_file__largest_message__delivered(void **state) {
    struct file_world *w = *state;
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 16384; i++)
        assert_int_equal(buf_puts(&b, "\\ufffd"), 0);
    file_world_begin(w);
    for (int i = 0; i < 3; i++) {
        file_world_record(w, 0, b.data, b.len);
        for (int j = 0; j < 16384; j++)
            assert_int_equal(buf_puts(&w->want[0], "\xef\xbf\xbd"), 0);
    }
    file_world_print(w, 0, "after\n");
    file_world_expect(w);
    buf_done(&b);
    assert_string_equal(w->reports, "");
}

static void test_pump_file__rotation__each_line_once(void **state) {
    struct file_world *w = *state;
    file_world_begin(w);
    for (int i = 0; i < 60; i++) {
        for (int j = 0; j < 50; j++) {
            char line[64];
            snprintf(line, sizeof(line), "file %d, line %d\n", i, j);
            file_world_print(w, j % 3 == 0, line);
        }
        if (i % 4 == 3)
            file_world_expect(w); /* the reader can follow this many rotations */
        file_world_rotate(w, 5);
    }
    file_world_finish(w);
    file_world_expect_drained(w);
    assert_string_equal(w->reports, "");
}

static bool barrier_called;

static void on_barrier(void *ctx) {
    struct file_world *w = ctx;
    pthread_mutex_lock(&w->lock);
    barrier_called = true;
    pthread_mutex_unlock(&w->lock);
}

static bool barrier_was_called(struct file_world *w) {
    pthread_mutex_lock(&w->lock);
    bool called = barrier_called;
    pthread_mutex_unlock(&w->lock);
    return called;
}

static struct log_watch *barrier;
static int barrier_fd;

/* The opener handles its notices in order, so this watch is called after all earlier notices. */
static void do_barrier(struct file_world *w) {
    assert_int_equal(
        log_opener_watch_new(w->shared.opener, barrier_fd, FILE_WORLD_LOG, on_barrier, w, &barrier),
        0);
}

static void do_barrier_end(struct file_world *w) {
    (void)w;
    barrier = log_opener_watch_del(barrier);
}

/* All descriptors are in use while dockerd rotates twice, and no other notice follows. */
static void test_pump_file__no_descriptor_left_at_rotation__read_later(void **state) {
    struct file_world *w = *state;
    struct rlimit before, none = {.rlim_cur = 3};
    int how;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none.rlim_max = before.rlim_max;
    file_world_begin(w);
    file_world_print(w, 0, "one\n");
    file_world_expect(w);
    file_world_expect_quiet();
    assert_int_equal(mkdirat(w->dir_fd, "other", 0700), 0);
    barrier_fd = openat(w->dir_fd, "other", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    barrier_called = false;
    file_world_run(w, do_barrier);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    pid_t dockerd = fork();
    if (dockerd == 0) {
        bool set = setrlimit(RLIMIT_NOFILE, &before) == 0;
        file_world_rotate(w, 3);
        file_world_record(w, 0, "two\n", 4);
        file_world_rotate(w, 3);
        file_world_record(w, 1, "three\n", 6);
        _exit(set && mkdirat(w->dir_fd, "other/" FILE_WORLD_LOG, 0700) == 0 ? 0 : 1);
    }
    int r = waitpid(dockerd, &how, 0) == dockerd ? how : -1;
    for (uint64_t until = clock_now_us() + FILE_WORLD_WAIT_US;
         r == 0 && !barrier_was_called(w) && clock_now_us() < until;)
        sched_yield();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(r, 0);
    file_world_run(w, do_barrier_end);
    close(barrier_fd);
    assert_int_equal(buf_puts(&w->want[0], "two\n"), 0);
    assert_int_equal(buf_puts(&w->want[1], "three\n"), 0);
    file_world_expect(w);
    assert_string_equal(w->reports, "");
}

/* ---- Stalled reader ---- */

static void test_pump_file__stalled_reader__files_are_held(void **state) {
    struct file_world *w = *state;
    file_world_begin(w);
    for (unsigned i = 0; i < 5; i++) {
        file_world_print_much(w, 0, 100000);
        file_world_expect_lag(w, i * 100000); /* the reader has opened it */
        file_world_rotate(w, 2);
    }
    file_world_expect(w);
    assert_string_equal(w->reports, "");
}

static void test_pump_file__beyond_backlog__oldest_dropped_and_reported(void **state) {
    struct file_world *w = *state;
    file_world_begin(w);
    for (unsigned i = 0; i < 10; i++) {
        /* More than the FIFO and the gathered chunk can hold. */
        file_world_print_much(w, 0, 300000);
        file_world_expect_lag(w, 150000);
        file_world_rotate(w, 2);
    }
    file_world_print(w, 0, "the newest\n");
    file_world_expect_report(w, "were dropped");
    while (!strstr(buf_text(&w->got[0]), "the newest\n"))
        file_world_read(w, 0, SIZE_MAX);
    assert_true(w->got[0].len < w->want[0].len);
    assert_true(w->got[0].len > FILE_WORLD_BACKLOG / 2);
    /* every line is whole */
    for (const char *at = w->got[0].data; strncmp(at, "the newest", 10) != 0; at += 100)
        if (strlen(at) < 100 || at[99] != '\n')
            fail_msg("torn: %.100s", at);
}

/* ---- Damage ---- */

static void test_pump_file__half_a_record__skipped_and_reported_once(void **state) {
    struct file_world *w = *state;
    file_world_begin(w);
    for (int i = 0; i < 3; i++) {
        file_world_print(w, 0, "whole\n");
        /* dockerd was killed. It continues in the same line. */
        file_world_put(w, "{\"log\":\"half", 12);
        file_world_print(w, 1, "next\n");
    }
    file_world_put(w, "no record\n", 10);
    file_world_print(w, 0, "after\n");
    file_world_expect(w);
    file_world_expect_report(w, "a damaged record");
    assert_ptr_equal(strstr(w->reports, "\n"), w->reports + strlen(w->reports) - 1);
}

static void test_pump_file__megabytes_of_nul__skipped(void **state) {
    struct file_world *w = *state;
    file_world_begin(w);
    file_world_print(w, 0, "before\n");
    file_world_expect(w);
    assert_int_equal(ftruncate(w->log_fd, 3 << 20), 0);
    assert_true(lseek(w->log_fd, 0, SEEK_END) > 0);
    file_world_print(w, 0, "after\n");
    file_world_expect(w);
    file_world_expect_report(w, "a damaged record");
}

static void test_pump_file__half_a_record_at_the_end__drained(void **state) {
    struct file_world *w = *state;
    file_world_begin(w);
    file_world_print(w, 0, "whole\n");
    file_world_put(w, "{\"log\":\"half", 12);
    file_world_finish(w);
    file_world_expect_drained(w);
    file_world_expect_report(w, "a damaged record");
}

/* ---- Truncation ---- */

static void test_pump_file__truncated_in_place__continues_from_its_start(void **state) {
    struct file_world *w = *state;
    file_world_begin(w);
    file_world_print_much(w, 0, 10000);
    file_world_expect(w);
    file_world_new_log(w); /* max-file=1: the same inode */
    file_world_print(w, 0, "short\n");
    file_world_expect(w);
    file_world_new_log(w);
    file_world_print_much(w, 0, 50000); /* already longer than before when the reader checks it */
    file_world_expect(w);
    file_world_expect_report(w, "truncated");
}

/* Another program truncates the file, and dockerd continues at its own offset. The file then
 * begins with a hole. */
static void test_pump_file__truncated_under_dockerd__hole_skipped(void **state) {
    struct file_world *w = *state;
    file_world_begin(w);
    file_world_print_much(w, 0, 100000);
    file_world_expect(w);
    assert_int_equal(ftruncate(w->log_fd, 0), 0);
    file_world_print(w, 0, "after\n");
    file_world_expect(w);
}

/* ---- No folder, no descriptor ---- */

static void test_pump_file__folder_removed__drained(void **state) {
    struct file_world *w = *state;
    file_world_begin(w);
    file_world_print(w, 0, "one\n");
    file_world_expect(w);
    file_world_print(w, 0, "two\n");
    unlinkat(w->dir_fd, FILE_WORLD_LOG, 0);
    unlinkat(w->dir_fd, "fifo0", 0);
    unlinkat(w->dir_fd, "fifo1", 0);
    assert_int_equal(rmdir(w->dir), 0);
    file_world_expect_drained(w);
}

/* The same happens when all inotify instances are in use. Logs are then read through the API. */
static void test_pump_files__no_descriptor_left__no_reader(void **state) {
    struct file_world *w = *state;
    struct pump_out *const out[2] = {&w->out[0], &w->out[1]};
    struct pump_files files;
    struct pump_file *file;
    struct rlimit before, few = {.rlim_cur = 3};
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int r = pump_files_init(&files, w->loop, FILE_WORLD_BACKLOG);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(r, 0);
    assert_int_equal(
        pump_file_new(&files, w->dir_fd, FILE_WORLD_LOG, out, &(struct pump_file_ops){0}, w, &file),
        -EMFILE);
    pump_files_done(&files);
    file_world_begin(w);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        FILE_WORLD_TEST(test_pump_file__both_streams__delivered_and_drained),
        FILE_WORLD_TEST(test_pump_file__long_line_in_pieces__every_byte),
        FILE_WORLD_TEST(test_pump_file__largest_message__delivered),
        FILE_WORLD_TEST(test_pump_file__rotation__each_line_once),
        FILE_WORLD_TEST(test_pump_file__no_descriptor_left_at_rotation__read_later),
        FILE_WORLD_TEST(test_pump_file__stalled_reader__files_are_held),
        FILE_WORLD_TEST(test_pump_file__beyond_backlog__oldest_dropped_and_reported),
        FILE_WORLD_TEST(test_pump_file__half_a_record__skipped_and_reported_once),
        FILE_WORLD_TEST(test_pump_file__megabytes_of_nul__skipped),
        FILE_WORLD_TEST(test_pump_file__half_a_record_at_the_end__drained),
        FILE_WORLD_TEST(test_pump_file__truncated_in_place__continues_from_its_start),
        FILE_WORLD_TEST(test_pump_file__truncated_under_dockerd__hole_skipped),
        FILE_WORLD_TEST(test_pump_file__folder_removed__drained),
        FILE_WORLD_TEST(test_pump_files__no_descriptor_left__no_reader),
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
