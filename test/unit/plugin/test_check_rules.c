/* SPDX-License-Identifier: MPL-2.0 */
/* The rules of `paddock check` that need no Docker: the level of each finding, and its advice. */
#include "plugin/check_rules.h"

#include "paddock/cleanup.h"
#include "unit/cm.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char text[CHECK_TEXT_MAX];

static void test_cores__table__level_and_advice(void **state) {
    static const struct {
        const char *pool, *cores, *online;
        enum check_verdict v;
        const char *says;
    } rows[] = {
        {"0-1", "2-3", "0-3", CHECK_OK, "shared pool 0-1, reserved 2-3, online 0-3"},
        {"0-3", "", "0-3", CHECK_OK, "reserved none"},
        {"", "0-3", "0-3", CHECK_WARNING, "Leave a core to the pool"},
        {"", "", "0-3", CHECK_WARNING, "nomad.slice says none"},
        {"nonsense", "", "0-3", CHECK_WARNING, "nomad.slice says none"},
        {"0-3", "", "0-2", CHECK_FAILURE, "online are 0-2. Bring them up"},
        {"0", "1-3", "0-2", CHECK_FAILURE, "reserved 1-3"},
        {"", "3", "0-2", CHECK_FAILURE, "shared pool none"},
        {"0-3", "", "", CHECK_WARNING, "cannot be read"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum check_verdict v = check_rules_cores(rows[i].pool, rows[i].cores, rows[i].online, text);
        if (v != rows[i].v || !strstr(text, rows[i].says))
            fail_msg("row %zu: verdict %d, \"%s\"", i, v, text);
    }
}

static void test_isolated__table__judged(void **state) {
    static const struct {
        const char *isolated, *pool, *cores;
        enum check_verdict v;
        const char *says;
    } rows[] = {
        {"", "0-3", "", CHECK_OK, "none"},
        {"4-7", "0-3", "", CHECK_OK, "none that Nomad hands out"},
        {"2-3", "0-3", "", CHECK_WARNING, "Nomad hands out 2-3, which the boot line isolates"},
        {"2-3", "0-1", "3", CHECK_WARNING, "Nomad hands out 3,"},
        {"2-5", "0-2", "4-5", CHECK_WARNING, "Nomad hands out 2,4-5,"},
        {"2-3", "", "", CHECK_OK, "none that Nomad hands out"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum check_verdict v =
            check_rules_isolated(rows[i].isolated, rows[i].pool, rows[i].cores, text);
        if (v != rows[i].v || !strstr(text, rows[i].says))
            fail_msg("row %zu: verdict %d, \"%s\"", i, v, text);
    }
}

static void put(const char *dir, const char *name, const char *set) {
    char path[160];
    snprintf(path, sizeof(path), "%s/nomad.slice/%s", dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/nomad.slice/%s/cpuset.cpus", dir, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(set, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void test_scopes__all_of_them_together(void **state) {
    char dir[] = "/tmp/paddock-check-XXXXXX", path[64], command[96], small[4];
    (void)state;
    assert_non_null(mkdtemp(dir));
    check_rules_scopes(dir, text, sizeof(text)); /* no such folder */
    assert_string_equal(text, "");
    snprintf(path, sizeof(path), "%s/nomad.slice", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    check_rules_scopes(dir, text, sizeof(text));
    assert_string_equal(text, "");
    put(dir, "a.web.scope", "0-1\n");
    put(dir, "b.web.scope", "1,3\n");
    put(dir, "blank.web.scope", "\n");
    put(dir, "nonsense.web.scope", "x\n");
    put(dir, "share.slice", "0-7\n");
    check_rules_scopes(dir, text, sizeof(text));
    assert_string_equal(text, "0-1,3");
    check_rules_scopes(dir, small, sizeof(small));
    assert_string_equal(small, "");
    snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

static void test_inotify__table__judged(void **state) {
    (void)state;
    assert_int_equal(check_rules_inotify(0, "128", "65536", text), CHECK_OK);
    assert_string_equal(text, "128 instances, 65536 watches");
    assert_int_equal(check_rules_inotify(0, "128", "4095", text), CHECK_WARNING);
    assert_non_null(strstr(text, "4095 watches are enough for 2047 tasks"));
    assert_int_equal(check_rules_inotify(0, "128", "", text), CHECK_WARNING);
    assert_int_equal(check_rules_inotify(-EMFILE, "128", "65536", text), CHECK_WARNING);
    assert_non_null(strstr(text, "Too many open files (max_user_instances 128)"));
}

static void test_status__failures_count_more_than_warnings(void **state) {
    (void)state;
    assert_int_equal(check_rules_status(0, 0), 0);
    assert_int_equal(check_rules_status(0, 2), 3);
    assert_int_equal(check_rules_status(1, 2), 1);
    assert_true(check_rules_sets_cpus("tuned"));
    assert_false(check_rules_sets_cpus("tuned-adm"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cores__table__level_and_advice),
        cmocka_unit_test(test_isolated__table__judged),
        cmocka_unit_test(test_scopes__all_of_them_together),
        cmocka_unit_test(test_inotify__table__judged),
        cmocka_unit_test(test_status__failures_count_more_than_warnings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
