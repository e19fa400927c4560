/* SPDX-License-Identifier: MPL-2.0 */
/* The progress stream of a pull, cut at any byte, and the error texts that mean that an image does
 * not exist. */
#include "src/image/image_progress.h"
#include "src/image/image_pull.h"

#include "paddock/clock.h"
#include "unit/cm.h"

#include <string.h>

#define LINE(id, status, detail)                                                                   \
    "{\"status\":\"" status "\",\"progressDetail\":{" detail "},\"id\":\"" id "\"}\r\n"
#define AT(current, total) "\"current\":" #current ",\"total\":" #total

static const char stream[] =
    "{\"status\":\"Pulling from library/x\",\"id\":\"7\"}\r\n" LINE("aaa", "Pulling fs layer", "")
        LINE("bbb", "Pulling fs layer", "") LINE("ccc", "Waiting", "")
            LINE("ddd", "Already exists", "") LINE("aaa", "Downloading", AT(1048576, 4194304))
                LINE("bbb", "Downloading", AT(512, 1024)) LINE("bbb", "Verifying Checksum", "")
                    LINE("bbb", "Download complete", "") LINE("bbb", "Extracting", AT(7, 9))
                        LINE("ccc", "Retrying in 5 seconds",
                             "") "{\"status\":\"Digest: sha256:0\"}\r\n\r\n";

static void test_image_progress_feed__cut_at_any_byte__the_same_figures(void **state) {
    (void)state;
    for (size_t cut = 0; cut <= sizeof(stream) - 1; cut++) {
        struct image_progress p;
        char text[256];
        image_progress_init(&p);
        assert_int_equal(image_progress_feed(&p, stream, cut), 0);
        assert_int_equal(image_progress_feed(&p, stream + cut, sizeof(stream) - 1 - cut), 0);
        assert_int_equal(image_progress_end(&p), 0);
        image_progress_text(&p, 10 * US_PER_SEC, text, sizeof(text));
        /* 1 MiB + 1 KiB of 4 MiB + 1 KiB after 10 s */
        assert_string_equal(text, "Pulled 2/4 (1.001MiB/4.001MiB) layers: 1 waiting/1 pulling"
                                  " - est 30.0s remaining");
        assert_string_equal(p.error, "");
        image_progress_done(&p);
    }
}

static void test_image_progress_text__each_state__counted(void **state) {
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", "Pulled 0/0 (0B/0B) layers: 0 waiting/0 pulling"},
        {LINE("a", "Pulling fs layer", ""), "Pulled 0/1 (0B/0B) layers: 1 waiting/0 pulling"},
        {LINE("a", "Waiting", ""), "Pulled 0/1 (0B/0B) layers: 1 waiting/0 pulling"},
        {LINE("a", "Downloading", AT(0, 10)), "Pulled 0/1 (0B/10B) layers: 0 waiting/1 pulling"},
        {LINE("a", "Downloading", AT(10, 10)), "Pulled 0/1 (10B/10B) layers: 0 waiting/1 pulling"},
        {LINE("a", "Downloading", AT(9, 10)) LINE("a", "Verifying Checksum", ""),
         "Pulled 0/1 (9B/10B) layers: 0 waiting/1 pulling - est 1.1s remaining"},
        {LINE("a", "Downloading", AT(9, 10)) LINE("a", "Download complete", ""),
         "Pulled 1/1 (10B/10B) layers: 0 waiting/0 pulling"},
        {LINE("a", "Extracting", AT(9, 10)), "Pulled 1/1 (0B/0B) layers: 0 waiting/0 pulling"},
        {LINE("a", "Pull complete", ""), "Pulled 1/1 (0B/0B) layers: 0 waiting/0 pulling"},
        {LINE("a", "Already exists", ""), "Pulled 1/1 (0B/0B) layers: 0 waiting/0 pulling"},
        {LINE("a", "Something new", ""), "Pulled 0/0 (0B/0B) layers: 0 waiting/0 pulling"},
        {LINE("a", "Downloading", AT(-5, -9)), "Pulled 0/1 (0B/0B) layers: 0 waiting/1 pulling"},
        {LINE("a", "Downloading", AT(1610612736, 3221225472)),
         "Pulled 0/1 (1.5GiB/3GiB) layers: 0 waiting/1 pulling - est 10.0s remaining"},
        /* two ids that differ only after the length that we keep count as one layer */
        {LINE("0123456789012345678901234567890", "Waiting", "")
             LINE("0123456789012345678901234567890", "Downloading", ""),
         "Pulled 0/1 (0B/0B) layers: 0 waiting/1 pulling"},
        {"{\"status\":\"Downloading\"}\n{\"id\":\"x\"}\n[]\n7\n\"s\"\n{\"id\":7,\"status\":8}\n",
         "Pulled 0/0 (0B/0B) layers: 0 waiting/0 pulling"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct image_progress p;
        char text[256];
        image_progress_init(&p);
        print_message("%s\n", rows[i].text);
        int r = image_progress_feed(&p, rows[i].text, strlen(rows[i].text));
        image_progress_text(&p, 10 * US_PER_SEC, text, sizeof(text));
        assert_int_equal(r, i + 1 == ARRAY_LEN(rows) ? -EPROTO : 0);
        assert_string_equal(text, rows[i].want);
        image_progress_done(&p);
    }
}

static void test_image_progress_feed__error__the_first_is_kept(void **state) {
    (void)state;
    static const char *const rows[] = {
        "{\"errorDetail\":{\"message\":\"no such\"},\"error\":\"no "
        "such\"}\r\n{\"error\":\"later\"}\r\n",
        "{\"status\":\"Waiting\",\"id\":\"a\"}\r\n{\"error\":\"no such\"}", /* no newline */
        "{\"errorDetail\":{\"code\":1,\"message\":\"no "
        "such\"}}\n{\"errorDetail\":{\"message\":\"later\"}}\n",
        "{\"errorDetail\":{\"message\":\"\"},\"error\":\"no such\"}\n",
        "{\"errorDetail\":7,\"error\":\"no such\"}\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct image_progress p;
        image_progress_init(&p);
        assert_int_equal(image_progress_feed(&p, rows[i], strlen(rows[i])), 0);
        assert_int_equal(image_progress_end(&p), 0);
        assert_string_equal(p.error, "no such");
        image_progress_done(&p);
    }
}

/* A registry's error text with a NUL is reported like any other. */
static void test_image_progress_feed__nul_in_an_error__reported(void **state) {
    static const char text[] = "{\"error\":\"denied\\u0000by us\",\"n\":99999999999999999999}\n";
    (void)state;
    struct image_progress p;
    image_progress_init(&p);
    assert_int_equal(image_progress_feed(&p, text, sizeof(text) - 1), 0);
    assert_string_equal(p.error, "denied\xef\xbf\xbd"
                                 "by us");
    image_progress_done(&p);
}

static void test_image_progress_feed__hostile__bounded(void **state) {
    (void)state;
    static const char *const bad[] = {"<html>\n", "{\"a\":\n", "{} {}\n", "\x00\n", "\xff\xff\n"};
    struct image_progress p;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        image_progress_init(&p);
        assert_int_equal(image_progress_feed(&p, bad[i], i == 3 ? 2 : strlen(bad[i])), -EPROTO);
        image_progress_done(&p);
    }
    image_progress_init(&p);
    for (int i = 0; i < 1000; i++) {
        char line[128];
        int n = snprintf(line, sizeof(line),
                         "{\"id\":\"%d\",\"status\":\"Downloading\",\"progressDetail\":"
                         "{\"current\":9223372036854775807,\"total\":9223372036854775807}}\n",
                         i);
        assert_int_equal(image_progress_feed(&p, line, (size_t)n), 0);
    }
    assert_int_equal(p.n, IMAGE_LAYERS_MAX);
    char text[256];
    image_progress_text(&p, UINT64_MAX, text, sizeof(text));
    assert_non_null(strstr(text, "0 waiting/256 pulling"));
    image_progress_done(&p);
}

/* Feeds @head, @n times @c, @tail and a line with a layer's progress, in pieces of @piece bytes. */
static void feed_long(struct image_progress *p, const char *head, char c, size_t n,
                      const char *tail, size_t piece) {
    static const char after[] = "\n" LINE("a", "Downloading", AT(1, 2));
    size_t len = strlen(head) + n + strlen(tail) + sizeof(after) - 1;
    char *text = malloc(len + 1);
    assert_non_null(text);
    size_t at = (size_t)sprintf(text, "%s", head);
    memset(text + at, c, n);
    sprintf(text + at + n, "%s%s", tail, after);
    image_progress_init(p);
    for (size_t i = 0; i < len; i += piece)
        assert_int_equal(image_progress_feed(p, text + i, len - i < piece ? len - i : piece), 0);
    free(text);
}

/* A long line is not an error. An error in a long line is found. */
static void test_image_progress_feed__long_line__skipped_except_its_error(void **state) {
    (void)state;
    static const struct {
        const char *head, *tail, *error;
    } rows[] = {
        {"<html>", "</html>", ""},
        {"{\"status\":\"", "\",\"id\":\"a\"}", ""},
        {"{\"errorDetail\":{\"message\":\"registry says <html>\\n\\\"no\\\" ",
         "\"},\"error\":\"\"}", "registry says <html>\n\"no\" x"},
        {"{\"error\" : \"denied: ", "\"}", "denied: x"},
        {"{\"error\": 7, \"message\":\"\\ud83d\\ude00 ", "\"}", "\xf0\x9f\x98\x80 x"},
    };
    static const size_t lengths[] = {65536 - 1, 65536, 70000, 300000},
                        pieces[] = {1, 4096, 1 << 20};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t k = 0; k < ARRAY_LEN(lengths) * ARRAY_LEN(pieces); k++) {
            struct image_progress p;
            feed_long(&p, rows[i].head, 'x', lengths[k / ARRAY_LEN(pieces)], rows[i].tail,
                      pieces[k % ARRAY_LEN(pieces)]);
            assert_int_equal(strncmp(p.error, rows[i].error, strlen(rows[i].error)), 0);
            assert_int_equal(p.error[0] != '\0', rows[i].error[0] != '\0');
            assert_int_equal(p.n, 1); /* the next line is read as usual */
            assert_true(p.line.len <= 65536);
            image_progress_done(&p);
        }
    }
}

/* The longest error text that is kept ends with a whole character. */
static void test_image_progress_feed__long_error__cut_between_characters(void **state) {
    (void)state;
    for (int shift = 0; shift < 12; shift++) {
        struct image_progress p;
        char head[64] = "{\"error\":\"";
        memset(head + strlen(head), 'x', (size_t)shift);
        size_t units = 10000;
        AUTO_FREE char *tail = calloc(1, units * 12 + 3);
        assert_non_null(tail);
        for (size_t i = 0; i < units; i++)
            memcpy(tail + i * 12, "\\ud83d\\ude00", 12);
        memcpy(tail + units * 12, "\"}", 2);
        feed_long(&p, head, 'x', 0, tail, 4096);
        assert_int_equal((strlen(p.error) - (size_t)shift) % 4, 0);
        assert_true(strlen(p.error) > 100);
        image_progress_done(&p);
    }
}

/* Docker 29 repeats a layer's line while no data arrives. */
static void test_image_progress_feed__repeated_line__no_change(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t changes;
    } rows[] = {
        {"", 0},
        {LINE("a", "Downloading", AT(1, 9)), 1},
        {LINE("a", "Downloading", AT(1, 9)) LINE("a", "Downloading", AT(1, 9)), 1},
        {LINE("a", "Downloading", AT(1, 9)) LINE("a", "Downloading", AT(2, 9)), 2},
        /* two layers in turn */
        {LINE("a", "Downloading", AT(1, 9)) LINE("b", "Downloading", AT(1, 9))
             LINE("a", "Downloading", AT(1, 9)) LINE("b", "Downloading", AT(1, 9)),
         2},
        {LINE("a", "Waiting", "") LINE("a", "Downloading", AT(0, 9)), 2},
        {"{\"status\":\"x\"}\n{\"status\":\"x\"}\n{\"status\":\"y\"}\n\n\n", 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct image_progress p;
        image_progress_init(&p);
        assert_int_equal(image_progress_feed(&p, rows[i].text, strlen(rows[i].text)), 0);
        assert_int_equal(p.changes, rows[i].changes);
        image_progress_done(&p);
    }
}

static void test_image_pull_is_absent__rows(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool absent;
    } rows[] = {
        {"Error: image library/x:1 not found", true},
        {"reported: Error: image a/b:c not found in it", true},
        {"Error: image not found",
         false}, /* no image name: the built-in driver's pattern does not match */
        {"Error: image  not found", false},
        {"image x not found", false},
        {"manifest for x:1 not found: manifest unknown", false},
        {"pull access denied for x, repository does not exist", false},
        {"Error: image x was found", false},
        /* no image exists for this machine, and a retry does not help */
        {"no matching manifest for linux/amd64 in the manifest list entries", true},
        {"no matching manifest for linux/amd64 in the manifest list entries: no match for platform "
         "in manifest: not found",
         true},
        {"image with reference app:1 was found but does not provide the specified platform "
         "(linux/amd64)",
         true},
        {"", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        print_message("%s\n", rows[i].text);
        assert_int_equal(image_pull_is_absent(rows[i].text), rows[i].absent);
    }
}

static void test_image_pull_is_due__two_minutes_by_default(void **state) {
    (void)state;
    static const struct {
        uint64_t progress_us, quiet_us;
        bool due;
    } rows[] = {
        {0, 0, false}, {0, 120 * US_PER_SEC - 1, false}, {0, 120 * US_PER_SEC, true}, {5, 4, false},
        {5, 5, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct image_pull p = {.progress_us = rows[i].progress_us};
        assert_int_equal(image_pull_is_due(&p, rows[i].quiet_us), rows[i].due);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image_progress_feed__cut_at_any_byte__the_same_figures),
        cmocka_unit_test(test_image_progress_text__each_state__counted),
        cmocka_unit_test(test_image_progress_feed__error__the_first_is_kept),
        cmocka_unit_test(test_image_progress_feed__nul_in_an_error__reported),
        cmocka_unit_test(test_image_progress_feed__hostile__bounded),
        cmocka_unit_test(test_image_progress_feed__long_line__skipped_except_its_error),
        cmocka_unit_test(test_image_progress_feed__long_error__cut_between_characters),
        cmocka_unit_test(test_image_progress_feed__repeated_line__no_change),
        cmocka_unit_test(test_image_pull_is_absent__rows),
        cmocka_unit_test(test_image_pull_is_due__two_minutes_by_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
