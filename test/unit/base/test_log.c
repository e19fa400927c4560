/* SPDX-License-Identifier: MPL-2.0 */
/* The log lines as go-plugin's host reads them. A wrong type of one of the four @ keys kills the
 * Nomad agent. */
#include "paddock/log.h"
#include "unit/cm.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char line[70000];

/* Runs @write_it with stderr in a pipe. Returns the number of bytes that it wrote. */
static ssize_t capture(void (*write_it)(void)) {
    int ends[2], keep = dup(STDERR_FILENO);
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    dup2(ends[1], STDERR_FILENO);
    write_it();
    dup2(keep, STDERR_FILENO);
    ssize_t n = read(ends[0], line, sizeof(line) - 1);
    if (n >= 0)
        line[n] = '\0';
    close(keep);
    close(ends[0]);
    close(ends[1]);
    return n;
}

static void write_warning(void) {
    log_warn("pin", LOG_KV("task_id", "a/b", "odd", "\xff\x01"), "cannot write %d, retrying", 3);
}

static void test_log_write__warning__four_string_keys(void **state) {
    (void)state;
    assert_true(capture(write_warning) > 0);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    json_t *j = json_loads(line, 0, NULL);
    assert_non_null(j);
    assert_string_equal(json_string_value(json_object_get(j, "@level")), "warn");
    assert_string_equal(json_string_value(json_object_get(j, "@message")),
                        "cannot write 3, retrying");
    assert_string_equal(json_string_value(json_object_get(j, "@module")), "pin");
    assert_string_equal(json_string_value(json_object_get(j, "task_id")), "a/b");
    const char *when = json_string_value(json_object_get(j, "@timestamp"));
    assert_int_equal(strlen(when), strlen("2024-01-02T03:04:05.678901Z"));
    assert_int_equal(when[19], '.');
    assert_int_equal(when[26], 'Z');
    json_decref(j);
}

static void write_long(void) {
    static char big[100000];
    memset(big, 'y', sizeof(big) - 1);
    memset(big, '\1', 1000); /* six bytes each in JSON */
    log_error("x", LOG_KV("v", big + 1000), "%s", big);
}

static void test_log_write__long_texts__one_short_line(void **state) {
    (void)state;
    ssize_t n = capture(write_long);
    assert_in_range(n, 1, PIPE_BUF);
    json_t *j = json_loads(line, 0, NULL);
    assert_true(json_string_length(json_object_get(j, "v")) > 500);
    json_decref(j);
}

static void write_debug(void) {
    log_debug("quiet", NULL, "not traced");
}

static void test_log_write__debug__only_when_traced(void **state) {
    (void)state;
    unsetenv("PADDOCK_TRACE");
    assert_true(capture(write_debug) < 0);
    setenv("PADDOCK_TRACE", "docker,quiet", 1);
    assert_true(capture(write_debug) > 0);
    setenv("PADDOCK_TRACE", "quieter", 1);
    assert_true(capture(write_debug) < 0);
    unsetenv("PADDOCK_TRACE");
}

/* The number of lost lines in the next line, or NULL when it has none. */
static const char *next_loss(int fd) {
    static char loss[16];
    ssize_t n = read(fd, line, sizeof(line) - 1);
    line[n > 0 ? n : 0] = '\0';
    json_t *j = json_loads(line, 0, NULL);
    assert_non_null(j);
    const char *text = json_string_value(json_object_get(j, "lines_lost"));
    snprintf(loss, sizeof(loss), "%s", text ? text : "");
    json_decref(j);
    return text ? loss : NULL;
}

/* The host is stopped and its pipe is full. A thread that logs must not wait for it. */
static void test_log_write__full_pipe__dropped_and_counted(void **state) {
    int ends[2], keep = dup(STDERR_FILENO);
    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    int size = fcntl(ends[1], F_GETPIPE_SZ);
    char *fill = calloc(1, (size_t)size);
    assert_int_equal(write(ends[1], fill, (size_t)size), size);
    dup2(ends[1], STDERR_FILENO);
    int r = log_never_wait();
    alarm(10); /* ends the test when a write waits */
    write_warning();
    write_warning();
    alarm(0);
    for (ssize_t left = size; left > 0;)
        left -= read(ends[0], fill, (size_t)left);
    free(fill);
    write_warning();
    const char *loss = next_loss(ends[0]);
    write_warning();
    dup2(keep, STDERR_FILENO);
    close(keep);
    assert_int_equal(r, 0);
    assert_non_null(loss);
    assert_string_equal(loss, "2");
    assert_null(next_loss(ends[0]));
    assert_false(fcntl(ends[1], F_GETFL) & O_NONBLOCK); /* other processes share this pipe */
    close(ends[0]);
    close(ends[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_write__warning__four_string_keys),
        cmocka_unit_test(test_log_write__long_texts__one_short_line),
        cmocka_unit_test(test_log_write__debug__only_when_traced),
        cmocka_unit_test(test_log_write__full_pipe__dropped_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
