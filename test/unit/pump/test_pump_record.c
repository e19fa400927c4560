#include "../../../src/pump/pump_record.h"
#include "unit/cm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[32];
static int dir_fd;

static int setup(void **state) {
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/paddock-record-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    dir_fd = open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    return dir_fd < 0 ? -1 : 0;
}

static int teardown(void **state) {
    (void)state;
    unlinkat(dir_fd, "r", 0);
    close(dir_fd);
    return rmdir(dir);
}

static struct pump_record *open_record(bool want_fresh) {
    struct pump_record *r;
    bool fresh;
    assert_int_equal(pump_record_open(dir_fd, "r", &r, &fresh), 0);
    assert_int_equal(fresh, want_fresh);
    return r;
}

/* A full /run is told when the record is made, not by a signal when it is written. */
static void test_pump_record__new__has_its_blocks(void **state) {
    (void)state;
    struct stat st;
    pump_record_close(open_record(true));
    assert_int_equal(fstatat(dir_fd, "r", &st, 0), 0);
    assert_int_equal(st.st_size, sizeof(struct pump_record));
    assert_true((size_t)st.st_blocks * 512 >= sizeof(struct pump_record));
}

/* What a pump that is killed leaves is what the next one maps. */
static void test_pump_record__killed_between_write_and_commit__counts_as_written(void **state) {
    (void)state;
    struct pump_record *r = open_record(true);
    r->magic = PUMP_RECORD_MAGIC;
    pump_record_begin(r, 0, &(struct log_position){.time_ns = 5, .nth = 1});
    pump_record_commit(r, 0);
    pump_record_begin(r, 0, &(struct log_position){.time_ns = 9, .nth = 2, .offset = 3});
    pump_record_close(r);

    r = open_record(false);
    assert_int_equal(r->stream[0].at.time_ns, 5);
    pump_record_settle(r);
    assert_int_equal(r->stream[0].at.time_ns, 9);
    assert_int_equal(r->stream[0].at.nth, 2);
    assert_int_equal(r->stream[0].at.offset, 3);
    assert_int_equal(r->stream[1].at.time_ns, 0);
    pump_record_close(r);
}

static void test_pump_record__write_refused__position_stays(void **state) {
    (void)state;
    struct pump_record *r = open_record(true);
    r->magic = PUMP_RECORD_MAGIC;
    pump_record_begin(r, 1, &(struct log_position){.time_ns = 5});
    pump_record_abort(r, 1);
    pump_record_settle(r);
    assert_int_equal(r->stream[1].at.time_ns, 0);
    pump_record_close(r);
}

static void test_pump_record_open__never_filled__fresh_again(void **state) {
    (void)state;
    pump_record_close(open_record(true));
    pump_record_close(open_record(true));
}

/* Another version's: its resume time is where it is in ours. */
static void leave_record(uint32_t magic, int64_t resume_ns) {
    struct pump_record *r = open_record(true);
    r->magic = magic;
    atomic_store(&r->resume_ns, resume_ns);
    pump_record_close(r);
}

static void test_pump_record_open__other_layout__eproto_and_left_alone(void **state) {
    struct pump_record *r;
    bool fresh;
    (void)state;
    leave_record(PUMP_RECORD_MAGIC + 1, 77);
    assert_int_equal(pump_record_open(dir_fd, "r", &r, &fresh), -EPROTO);
    assert_int_equal(pump_record_open(dir_fd, "r", &r, &fresh), -EPROTO);
}

static int64_t drop(void) {
    int64_t known_ns = -1;
    assert_int_equal(pump_record_drop(dir_fd, "r", 1000, &known_ns), 0);
    pump_record_close(open_record(true));
    unlinkat(dir_fd, "r", 0);
    return known_ns;
}

static void test_pump_record_drop__other_layout__tells_what_was_delivered(void **state) {
    (void)state;
    leave_record(PUMP_RECORD_MAGIC + 1, 77);
    assert_int_equal(drop(), 77);
    leave_record(PUMP_RECORD_MAGIC + 1, 0);
    assert_int_equal(drop(), 1000);
    leave_record(1, 77); /* no record of ours */
    assert_int_equal(drop(), 1000);
    int fd = openat(dir_fd, "r", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "2dap", 4), 4);
    close(fd);
    assert_int_equal(drop(), 1000);
    int64_t known_ns;
    assert_int_equal(pump_record_drop(dir_fd, "r", 1000, &known_ns), -ENOENT);
}

static void test_log_position_compare__time_then_nth_then_offset(void **state) {
    (void)state;
    struct log_position a = {1, 2, 3}, b = {1, 2, 4}, c = {1, 3, 0}, d = {2, 0, 0};
    assert_int_equal(log_position_compare(&a, &a), 0);
    assert_int_equal(log_position_compare(&a, &b), -1);
    assert_int_equal(log_position_compare(&c, &b), 1);
    assert_int_equal(log_position_compare(&c, &d), -1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_pump_record__new__has_its_blocks),
        CASE(test_pump_record__killed_between_write_and_commit__counts_as_written),
        CASE(test_pump_record__write_refused__position_stays),
        CASE(test_pump_record_open__never_filled__fresh_again),
        CASE(test_pump_record_open__other_layout__eproto_and_left_alone),
        CASE(test_pump_record_drop__other_layout__tells_what_was_delivered),
        CASE(test_log_position_compare__time_then_nth_then_offset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
