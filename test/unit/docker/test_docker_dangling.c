/* SPDX-License-Identifier: MPL-2.0 */
/* Which containers are dangling: they have our label, are old enough, and belong to no
 * known task. */
#include "paddock/docker_dangling.h"

#include "paddock/create.h"
#include "unit/cm.h"

#include <string.h>

#define NOW 1000000
#define GRACE 300
#define OLD (NOW - GRACE)

static bool tracked(void *ctx, const char *id) {
    return strcmp(id, ctx) == 0;
}

static struct docker_dangling_rule rule_of(const char *owner) {
    return (struct docker_dangling_rule){
        .owner = owner, .now_s = NOW, .grace_s = GRACE, .tracked = tracked, .ctx = (char *)"known"};
}

static void test_docker_dangling_decide__table(void **state) {
    (void)state;
    static const struct {
        const char *id;
        int created;       /* 0: not in the list */
        const char *owner; /* NULL: no such label */
        bool remove;
    } rows[] = {
        {"forgotten", OLD, "me", true},
        {"ancient", 1, "me", true},
        {"known", OLD, "me", false},
        {"young", OLD + 1, "me", false},
        {"newborn", NOW, "me", false},
        {"future", NOW + 100, "me", false},
        {"other-client", OLD, "other", false},
        {"longer", OLD, "me2", false},
        {"shorter", OLD, "m", false},
        {"no-owner", OLD, "", false},
        {"built-in driver's", OLD, NULL, false},
        {"no-date", 0, "me", false},
    };
    AUTO_JSON json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *c = json_pack("{s:s,s:{s:s}}", "Id", rows[i].id, "Labels", LABEL_ALLOC_ID, "a");
        if (rows[i].created)
            json_object_set_new(c, "Created", json_integer(rows[i].created));
        if (rows[i].owner)
            json_object_set_new(json_object_get(c, "Labels"), LABEL_OWNER,
                                json_string(rows[i].owner));
        json_array_append_new(list, c);
    }
    struct docker_dangling_rule rule = rule_of("me");
    AUTO_STRV struct strv ids = {0};
    assert_int_equal(docker_dangling_decide(list, &rule, &ids), 0);
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        print_message("%s\n", rows[i].id);
        assert_int_equal(strv_contains(&ids, rows[i].id), rows[i].remove);
        n += rows[i].remove;
    }
    assert_int_equal(ids.n, n);
}

/* Without an owner name no container is ours. */
static void test_docker_dangling_decide__empty_owner__nothing(void **state) {
    (void)state;
    AUTO_JSON json_t *list =
        json_pack("[{s:s,s:i,s:{s:s}},{s:s,s:i,s:{}}]", "Id", "a", "Created", 1, "Labels",
                  LABEL_OWNER, "", "Id", "b", "Created", 1, "Labels");
    struct docker_dangling_rule rule = rule_of("");
    AUTO_STRV struct strv ids = {0};
    assert_int_equal(docker_dangling_decide(list, &rule, &ids), 0);
    assert_int_equal(ids.n, 0);
}

static void test_docker_dangling_decide__no_list_or_odd_rows__nothing(void **state) {
    (void)state;
    static const char *const lists[] = {
        "{}",
        "[]",
        "[7,null,\"x\",[]]",
        "[{\"Id\":7,\"Created\":1,\"Labels\":{\"" LABEL_OWNER "\":\"me\"}}]",
        "[{\"Id\":\"a\",\"Created\":\"1\",\"Labels\":{\"" LABEL_OWNER "\":\"me\"}}]",
        "[{\"Id\":\"a\",\"Created\":1,\"Labels\":null}]",
        "[{\"Id\":\"a\",\"Created\":1,\"Labels\":{\"" LABEL_OWNER "\":[\"me\"]}}]",
    };
    struct docker_dangling_rule rule = rule_of("me");
    for (size_t i = 0; i <= ARRAY_LEN(lists); i++) {
        AUTO_JSON json_t *list = i < ARRAY_LEN(lists) ? json_loads(lists[i], 0, NULL) : NULL;
        AUTO_STRV struct strv ids = {0};
        assert_int_equal(docker_dangling_decide(list, &rule, &ids), 0);
        assert_int_equal(ids.n, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_docker_dangling_decide__table),
        cmocka_unit_test(test_docker_dangling_decide__empty_owner__nothing),
        cmocka_unit_test(test_docker_dangling_decide__no_list_or_odd_rows__nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
