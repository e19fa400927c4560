/* SPDX-License-Identifier: MPL-2.0 */
/* Names of images: their parts, the form in which Docker shows them, and names that are refused. */
#include "src/image/image_ref.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#define HEX32 "0123456789abcdef0123456789abcdef"

static void test_image_ref_parse__good_names__parts(void **state) {
    (void)state;
    static const struct {
        const char *text, *registry, *repo, *tag;
    } rows[] = {
        {"redis", "docker.io", "redis", "latest"},
        {"redis:7", "docker.io", "redis", "7"},
        {"a/b-c__d.e:V_1.2-x", "docker.io", "a/b-c__d.e", "V_1.2-x"},
        {"localhost/x", "localhost", "localhost/x", "latest"},
        {"localhost:5000/x:1", "localhost:5000", "localhost:5000/x", "1"},
        {"[::1]:5000/x", "[::1]:5000", "[::1]:5000/x", "latest"},
        {"Host/x", "Host", "Host/x", "latest"},
        {"quay.io/a/b:1", "quay.io", "quay.io/a/b", "1"},
        {"index.docker.io/a/b", "docker.io", "index.docker.io/a/b", "latest"},
        {"x@sha256:" HEX32, "docker.io", "x@sha256:" HEX32, ""},
        {"r.io/x:1@sha256:" HEX32, "r.io", "r.io/x@sha256:" HEX32, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct image_ref r;
        print_message("%s\n", rows[i].text);
        assert_int_equal(image_ref_parse(rows[i].text, &r), 0);
        assert_string_equal(r.registry, rows[i].registry);
        assert_string_equal(r.repo, rows[i].repo);
        assert_string_equal(r.tag, rows[i].tag);
        assert_int_equal(image_ref_is_fixed(&r), strcmp(rows[i].tag, "latest") != 0);
    }
}

/* The form of names in Docker's RepoTags and RepoDigests. */
static void test_image_ref_familiar__as_docker_answers(void **state) {
    (void)state;
    static const struct {
        const char *text, *want;
        size_t repo;
    } rows[] = {
        {"redis", "redis:latest", 5},
        {"docker.io/library/redis:7", "redis:7", 5},
        {"index.docker.io/a/b:1", "a/b:1", 3},
        {"library/redis", "redis:latest", 5},
        {"localhost:5000/library/x", "localhost:5000/library/x:latest", 24},
        {"r:5000/x:1@sha256:" HEX32, "r:5000/x@sha256:" HEX32, 8},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[IMAGE_REF_MAX];
        print_message("%s\n", rows[i].text);
        assert_int_equal(image_ref_familiar(rows[i].text, out, sizeof(out)), 0);
        assert_string_equal(out, rows[i].want);
        assert_int_equal(image_ref_repo_len(out), rows[i].repo);
        assert_int_equal(image_ref_familiar(rows[i].text, out, strlen(rows[i].want)), -EINVAL);
    }
    char out[IMAGE_REF_MAX];
    assert_int_equal(image_ref_familiar("a//b", out, sizeof(out)), -EINVAL);
}

static void test_image_ref_parse__bad_names__einval(void **state) {
    (void)state;
    static const char *const rows[] = {
        "",
        ":1",
        "Redis",
        "a//b",
        "a/",
        "/a",
        "a:",
        "a:-x",
        "a:.x",
        "a b",
        "a:b c",
        "a_-b",
        "a___b",
        "-a",
        "a-",
        "r.io/",
        "-r.io/x",
        "r.io-/x",
        "r.io:/x",
        "r.io:x/y",
        "[::1/x",
        "[]/x",
        "a@",
        "a@sha256",
        "a@sha256:12",
        "a@2x:" HEX32,
        "a@sha256:" HEX32 "g",
        "@sha256:" HEX32,
        "https://r.io/x",
        "a\n",
        "a:1:2",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct image_ref r = {.tag = "kept"};
        print_message("%s\n", rows[i]);
        assert_int_equal(image_ref_parse(rows[i], &r), -EINVAL);
        assert_string_equal(r.tag, "kept");
    }
}

static void test_image_ref_parse__lengths__bounded(void **state) {
    (void)state;
    char name[IMAGE_REF_MAX * 2];
    struct image_ref r;
    for (size_t len = 1; len < sizeof(name); len++) {
        memset(name, 'a', len);
        name[len] = '\0';
        assert_int_equal(image_ref_parse(name, &r), len <= 255 ? 0 : -EINVAL);
        name[0] = 'x';
        if (len > 2) {
            name[1] = ':';
            assert_int_equal(image_ref_parse(name, &r), len - 2 <= 128 ? 0 : -EINVAL);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image_ref_parse__good_names__parts),
        cmocka_unit_test(test_image_ref_parse__bad_names__einval),
        cmocka_unit_test(test_image_ref_familiar__as_docker_answers),
        cmocka_unit_test(test_image_ref_parse__lengths__bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
