/* SPDX-License-Identifier: MPL-2.0 */
/* The four ends of a container that involve SIGKILL, as in the table of docs/differences.md. */
#include "src/task/exit_judge.h"
#include "unit/cm.h"

#define S INT64_C(1000000000)
#define END (1000 * S)

static const struct {
    const char *what;
    int code;
    int64_t oom_ns;
    bool docker_reports, oom;
} rows[] = {
    {"main process killed", 137, END - S / 10, false, true},
    {"main process killed, dockerd is slow", 137, END - 20 * S, true, true},
    {"main process killed, only Docker's inspect reports it", 137, 0, true, true},
    {"child killed, main process fails because of it", 9, END - S, false, true},
    {"child killed, main process ends with 0", 0, END - S, true, false},
    {"exec killed, main process ends with 0 later", 0, END - 600 * S, true, false},
    {"exec killed, main process fails much later", 1, END - 600 * S, true, false},
    {"exec killed, SIGKILL by a person much later", 137, END - 600 * S, true, false},
    {"SIGKILL by a person", 137, 0, false, false},
    {"plain failure", 3, 0, false, false},
    {"plain success", 0, 0, false, false},
    {"the clocks of kernel and dockerd differ a little", 137, END + S / 100, false, true},
};

static void test_exit_judge_is_oom__cases(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (exit_judge_is_oom(rows[i].code, rows[i].oom_ns, END, rows[i].docker_reports) !=
            rows[i].oom)
            fail_msg("%s", rows[i].what);
}

static void test_exit_judge_fill__texts(void **state) {
    struct task_exit e;
    (void)state;
    exit_judge_fill(&e, 0, false);
    assert_string_equal(e.err, "");
    exit_judge_fill(&e, 7, false);
    assert_string_equal(e.err, "Docker container exited with non-zero exit code: 7");
    exit_judge_fill(&e, 137, true);
    assert_string_equal(e.err, "OOM Killed");
    assert_true(e.oom);
    assert_int_equal(e.code, 137);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exit_judge_is_oom__cases),
        cmocka_unit_test(test_exit_judge_fill__texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
