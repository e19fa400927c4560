/* SPDX-License-Identifier: MPL-2.0 */
/* A docker_logger that has opened a FIFO, in a /proc that the test makes. */
#include "src/pump/pump_rival.h"
#include "paddock/logpump.h"
#include "unit/cm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/paddock-rival-XXXXXX", fifo[64], other[64];
static int proc_fd;

/* Makes the process 77 with these arguments and a descriptor that leads to @target. */
static void process(const char *args, size_t len, const char *target) {
    unlinkat(proc_fd, "77/fd/5", 0);
    assert_int_equal(symlinkat(target, proc_fd, "77/fd/5"), 0);
    int fd = openat(proc_fd, "77/cmdline", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, args, len), len);
    close(fd);
}

static int setup(void **state) {
    (void)state;
    if (!mkdtemp(root))
        return -1;
    proc_fd = open(root, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    snprintf(fifo, sizeof(fifo), "%s/fifo", root);
    snprintf(other, sizeof(other), "%s/other", root);
    return proc_fd < 0 || mkfifo(fifo, 0600) < 0 || mkfifo(other, 0600) < 0 ||
                   mkdirat(proc_fd, "77", 0700) < 0 || mkdirat(proc_fd, "77/fd", 0700) < 0
               ? -1
               : 0;
}

static int teardown(void **state) {
    (void)state;
    const char *files[] = {"77/fd/5", "77/cmdline", "fifo", "other"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        unlinkat(proc_fd, files[i], 0);
    unlinkat(proc_fd, "77/fd", AT_REMOVEDIR);
    unlinkat(proc_fd, "77", AT_REMOVEDIR);
    close(proc_fd);
    return rmdir(root);
}

static bool has(const char *path) {
    struct pump_rivals r;
    assert_int_equal(pump_rivals_find(proc_fd, &r), 0);
    bool found = pump_rivals_have(&r, path);
    pump_rivals_done(&r);
    return found;
}

#define ARGS(text) text, sizeof(text)

static void test_rival__logger_with_the_fifo__found(void **state) {
    (void)state;
    process(ARGS("/opt/nomad\0docker_logger"), fifo);
    assert_true(has(fifo));
    assert_false(has(other));
}

static void test_rival__logger_of_another_task__none(void **state) {
    (void)state;
    process(ARGS("/opt/nomad\0docker_logger"), other);
    assert_false(has(fifo));
}

/* Nomad's logmon has the FIFO open, too, because it is the reader. */
static void test_rival__logmon_with_the_fifo__none(void **state) {
    (void)state;
    process(ARGS("/opt/nomad\0logmon"), fifo);
    assert_false(has(fifo));
    assert_false(pump_rival_is_docker_logger(proc_fd, 77));
    assert_false(pump_rival_is_docker_logger(proc_fd, 78));
}

static void test_rival__no_such_fifo__none(void **state) {
    (void)state;
    process(ARGS("/opt/nomad\0docker_logger"), fifo);
    assert_false(has(""));
    assert_false(has("/dev/null"));
    assert_false(has(root));
}

/* The path leads through a link. The FIFO then belongs to the task of another allocation. */
static void test_rival__fifo_through_a_link__none(void **state) {
    (void)state;
    char path[80];
    process(ARGS("/opt/nomad\0docker_logger"), fifo);
    assert_int_equal(symlinkat(".", proc_fd, "link"), 0);
    snprintf(path, sizeof(path), "%s/link/fifo", root);
    bool found = has(path);
    unlinkat(proc_fd, "link", 0);
    assert_false(found);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rival__logger_with_the_fifo__found),
        cmocka_unit_test(test_rival__logger_of_another_task__none),
        cmocka_unit_test(test_rival__logmon_with_the_fifo__none),
        cmocka_unit_test(test_rival__no_such_fifo__none),
        cmocka_unit_test(test_rival__fifo_through_a_link__none),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
