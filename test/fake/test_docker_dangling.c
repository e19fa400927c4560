/* SPDX-License-Identifier: MPL-2.0 */
/* The search for dangling containers on a dockerd that other programs use, too. */
#include "fake/fake_client.h"
#include "paddock/clock.h"
#include "paddock/create.h"
#include "paddock/docker_dangling.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static struct {
    char known[65]; /* a container that is tracked */
    char late[65];  /* a container that becomes tracked after the first question about it */
    int late_asked;
} ids;

static int setup(void **state) {
    memset(&ids, 0, sizeof(ids));
    return fake_pair_setup(state);
}

/* @owner NULL: a container of the built-in driver. */
static void container(struct fake_pair *x, const char *name, const char *owner, bool start,
                      char id[65]) {
    char own[65];
    struct call call = fake_call();
    AUTO_JSON json_t *body =
        json_pack("{s:s,s:{s:s}}", "Image", "app", "Labels", LABEL_ALLOC_ID, "a");
    if (owner)
        json_object_set_new(json_object_get(body, "Labels"), LABEL_OWNER, json_string(owner));
    assert_int_equal(docker_container_create(x->docker, &call, name, body, id ? id : own, NULL), 0);
    if (start)
        assert_int_equal(docker_container_start(x->docker, &call, name, NULL), 0);
}

static bool is_there(struct fake_pair *x, const char *name) {
    struct call call = fake_call();
    struct docker_state s;
    return docker_container_inspect(x->docker, &call, name, &s, NULL, NULL) == 0;
}

static bool tracked(void *ctx, const char *id) {
    (void)ctx;
    if (strcmp(id, ids.late) == 0)
        return ids.late_asked++ > 0;
    return strcmp(id, ids.known) == 0;
}

static char left[65];

static void is_left(void *ctx, const char *id) {
    (void)ctx;
    snprintf(left, sizeof(left), "%s", id);
}

static int search(struct fake_pair *x, int64_t grace_s, bool dry_run, struct err *err) {
    struct call call = fake_call();
    struct docker_dangling_rule rule = {.owner = "me",
                                        .now_s = clock_wall_ns() / 1000000000,
                                        .grace_s = grace_s,
                                        .tracked = tracked,
                                        .left = is_left};
    return docker_dangling_run(x->docker, &call, &rule, dry_run, err);
}

static void populate(struct fake_pair *x) {
    container(x, "forgotten", "me", true, NULL);
    container(x, "known", "me", true, ids.known);
    container(x, "late", "me", true, ids.late);
    container(x, "other", "other", true, NULL);
    container(x, "builtin", NULL, true, NULL);
    container(x, "stopped", "me", false, NULL);
}

static void test_docker_dangling_run__only_ours_and_forgotten(void **state) {
    struct fake_pair *x = *state;
    populate(x);
    assert_int_equal(search(x, 0, false, NULL), 1);
    assert_false(is_there(x, "forgotten"));
    assert_true(is_there(x, "known"));
    assert_true(is_there(x, "late")); /* a task has taken it after the list was made */
    assert_true(is_there(x, "other"));
    assert_true(is_there(x, "builtin"));
    assert_true(is_there(x, "stopped"));
    AUTO_JSON json_t *log = fake_log(&x->fake, "GET /containers/json");
    const char *query = json_string_value(json_object_get(json_array_get(log, 0), "query"));
    assert_non_null(strstr(query, LABEL_OWNER));
    assert_null(strstr(query, "all=1"));
    assert_int_equal(search(x, 0, false, NULL), 0);
}

static void test_docker_dangling_run__dry_run__counted_and_kept(void **state) {
    struct fake_pair *x = *state;
    populate(x);
    assert_int_equal(search(x, 0, true, NULL), 1);
    assert_true(is_there(x, "forgotten"));
    assert_int_equal(search(x, 0, false, NULL), 1);
}

static void test_docker_dangling_run__young__kept(void **state) {
    struct fake_pair *x = *state;
    populate(x);
    assert_int_equal(search(x, 60, false, NULL), 0);
    assert_true(is_there(x, "forgotten"));
}

static void test_docker_dangling_run__one_cannot_be_removed__the_others_are(void **state) {
    struct fake_pair *x = *state;
    char stuck[65], rule[200];
    container(x, "a", "me", true, NULL);
    container(x, "stuck", "me", true, stuck);
    container(x, "b", "me", true, NULL);
    snprintf(rule, sizeof(rule),
             "DELETE /containers/%s times=1 status=500 body={\"message\":\"device busy\"}", stuck);
    fake_rules(&x->fake, rule);
    assert_int_equal(search(x, 0, false, NULL), 2);
    assert_false(is_there(x, "a"));
    assert_false(is_there(x, "b"));
    assert_true(is_there(x, "stuck"));
    assert_string_equal(left, stuck);
    assert_int_equal(search(x, 0, false, NULL), 0); /* it does not run any more */
}

static void test_docker_dangling_run__no_list__nothing_removed(void **state) {
    static const struct {
        const char *rule;
        int r;
    } rows[] = {
        {"GET /containers/json status=500 body={\"message\":\"busy\"}", -EIO},
        {"GET /containers/json body={}", -EPROTO},
        {"GET /containers/json drop", -ENOTCONN},
    };
    struct fake_pair *x = *state;
    populate(x);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        fake_rules(&x->fake, rows[i].rule);
        print_message("%s\n", rows[i].rule);
        assert_int_equal(search(x, 0, false, &err), rows[i].r);
        assert_true(err.set);
    }
    assert_true(is_there(x, "forgotten"));
}

/* A container with labels that are unreadable or endless must not keep another one alive. */
static void test_docker_dangling_run__hostile_neighbour__others_are_removed(void **state) {
    static const char *const hostile[] = {
        "{\"Id\":\"h\",\"Labels\":{\"io.paddock.owner\":\"me\\u0000\"}}",
        "{\"Id\":\"h\",\"Labels\":{\"a\\u0000b\":\"x\"}}",
        "{\"Id\":\"h\",\"Labels\":{\"x\":\"\xff\"}}",
        "{\"Id\":\"h\",\"Labels\":{\"x\":\"\\ud800\"}}",
        "{\"Id\":\"h\",\"Labels\":{\"x\":1e999}}",
        NULL, /* ten megabytes */
    };
    struct fake_pair *x = *state;
    for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
        char id[65];
        container(x, "forgotten", "me", true, id);
        size_t len = hostile[i] ? strlen(hostile[i]) : 10u << 20;
        AUTO_FREE char *rule = malloc(len + 1024);
        assert_non_null(rule);
        size_t n = (size_t)snprintf(rule, 1024,
                                    "GET /containers/json times=1 type=application/json body=[");
        if (hostile[i]) {
            memcpy(rule + n, hostile[i], len);
        } else {
            memset(rule + n, 'x', len);
            memcpy(rule + n, "{\"Id\":\"", 7);
            memcpy(rule + n + len - 2, "\"}", 2);
        }
        snprintf(rule + n + len, 512,
                 ",{\"Id\":\"%s\",\"Created\":1,\"Labels\":{\"io.paddock.owner\":\"me\"}}]\n", id);
        fake_rules(&x->fake, rule);
        print_message("%s\n", hostile[i] ? hostile[i] : "ten megabytes");
        assert_int_equal(search(x, 0, false, NULL), 1);
        assert_false(is_there(x, "forgotten"));
    }
    AUTO_BUF struct buf metrics;
    buf_init(&metrics, 0);
    assert_int_equal(docker_metrics(x->docker, &metrics), 0);
    assert_non_null(
        strstr(buf_text(&metrics), "paddock_docker_skipped_total{kind=\"container\"} 4\n"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, fake_pair_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_docker_dangling_run__only_ours_and_forgotten),
        T(test_docker_dangling_run__dry_run__counted_and_kept),
        T(test_docker_dangling_run__young__kept),
        T(test_docker_dangling_run__one_cannot_be_removed__the_others_are),
        T(test_docker_dangling_run__no_list__nothing_removed),
        T(test_docker_dangling_run__hostile_neighbour__others_are_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
