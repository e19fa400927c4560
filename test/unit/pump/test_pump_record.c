/* SPDX-License-Identifier: MPL-2.0 */
/* The position file of a task: a kill at any step, damage, and the previous layout. */
#include "src/pump/pump_record.h"
#include "unit/cm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "c0de"

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
    unlinkat(dir_fd, NAME, 0);
    close(dir_fd);
    return rmdir(dir);
}

static struct pump_record *open_record(bool want_fresh) {
    struct pump_record *r;
    bool fresh;
    assert_int_equal(pump_record_open(dir_fd, NAME, &r, &fresh), 0);
    assert_int_equal(fresh, want_fresh);
    return r;
}

static void fill(struct pump_record *r) {
    r->magic = PUMP_RECORD_MAGIC;
    snprintf(r->task_id, sizeof(r->task_id), "web");
    snprintf(r->container_id, sizeof(r->container_id), NAME);
}

/* A full /run is reported when the record is made. Later it would be a SIGBUS. */
static void test_pump_record__new__has_its_blocks(void **state) {
    (void)state;
    struct stat st;
    pump_record_close(open_record(true));
    assert_int_equal(fstatat(dir_fd, NAME, &st, 0), 0);
    assert_int_equal(st.st_size, sizeof(struct pump_record));
    assert_true((size_t)st.st_blocks * 512 >= sizeof(struct pump_record));
}

/* A pump is killed. The next pump maps the file that it has left. */
static void test_pump_record__killed_between_write_and_commit__counts_as_written(void **state) {
    (void)state;
    struct pump_record *r = open_record(true);
    fill(r);
    pump_record_begin(r, 0, &(struct pump_position){{.time_ns = 5, .nth = 1}, {.offset = 4}});
    pump_record_commit(r, 0);
    pump_record_begin(
        r, 0, &(struct pump_position){{.time_ns = 9, .nth = 2, .offset = 3}, {.offset = 7}});
    pump_record_close(r);

    r = open_record(false);
    assert_int_equal(r->stream[0].at.time.time_ns, 5);
    pump_record_settle(r);
    assert_int_equal(r->stream[0].at.time.time_ns, 9);
    assert_int_equal(r->stream[0].at.time.nth, 2);
    assert_int_equal(r->stream[0].at.time.offset, 3);
    assert_int_equal(r->stream[0].at.place.offset, 7);
    assert_int_equal(r->stream[1].at.time.time_ns, 0);
    pump_record_close(r);
}

static void test_pump_record__write_refused__position_kept(void **state) {
    (void)state;
    struct pump_record *r = open_record(true);
    fill(r);
    pump_record_begin(r, 1, &(struct pump_position){.time.time_ns = 5});
    pump_record_abort(r, 1);
    pump_record_settle(r);
    assert_int_equal(r->stream[1].at.time.time_ns, 0);
    pump_record_close(r);
}

static void test_pump_record_open__never_filled__fresh_again(void **state) {
    (void)state;
    pump_record_close(open_record(true));
    pump_record_close(open_record(true));
}

/* Writes a record of another version. Its resume time is at the same offset as in ours. */
static void leave_record(uint32_t magic, int64_t resume_ns) {
    struct pump_record *r = open_record(true);
    r->magic = magic;
    atomic_store(&r->resume_ns, resume_ns);
    pump_record_close(r);
}

static void test_pump_record_open__other_layout__eproto_and_unchanged(void **state) {
    struct pump_record *r;
    bool fresh;
    (void)state;
    leave_record(PUMP_RECORD_MAGIC + 1, 77);
    assert_int_equal(pump_record_open(dir_fd, NAME, &r, &fresh), -EPROTO);
    assert_int_equal(pump_record_open(dir_fd, NAME, &r, &fresh), -EPROTO);
}

static void leave_bytes(const void *data, size_t len) {
    int fd = openat(dir_fd, NAME, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

/* The previous layout, byte by byte. */
static void test_pump_record_open__layout_before__converted(void **state) {
    struct {
        uint32_t magic, tty;
        char task_id[512], container_id[65], path[2][1024];
        int64_t resume_ns;
        struct {
            struct {
                int64_t time_ns;
                uint32_t nth, offset;
            } at, intent;
            uint32_t intent_open, top_sec;
        } stream[2];
    } old = {.magic = 0x70616432,
             .tty = 1,
             .task_id = "web",
             .container_id = NAME,
             .path = {"/a", "/b"},
             .resume_ns = 5,
             .stream = {{{1, 2, 3}, {4, 5, 6}, 1, 7}, {{8, 9, 10}, {0}, 0, 0}}};
    (void)state;
    leave_bytes(&old, sizeof(old));
    struct pump_record *r = open_record(false);
    assert_string_equal(r->task_id, "web");
    assert_string_equal(r->path[1], "/b");
    assert_int_equal(r->tty, 1);
    assert_int_equal(r->resume_ns, 5);
    assert_int_equal(r->stream[0].top_sec, 7);
    assert_int_equal(r->stream[0].at.place.file.ino, 0);
    assert_string_equal(r->log_path, "");
    pump_record_settle(r);
    assert_int_equal(r->stream[0].at.time.nth, 5); /* the intended position is used */
    assert_int_equal(r->stream[1].at.time.time_ns, 8);
    pump_record_close(r);
    pump_record_close(open_record(false));
}

static void name_other(struct pump_record *r) {
    r->container_id[0] = 'x';
}

static void unend_task(struct pump_record *r) {
    memset(r->task_id, 'x', sizeof(r->task_id));
}

static void unend_path(struct pump_record *r) {
    memset(r->path[1], 'x', sizeof(r->path[1]));
}

static void unend_log(struct pump_record *r) {
    memset(r->log_path, 'x', sizeof(r->log_path));
}

static void no_task(struct pump_record *r) {
    r->task_id[0] = '\0';
}

static void all_ones(struct pump_record *r) {
    memset(r, 0xff, sizeof(*r));
}

/* Each damaged record can be dropped, and a new one can be made. */
static void test_pump_record_open__damaged__eproto_until_dropped(void **state) {
    void (*const damages[])(struct pump_record * r) = {name_other, unend_task, unend_path,
                                                       unend_log,  no_task,    all_ones};
    (void)state;
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        struct pump_record *r = open_record(true);
        bool fresh;
        int64_t known_ns;
        fill(r);
        pump_record_close(r);
        r = open_record(false); /* the record is valid before the damage */
        damages[i](r);
        pump_record_close(r);
        assert_int_equal(pump_record_open(dir_fd, NAME, &r, &fresh), -EPROTO);
        assert_int_equal(pump_record_drop(dir_fd, NAME, 1000, &known_ns), 0);
    }
}

static void test_pump_record_open__no_file__eproto_until_dropped(void **state) {
    struct pump_record *r;
    bool fresh;
    int64_t known_ns;
    (void)state;
    for (int i = 0; i < 4; i++) {
        if (i == 0)
            assert_int_equal(mkdirat(dir_fd, NAME, 0700), 0);
        else if (i == 1)
            assert_int_equal(symlinkat("/nowhere", dir_fd, NAME), 0);
        else if (i == 2)
            assert_int_equal(mkfifoat(dir_fd, NAME, 0600), 0);
        else
            leave_bytes("2", 1);
        assert_int_equal(pump_record_open(dir_fd, NAME, &r, &fresh), -EPROTO);
        assert_int_equal(pump_record_drop(dir_fd, NAME, 1000, &known_ns), 0);
        assert_int_equal(known_ns, 1000);
    }
    pump_record_close(open_record(true));
}

static int64_t drop(void) {
    int64_t known_ns = -1;
    assert_int_equal(pump_record_drop(dir_fd, NAME, 1000, &known_ns), 0);
    pump_record_close(open_record(true));
    unlinkat(dir_fd, NAME, 0);
    return known_ns;
}

static void test_pump_record_drop__other_layout__returns_what_was_delivered(void **state) {
    (void)state;
    leave_record(PUMP_RECORD_MAGIC + 1, 77);
    assert_int_equal(drop(), 77);
    leave_record(PUMP_RECORD_MAGIC + 1, 0);
    assert_int_equal(drop(), 1000);
    leave_record(1, 77); /* a record of another version */
    assert_int_equal(drop(), 1000);
    leave_bytes("2dap", 4);
    assert_int_equal(drop(), 1000);
    int64_t known_ns;
    assert_int_equal(pump_record_drop(dir_fd, NAME, 1000, &known_ns), -ENOENT);
}

static void test_pump_record_compare__time_then_nth_then_offset(void **state) {
    (void)state;
    struct log_position a = {.time_ns = 1, .nth = 2, .offset = 3},
                        b = {.time_ns = 1, .nth = 2, .offset = 4}, c = {.time_ns = 1, .nth = 3},
                        d = {.time_ns = 2};
    assert_int_equal(pump_record_compare(&a, &a), 0);
    assert_int_equal(pump_record_compare(&a, &b), -1);
    assert_int_equal(pump_record_compare(&c, &b), 1);
    assert_int_equal(pump_record_compare(&c, &d), -1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_pump_record__new__has_its_blocks),
        CASE(test_pump_record__killed_between_write_and_commit__counts_as_written),
        CASE(test_pump_record__write_refused__position_kept),
        CASE(test_pump_record_open__never_filled__fresh_again),
        CASE(test_pump_record_open__other_layout__eproto_and_unchanged),
        CASE(test_pump_record_open__layout_before__converted),
        CASE(test_pump_record_open__damaged__eproto_until_dropped),
        CASE(test_pump_record_open__no_file__eproto_until_dropped),
        CASE(test_pump_record_drop__other_layout__returns_what_was_delivered),
        CASE(test_pump_record_compare__time_then_nth_then_offset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
