/* SPDX-License-Identifier: MPL-2.0 */
/* The reader of a container's log files continues at the noted position: after it was killed, after
 * its file was rotated away or removed, and from the position of an older pump. */
#include "unit/pump/file_world.h"
#include "unit/pump/statx_wrap.h"

#include "src/pump/log_held.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static unsigned dice(unsigned sides) {
    static unsigned seed = 1;
    seed = seed * 1103515245u + 12345u;
    return (seed >> 16) % sides;
}

static void test_pump_file__killed_anywhere__each_byte_once(void **state) {
    struct file_world *w = *state;
    file_world_begin(w);
    for (int i = 0; i < 1500; i++) {
        char text[20000];
        size_t len = dice(20) == 0 ? 16384 : 1 + dice(300);
        memset(text, 'a' + (int)dice(26), len);
        text[len] = '\0';
        if (len < 16384)
            text[len - 1] = '\n';
        file_world_print(w, (int)dice(2), text);
        if (dice(4) == 0)
            file_world_read(w, (int)dice(2), dice(30000));
        if (dice(15) == 0)
            file_world_restart(w);
        if (dice(100) == 0) {
            file_world_expect(w); /* the rotation then removes no file that is still needed */
            file_world_rotate(w, 3);
        }
    }
    file_world_finish(w);
    file_world_expect_drained(w);
    assert_string_equal(w->reports, "");
}

static void test_pump_file__rotated_away_without_reader__gap_and_no_repetition(void **state) {
    struct file_world *w = *state;
    file_world_begin(w);
    file_world_print(w, 0, "delivered\n");
    file_world_print(w, 1, "delivered\n");
    file_world_expect(w);
    file_world_kill(w);
    file_world_record(w, 0, "lost\n", 5);
    file_world_rotate(w, 2);
    file_world_rotate(w, 2);
    w->clock_ns += INT64_C(5000000000);
    file_world_print(w, 0, "still there\n");
    file_world_rotate(w, 2);
    file_world_print(w, 1, "newest\n");
    file_world_begin(w);
    file_world_expect(w);
    file_world_expect_report(w, "while no log pump was running (between 2023-11-14T22:13:20.123Z "
                                "and 2023-11-14T22:13:25.123Z)\n");
}

/* dockerd continues to write to the file that it has open. */
static void test_pump_file__file_removed__read_on_then_reported(void **state) {
    struct file_world *w = *state;
    file_world_begin(w);
    file_world_print(w, 0, "one\n");
    file_world_expect(w);
    assert_int_equal(unlinkat(w->dir_fd, FILE_WORLD_LOG, 0), 0);
    for (int i = 0; i < 3; i++) { /* inotify reports none of them */
        file_world_print(w, i & 1, "written to no name\n");
        file_world_expect(w);
    }
    assert_string_equal(w->reports, "");
    file_world_restart(w);
    file_world_expect_report(w, "is not there");
    file_world_new_log(w);
    file_world_print(w, 1, "a new file\n");
    file_world_expect(w);
}

/* The reader loses one file. The report names the reason, and the next file is read. */
static void test_pump_file__cannot_be_examined__gap_with_the_reason(void **state) {
    static const struct {
        int error;
        const char *report;
    } rows[] = {{EIO, "missing: Docker's log file cannot be read: Input/output error (after "},
                {ENOMEM, "missing: the log pump is out of memory (after "}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (i > 0)
            assert_int_equal(file_world_teardown(state) || file_world_setup(state), 0);
        struct file_world *w = *state;
        file_world_begin(w);
        file_world_print(w, 0, "one\n");
        file_world_expect(w);
        statx_error = rows[i].error;
        file_world_rotate(w, 2);
        file_world_expect_report(w, rows[i].report);
        statx_error = 0;
        file_world_rotate(w, 2);
        file_world_print(w, 0, "two\n");
        file_world_expect(w);
    }
}

/* The file with this inode number cannot be read; its marks can. 0: none. */
static _Atomic ino_t bad_ino;

ssize_t __real_pread(int fd, void *buf, size_t size, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t size, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t size, off_t offset) {
    struct stat st;
    ino_t bad = atomic_load(&bad_ino);
    if (bad && size > LOG_MARK_LEN && fstat(fd, &st) == 0 && st.st_ino == bad) {
        errno = EIO;
        return -1;
    }
    return __real_pread(fd, buf, size, offset);
}

/* The unread bytes of a file that is still open are known. */
static void test_pump_file__cannot_be_read__gap_with_its_bytes(void **state) {
    struct file_world *w = *state;
    struct stat before, after;
    char report[128];
    file_world_begin(w);
    file_world_print(w, 0, "one\n");
    file_world_expect(w);
    file_world_kill(w);
    assert_int_equal(fstat(w->log_fd, &before), 0);
    file_world_record(w, 0, "lost\n", 5);
    file_world_record(w, 1, "lost, too\n", 10);
    assert_int_equal(fstat(w->log_fd, &after), 0);
    file_world_rotate(w, 2);
    w->clock_ns += INT64_C(60000000000);
    file_world_print(w, 0, "two\n");
    atomic_store(&bad_ino, before.st_ino);
    file_world_begin(w);
    file_world_expect(w);
    snprintf(report, sizeof(report),
             "error (%lld bytes of the file, between 2023-11-14T22:13:20.123Z and "
             "2023-11-14T22:14:20.123Z)\n",
             (long long)(after.st_size - before.st_size));
    file_world_expect_report(w, report);
    atomic_store(&bad_ino, 0);
}

/* The position of a silent stream moves on with the files, so that no gap is reported. */
static void test_pump_file__silent_stream_then_rotated_away__no_gap(void **state) {
    struct file_world *w = *state;
    file_world_begin(w);
    file_world_print(w, 1, "once\n");
    for (int i = 0; i < 5; i++) {
        file_world_rotate(w, 2);
        file_world_print(w, 0, "more\n");
        file_world_expect(w);
        file_world_restart(w);
    }
    file_world_print(w, 1, "again\n");
    file_world_expect(w);
    assert_string_equal(w->reports, "");
}

static void test_pump_file__truncated_without_reader__gap_and_no_repetition(void **state) {
    struct file_world *w = *state;
    file_world_begin(w);
    file_world_print_much(w, 0, 1000);
    file_world_expect(w);
    file_world_kill(w);
    file_world_new_log(w);
    file_world_print_much(w, 0, 2000);
    file_world_begin(w);
    file_world_expect(w);
    file_world_expect_report(w, "while no log pump was running");
}

static void check_place(struct file_world *w) {
    assert_true(w->record.stream[0].at.place.file.ino != 0);
}

/* The position that an older pump noted: message 1 (the first is 0) of that time, third byte. */
static void test_pump_file__position_in_time__found_in_the_file(void **state) {
    struct file_world *w = *state;
    int64_t time_ns = w->clock_ns + 1000;
    file_world_record(w, 0, "old\n", 4);
    file_world_record(w, 0, "of its time, the first\n", 23);
    w->clock_ns -= 1000;
    file_world_record(w, 0, "and the second\n", 15);
    file_world_record(w, 1, "stderr has had this one\n", 24);
    assert_int_equal(buf_puts(&w->want[0], "d the second\n"), 0);
    w->record.stream[0].at.time = (struct log_position){.time_ns = time_ns, .nth = 1, .offset = 2};
    w->record.stream[1].at.time = (struct log_position){.time_ns = w->clock_ns};
    file_world_print(w, 1, "but not this one\n");
    file_world_print(w, 0, "nor this one\n");
    file_world_begin(w);
    file_world_expect(w);
    file_world_restart(w); /* by now the position is a place in the file */
    file_world_print(w, 0, "after\n");
    file_world_expect(w);
    file_world_run(w, check_place);
    assert_string_equal(w->reports, "");
}

/* An older pump has delivered all records through the API. */
static void set_position_in_time(struct file_world *w) {
    w->record.stream[0].at.time = (struct log_position){.time_ns = w->clock_ns - 1000, .nth = 1};
    atomic_store(&w->record.resume_ns, w->clock_ns - 1000);
}

static void test_pump_file__delivered_before_it_began__not_the_backlog(void **state) {
    struct file_world *w = *state;
    char old[16001];
    memset(old, 'o', 16000);
    old[16000] = '\0';
    old[15999] = '\n';
    for (uint64_t n = 0; n < 3 * FILE_WORLD_BACKLOG; n += 16000) {
        file_world_record(w, 0, old, 16000);
        if (n % 480000 == 0)
            file_world_rotate(w, 20);
    }
    set_position_in_time(w);
    file_world_begin(w);
    file_world_print(w, 0, "new\n");
    file_world_print(w, 1, "and on stderr\n");
    file_world_expect(w);
    assert_string_equal(w->reports, "");
    assert_int_equal(file_world_status(w).dropped_bytes, 0);
    for (unsigned i = 0; i < 10; i++) { /* from here on undelivered bytes count */
        file_world_print_much(w, 0, 300000);
        file_world_expect_lag(w, 150000);
        file_world_rotate(w, 2);
    }
    file_world_expect_report(w, "were dropped");
}

static void test_pump_file__position_in_time_rotated_away__gap(void **state) {
    struct file_world *w = *state;
    file_world_record(w, 0, "delivered\n", 10);
    set_position_in_time(w);
    file_world_record(w, 0, "lost\n", 5);
    file_world_rotate(w, 2);
    file_world_rotate(w, 2);
    file_world_print(w, 0, "still there\n");
    file_world_begin(w);
    file_world_expect(w);
    file_world_expect_report(w, "while no log pump was running");
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        FILE_WORLD_TEST(test_pump_file__killed_anywhere__each_byte_once),
        FILE_WORLD_TEST(test_pump_file__rotated_away_without_reader__gap_and_no_repetition),
        FILE_WORLD_TEST(test_pump_file__file_removed__read_on_then_reported),
        FILE_WORLD_TEST(test_pump_file__cannot_be_examined__gap_with_the_reason),
        FILE_WORLD_TEST(test_pump_file__cannot_be_read__gap_with_its_bytes),
        FILE_WORLD_TEST(test_pump_file__silent_stream_then_rotated_away__no_gap),
        FILE_WORLD_TEST(test_pump_file__truncated_without_reader__gap_and_no_repetition),
        FILE_WORLD_TEST(test_pump_file__position_in_time__found_in_the_file),
        FILE_WORLD_TEST(test_pump_file__delivered_before_it_began__not_the_backlog),
        FILE_WORLD_TEST(test_pump_file__position_in_time_rotated_away__gap),
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
