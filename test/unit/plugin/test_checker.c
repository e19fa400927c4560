/* SPDX-License-Identifier: MPL-2.0 */
/* The check that runs in a child process. A script takes the place of the program. */
#include "plugin/checker.h"
#include "unit/cm.h"

#include "paddock/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct loop *loop;
static struct checker *checker;
static struct loop_timer *timer;
static uint64_t deadline_us;

static void write_script(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, 0700), 0);
}

/* Asks again until there is a result or the deadline is over. */
static void ask_again(void *ctx) {
    (void)ctx;
    if (checker_last(checker) || clock_now_us() > deadline_us)
        loop_stop(loop);
    else
        loop_timer_at(timer, clock_now_us() + 2000);
}

static json_t *result_of(const char *script, uint64_t wait_us) {
    char path[] = "/tmp/paddock-checker-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    write_script(path, script);
    assert_int_equal(loop_new(&loop), 0);
    assert_int_equal(checker_new(loop, path, &checker), 0);
    assert_null(checker_last(checker));
    deadline_us = clock_now_us() + wait_us;
    assert_int_equal(loop_timer_new(loop, ask_again, NULL, &timer), 0);
    loop_timer_at(timer, 1);
    assert_int_equal(loop_run(loop), 0);
    json_t *result = json_incref(checker_last(checker));
    checker_free(checker);
    loop_timer_del(timer);
    loop_free(loop);
    unlink(path);
    return result;
}

static void test_result(void **state) {
    (void)state;
    /* With the agent's cookie the program would start as a plugin. */
    setenv("NOMAD_PLUGIN_MAGIC_COOKIE", "x", 1);
    json_t *doc = result_of(
        "#!/bin/sh\necho \"{\\\"args\\\": \\\"$* $NOMAD_PLUGIN_MAGIC_COOKIE\\\"}\"\nexit 3\n",
        20000000);
    unsetenv("NOMAD_PLUGIN_MAGIC_COOKIE");
    assert_string_equal(json_string_value(json_object_get(doc, "args")), "check --json ");
    json_decref(doc);
}

static void test_no_json__no_result(void **state) {
    (void)state;
    assert_null(result_of("#!/bin/sh\necho no\n", 100000));
}

/* A child that hangs is ended when its checker is freed. */
static void test_free__child_ended(void **state) {
    (void)state;
    uint64_t start = clock_now_us();
    assert_null(result_of("#!/bin/sh\nexec sleep 100\n", 100000));
    assert_true(clock_now_us() - start < 50000000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_result),
        cmocka_unit_test(test_no_json__no_result),
        cmocka_unit_test(test_free__child_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
