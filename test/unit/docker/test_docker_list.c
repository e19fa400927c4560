/* SPDX-License-Identifier: MPL-2.0 */
/* Docker's list of containers, received in pieces. A container that cannot be read does not affect
 * the others. Also the JSON parser: NULs, numbers and depth. */
#include "src/docker/docker_list.h"
#include "unit/cm.h"

#include <stdio.h>
#include <string.h>

/* Feeds @text in pieces of @step bytes. */
static int feed(struct docker_list *l, const char *text, size_t len, size_t step) {
    int r = 0;
    docker_list_init(l);
    for (size_t at = 0; r == 0 && at < len; at += step)
        r = docker_list_feed(l, text + at, len - at < step ? len - at : step);
    return r;
}

/* The ids of the containers as "a,b". */
static void ids_of(const struct docker_list *l, char *out, size_t size) {
    size_t i;
    json_t *c;
    out[0] = '\0';
    json_array_foreach(l->items, i, c) {
        size_t len = strlen(out);
        snprintf(out + len, size - len, "%s%s", i ? "," : "", json_value_text(c, "Id"));
    }
}

#define A "{\"Id\":\"a\",\"Labels\":{\"io.paddock.owner\":\"me\"}}"
#define B "{\"Id\":\"b\"}"

static void test_docker_list_feed__any_cut__the_same(void **state) {
    static const struct {
        const char *text, *ids;
        size_t skipped;
        int r; /* -ENODATA: the end is missing */
    } rows[] = {
        {"[]", "", 0, 0},
        {" [\n] \n", "", 0, 0},
        {"[" A "]", "a", 0, 0},
        {"[" A "," B "]\n", "a,b", 0, 0},
        {" [ " A " , " B " ] ", "a,b", 0, 0},
        {"[{\"Id\":\"a]},{[\\\"\\\\\"}," B "]", "a]},{[\"\\,b", 0, 0},
        {"[{\"Names\":[\"/x\",[1,[2]]],\"Id\":\"a\"}," B "]", "a,b", 0, 0},
        /* hostile labels */
        {"[{\"Id\":\"h\",\"Labels\":{\"x\":\"a\\u0000b\"}}," B "]", "h,b", 0, 0},
        {"[{\"Id\":\"h\",\"Labels\":{\"a\\u0000b\":\"x\"}}," B "]", "h,b", 0, 0},
        {"[{\"Id\":\"h\",\"Labels\":{\"x\":\"1\",\"x\":\"2\"}}," B "]", "h,b", 0, 0},
        {"[{\"Id\":\"h\",\"Labels\":[[[[]]]]}," B "]", "h,b", 0, 0},
        {"[{\"Id\":\"h\",\"Created\":99999999999999999999}," B "]", "h,b", 0, 0},
        /* what cannot be parsed */
        {"[{\"Id\":\"h\",\"Labels\":{\"x\":\"\xff\"}}," B "]", "b", 1, 0},
        {"[{\"Id\":\"h\",\"Labels\":{\"x\":\"\\ud800\"}}," B "]", "b", 1, 0},
        {"[{\"Id\":\"h\",\"Created\":1e999}," B "]", "b", 1, 0},
        {"[{\"Id\":\"h\" \"x\"}," B ",{]", "b", 2, -ENODATA},
        {"[null,7,\"x\",[]," B "]", "b", 4, 0},
        /* not a list */
        {"", "", 0, -ENODATA},
        {"[" A, "", 0, -ENODATA},
        {"[" A ",", "a", 0, -ENODATA},
        {"{}", "", 0, -EPROTO},
        {"null", "", 0, -EPROTO},
        {"[" A "]]", "a", 0, -EPROTO},
        {"[" A "]" B, "a", 0, -EPROTO},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t len = strlen(rows[i].text);
        for (size_t step = 1; step <= len + 1; step++) {
            struct docker_list l;
            char ids[256];
            int r = feed(&l, rows[i].text, len, step);
            if (r == 0 && !docker_list_is_whole(&l))
                r = -ENODATA;
            print_message("%s by %zu\n", rows[i].text, step);
            assert_int_equal(r, rows[i].r);
            ids_of(&l, ids, sizeof(ids));
            if (r != -ENODATA || !strstr(rows[i].text, ",{]")) {
                assert_string_equal(ids, rows[i].ids);
                assert_int_equal(l.skipped, rows[i].skipped);
            }
            docker_list_done(&l);
        }
    }
}

static void test_docker_list_feed__too_long__skipped_and_the_next_is_read(void **state) {
    (void)state;
    struct docker_list l;
    char ids[64], *page = malloc(DOCKER_LIST_ITEM_MAX);
    memset(page, 'x', DOCKER_LIST_ITEM_MAX);
    docker_list_init(&l);
    assert_int_equal(docker_list_feed(&l, "[" A ",{\"Id\":\"", 1 + strlen(A) + 8), 0);
    for (int i = 0; i < 40; i++)
        assert_int_equal(docker_list_feed(&l, page, DOCKER_LIST_ITEM_MAX), 0);
    assert_true(l.item.cap <= 2 * DOCKER_LIST_ITEM_MAX);
    assert_int_equal(docker_list_feed(&l, "\"}," B "]", 4 + strlen(B)), 0);
    assert_true(docker_list_is_whole(&l));
    ids_of(&l, ids, sizeof(ids));
    assert_string_equal(ids, "a,b");
    assert_int_equal(l.skipped, 1);
    docker_list_done(&l);
    free(page);
}

/* Only the labels that are compared are kept of another owner's container. */
static void test_docker_list_feed__labels__ours_alone_are_kept(void **state) {
    static const char text[] =
        "[{\"Id\":\"a\",\"Names\":[\"/n\"],\"Created\":5,\"Image\":\"i\",\"HostConfig\":{},"
        "\"Labels\":{\"com.hashicorp.nomad.alloc_id\":\"x\",\"io.paddock.owner\":\"me\","
        "\"huge\":\"...\"}},{\"Id\":\"b\",\"Labels\":null}]";
    (void)state;
    struct docker_list l;
    assert_int_equal(feed(&l, text, sizeof(text) - 1, 7), 0);
    AUTO_FREE char *out = json_dumps(l.items, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(
        out, "[{\"Created\":5,\"Id\":\"a\",\"Labels\":{\"com.hashicorp.nomad.alloc_id\":\"x\","
             "\"io.paddock.owner\":\"me\"},\"Names\":[\"/n\"]},{\"Id\":\"b\",\"Labels\":{}}]");
    docker_list_done(&l);
}

static void test_json_value_parse__nul__no_text_of_ours(void **state) {
    static const struct {
        const char *text, *key, *value;
    } rows[] = {
        {"{\"k\":\"me\\u0000x\"}", "k", "me\xef\xbf\xbdx"},
        {"{\"k\":\"\\u0000\"}", "k", "\xef\xbf\xbd"},
        {"{\"k\":\"\\u0000\\u0000\"}", "k", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"{\"k\\u0000\":\"v\"}", "k\xef\xbf\xbd", "v"},
        {"{\"k\":\"\\\\u0000\"}", "k", "\\u0000"}, /* a backslash and five characters */
        {"{\"k\":\"\\\\\\u0000\"}", "k", "\\\xef\xbf\xbd"},
        {"{\"k\":\"\\\"\\u0000\"}", "k", "\"\xef\xbf\xbd"},
        {"{\"k\":\"\\u00001\"}", "k",
         "\xef\xbf\xbd"
         "1"},
        {"{\"k\":\"\\u0001\"}", "k", "\x01"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char why[JSON_ERROR_TEXT_LENGTH] = "";
        AUTO_JSON json_t *j =
            json_value_parse(rows[i].text, strlen(rows[i].text), why, sizeof(why));
        print_message("%s %s\n", rows[i].text, why);
        assert_non_null(j);
        assert_string_equal(json_value_text(j, rows[i].key), rows[i].value);
    }
}

static void test_json_value_parse__deep__refused(void **state) {
    (void)state;
    char why[JSON_ERROR_TEXT_LENGTH];
    size_t n = 1u << 20;
    AUTO_FREE char *text = malloc(n);
    memset(text, '[', n);
    assert_null(json_value_parse(text, n, why, sizeof(why)));
}

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_docker_list_feed__any_cut__the_same),
        cmocka_unit_test(test_docker_list_feed__too_long__skipped_and_the_next_is_read),
        cmocka_unit_test(test_docker_list_feed__labels__ours_alone_are_kept),
        cmocka_unit_test(test_json_value_parse__nul__no_text_of_ours),
        cmocka_unit_test(test_json_value_parse__deep__refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
