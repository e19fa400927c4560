/* SPDX-License-Identifier: MPL-2.0 */
/* The table of `paddock status`: it fits the terminal, and it keeps the important columns. */
#include "plugin/status_table.h"

#include "unit/cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW 1700000000000000000

/* One line of the table: alloc, task, kind, wanted, actual, state, why, corrections, cause and age
 * in s of the last one. */
static json_t *task_of(const char *name, const char *wanted, const char *actual, const char *state,
                       const char *why, int fixes, const char *cause, int64_t age_s) {
    json_t *history = json_array();
    if (cause)
        json_array_append_new(history,
                              json_pack("{s:I,s:s}", "time_ns",
                                        (json_int_t)(NOW - age_s * 1000000000), "cause", cause));
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:o}", "alloc_id",
                     "3f7d2c1a-9b1e-4c8e-b3c4-5d6e7f8a9b0c", "task", name, "container_id",
                     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "kind",
                     "cores", "wanted", wanted, "actual", actual, "state", state, "why", why,
                     "corrections", fixes, "history", history);
}

static json_t *doc_of(int cpus, const char *disabled, json_t *tasks) {
    return json_pack("{s:{s:s,s:s,s:i},s:{s:{s:s,s:i},s:o}}", "driver", "name", "docker", "version",
                     "0.2.0", "pid", 4711, "pin", "host", "disabled", disabled, "cpus", cpus,
                     "tasks", tasks);
}

static json_t *some_tasks(void) {
    json_t *tasks = json_array();
    json_array_append_new(tasks, task_of("web", "2-3", "2-3", "pinned", "", 0, NULL, 0));
    json_array_append_new(tasks, task_of("database", "4-7", "2-5", "contested", "another writer",
                                         17, "overwritten", 3));
    json_array_append_new(
        tasks, task_of("batch", "0-1", "0-1", "held", "pool is empty", 2, "daemon-reload", 600));
    json_array_append_new(tasks, task_of("a-task-with-a-name-that-never-ends", "0,2,4,6,8,10,12,14",
                                         "", "unmanaged", "no cgroup v2", 0, "recreated", 9000));
    return tasks;
}

/* Returns the text. Owner: caller, free(). */
static char *render(json_t *doc, size_t columns) {
    struct buf out;
    buf_init(&out, 1u << 20);
    assert_int_equal(status_table_put(&out, doc, columns, NOW), 0);
    json_decref(doc);
    char *text = buf_take(&out);
    assert_non_null(text);
    return text;
}

static size_t longest_line(const char *text) {
    size_t most = 0;
    for (; *text; text += strcspn(text, "\n"), text += *text == '\n')
        most = strcspn(text, "\n") > most ? strcspn(text, "\n") : most;
    return most;
}

static void assert_has(const char *text, const char *part) {
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void assert_lacks(const char *text, const char *part) {
    if (strstr(text, part))
        fail_msg("\"%s\" is in:\n%s", part, text);
}

static void test_put__no_limit__all_of_it(void **state) {
    (void)state;
    char *text = render(doc_of(16, "", some_tasks()), 0);
    assert_has(text, "docker 0.2.0, pid 4711, 4 tasks\n");
    assert_has(text, "ALLOC     TASK");
    assert_has(text, "3f7d2c1a  web ");
    assert_has(text, "  0123456789ab  cores ");
    assert_has(text, "  ..##............  pinned ");
    assert_has(text, "  ..!!##oo........  contested: another writer ");
    assert_has(text, "  ##..............  held: pool is empty ");
    assert_has(text, " 17  overwritten, 3 s ago\n");
    assert_has(text, "daemon-reload, 10 min ago\n");
    assert_has(text, "recreated, 2 h ago\n");
    assert_has(text, " 0  -\n");
    assert_has(text, "a-task-with-a-name-that-never-ends  ");
    assert_has(text, "0,2,4,6,8,10,12,14  ");
    assert_lacks(text, "~");
    free(text);
}

/* No line wraps on any machine and terminal. Every line has its allocation and state. */
static void test_put__any_terminal__fits(void **state) {
    static const int cpus[] = {1, 2, 16, 64, 65, 256, 8192};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cpus); i++)
        for (size_t columns = 60; columns < 260; columns++) {
            char *text = render(doc_of(cpus[i], "", some_tasks()), columns);
            if (longest_line(text) > columns)
                fail_msg("%d CPUs, %zu columns:\n%s", cpus[i], columns, text);
            assert_has(text, "3f7d2c1a  ");
            assert_has(text, "contested");
            free(text);
        }
}

static void test_put__80_columns__important_columns_kept(void **state) {
    (void)state;
    char *text = render(doc_of(16, "", some_tasks()), 80);
    assert_lacks(text, "CONTAINER");
    assert_lacks(text, "LAST");
    assert_has(text, "  2-3 ");
    assert_has(text, "..!!##oo........");
    assert_has(text, "0,2,4,6");
    assert_has(text, "~");
    free(text);
}

static void test_put__120_columns__more_columns_kept(void **state) {
    (void)state;
    char *text = render(doc_of(16, "", some_tasks()), 120);
    assert_has(text, "LAST");
    assert_has(text, "overwritten, 3 s ago");
    assert_has(text, "contested: another writer");
    free(text);
}

static void test_put__more_cpus_than_letters__the_worst_is_shown(void **state) {
    (void)state;
    json_t *tasks = json_array();
    json_array_append_new(tasks,
                          task_of("a", "0-3,8-11", "0-3,8-10,255", "failed", "", 0, NULL, 0));
    char *text = render(doc_of(256, "", tasks), 0);
    assert_has(text, "  #.o.............................");
    assert_has(text, "...!  failed");
    free(text);
}

static void test_put__nothing_wanted__nothing_wrong(void **state) {
    (void)state;
    json_t *tasks = json_array();
    json_array_append_new(tasks, task_of("a", "", "0-1", "unmanaged", "", 0, NULL, 0));
    char *text = render(doc_of(4, "", tasks), 0);
    assert_has(text, "  ##..  unmanaged");
    free(text);
}

static void test_put__not_used_yet_or_disabled__reported(void **state) {
    (void)state;
    char *text = render(
        json_pack("{s:{s:s,s:s,s:i}}", "driver", "name", "docker", "version", "1", "pid", 2), 80);
    assert_string_equal(text, "docker 1, pid 2, 0 tasks\nno Nomad client has put it to work yet\n");
    free(text);
    text = render(doc_of(4, "cgroup v1", json_array()), 80);
    assert_string_equal(text, "docker 0.2.0, pid 4711, 0 tasks\ncpusets are not kept: cgroup v1\n");
    free(text);
}

static void test_put__odd_values__harmless(void **state) {
    (void)state;
    json_t *tasks = json_pack("[{s:s,s:i,s:s,s:s},{},n,s]", "task", "a\033[2Jb\nc", "wanted", 5,
                              "actual", "7-3", "state", "\xc3\xa4\xc3\xb6", "text");
    char *text = render(doc_of(-7, "", tasks), 80);
    assert_has(text, "a?[2Jb?c");
    assert_has(text, "\xc3\xa4\xc3\xb6");
    assert_lacks(text, "\033");
    free(text);
}

static void test_put__many_bytes_a_character__cut_between_them(void **state) {
    char name[3 * 60 + 1];
    (void)state;
    for (int i = 0; i < 60; i++)
        memcpy(name + 3 * i, "\xe6\xbc\xa2", 4);
    json_t *tasks = json_array();
    json_array_append_new(tasks, task_of(name, "0", "0", "pinned", "", 0, NULL, 0));
    char *text = render(doc_of(4, "", tasks), 200);
    assert_has(text, "  \xe6\xbc\xa2\xe6");
    assert_has(text, "\xa2~  0123456789ab");
    free(text);
}

static void test_put__log_pump__a_line_of_its_own(void **state) {
    static const struct {
        const char *pump, *line;
    } rows[] = {
        {"{\"error\":\"none answers\",\"starts\":9}", "log pump: none answers, starts 9\n"},
        {"{\"version\":\"0.2.0\",\"starts\":1,\"sum\":{\"file\":3,\"api\":2,\"none\":1,"
         "\"lag_bytes\":5000000000,\"lag_seconds\":1.6,\"lines_skipped\":4,"
         "\"bytes_dropped\":7}}",
         "log pump 0.2.0, starts 1: 3 tasks by file, 2 by API, 1 not read; 5000000000 bytes "
         "and 2 s behind, 4 lines skipped, 7 bytes dropped\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *doc = doc_of(8, "", json_array());
        json_object_set_new(doc, "log_pump", json_loads(rows[i].pump, 0, NULL));
        char *text = render(doc, 80);
        assert_non_null(strstr(text, rows[i].line));
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put__log_pump__a_line_of_its_own),
        cmocka_unit_test(test_put__no_limit__all_of_it),
        cmocka_unit_test(test_put__any_terminal__fits),
        cmocka_unit_test(test_put__80_columns__important_columns_kept),
        cmocka_unit_test(test_put__120_columns__more_columns_kept),
        cmocka_unit_test(test_put__more_cpus_than_letters__the_worst_is_shown),
        cmocka_unit_test(test_put__nothing_wanted__nothing_wrong),
        cmocka_unit_test(test_put__not_used_yet_or_disabled__reported),
        cmocka_unit_test(test_put__odd_values__harmless),
        cmocka_unit_test(test_put__many_bytes_a_character__cut_between_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
