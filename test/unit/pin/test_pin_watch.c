/* SPDX-License-Identifier: MPL-2.0 */
/* Watched files without tasks: which of them an event marks, and what happens to a watch that two
 * files share. */
#include "src/pin/pin_watch.h"
#include "unit/cm.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static struct pin_watch watch;
static char dir[] = "/tmp/paddock-watch-XXXXXX";
static int dir_fd;

static int setup(void **state) {
    (void)state;
    memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
    if (!mkdtemp(dir))
        return -1;
    dir_fd = open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    pin_watch_begin(&watch);
    return dir_fd >= 0 && watch.fd >= 0 ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    pin_watch_end(&watch);
    unlinkat(dir_fd, "a", 0);
    unlinkat(dir_fd, "b", 0);
    unlinkat(dir_fd, "c", 0);
    close(dir_fd);
    return rmdir(dir);
}

static void put(const char *name) {
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "0-3\n", 4, 0), 4);
    close(fd);
}

static void open_file(const char *name, struct pin_file *f) {
    *f = PIN_FILE_NONE;
    put(name);
    assert_int_equal(cgroup_file_open(dir_fd, name, &f->file), 0);
    pin_watch_add(&watch, f);
    assert_true(f->watch >= 0);
    f->dirty = false;
}

/* inotify queues an event before the write returns. */
static void drain(void) {
    struct pollfd p = {.fd = watch.fd, .events = POLLIN};
    while (poll(&p, 1, 0) > 0)
        pin_watch_read(&watch);
}

static void test_read__marks_the_written_file_alone(void **state) {
    struct pin_file a, b;
    (void)state;
    open_file("a", &a);
    open_file("b", &b);
    put("b");
    drain();
    assert_false(a.dirty);
    assert_true(b.dirty);
    pin_watch_close(&watch, &a);
    pin_watch_close(&watch, &b);
    assert_true(a.watch < 0 && a.file.fd < 0);
}

/* The kernel uses the same watch for both. */
static void test_del__shared_watch__the_other_file_keeps_it(void **state) {
    struct pin_file a, same;
    (void)state;
    open_file("a", &a);
    open_file("a", &same);
    assert_int_equal(a.watch, same.watch);
    put("a");
    drain();
    assert_true(a.dirty && same.dirty);
    same.dirty = false;
    pin_watch_close(&watch, &a);
    drain();
    assert_true(same.watch >= 0);
    assert_false(same.dirty);
    put("a");
    drain();
    assert_true(same.dirty);
    pin_watch_close(&watch, &same);
}

/* The kernel sends IN_IGNORED when the file system is unmounted or the watch is removed. */
static void test_read__file_removed__watch_is_added_again(void **state) {
    struct pin_file a;
    (void)state;
    open_file("a", &a);
    int rest = a.file.fd;
    assert_int_equal(unlinkat(dir_fd, "a", 0), 0);
    close(rest);
    a.file.fd = -EBADF;
    drain();
    assert_true(a.watch < 0 && a.dirty);
    open_file("a", &a);
    put("a");
    drain();
    assert_true(a.dirty);
    pin_watch_close(&watch, &a);
}

/* More events than the kernel queues. The files of the lost events are unknown. @c is written after
 * the queue is full. */
static void test_read__overflow__all_are_marked(void **state) {
    struct pin_file a, b, c;
    unsigned limit = 0;
    FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
    (void)state;
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%u", &limit), 1);
    fclose(f);
    open_file("a", &a);
    open_file("b", &b);
    open_file("c", &c);
    /* The kernel merges equal events in a row, so two files are written in turn. */
    for (unsigned i = 0; i < limit + 2; i++)
        assert_int_equal(pwrite(i % 2 ? a.file.fd : b.file.fd, "0-3\n", 4, 0), 4);
    put("c");
    drain();
    assert_true(a.dirty && b.dirty && c.dirty);
    pin_watch_close(&watch, &a);
    pin_watch_close(&watch, &b);
    pin_watch_close(&watch, &c);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read__marks_the_written_file_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_del__shared_watch__the_other_file_keeps_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_read__file_removed__watch_is_added_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_read__overflow__all_are_marked, setup, teardown),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
