/* SPDX-License-Identifier: MPL-2.0 */
/* The metrics of image pulls. A pull that Docker answers with 200 and ends with an error in its
 * stream has failed, and several tasks that wait for one pull are one pull. */
#include "fake/image_world.h"
#include "paddock/strv.h"

#include <stdio.h>
#include <string.h>

/* A layer that is downloaded (70 bytes), one that exists, and one of which only the end comes. */
#define DOWNLOADED                                                                                 \
    "POST /images/create every=1 body="                                                            \
    "{\"status\":\"Downloading\",\"id\":\"a\",\"progressDetail\":{\"current\":9,\"total\":70}}\\n" \
    "{\"status\":\"Download complete\",\"id\":\"a\"}\\n"                                           \
    "{\"status\":\"Extracting\",\"id\":\"a\",\"progressDetail\":{\"current\":500,\"total\":500}}"  \
    "\\n{\"status\":\"Already exists\",\"id\":\"b\"}\\n"                                           \
    "{\"status\":\"Pull complete\",\"id\":\"c\"}\\n"
/* 9 of 70 bytes, then Docker reports an error. */
#define BROKEN                                                                                     \
    "POST /images/create every=1 body="                                                            \
    "{\"status\":\"Downloading\",\"id\":\"a\",\"progressDetail\":{\"current\":9,\"total\":70}}\\n" \
    "{\"error\":\"unexpected EOF\"}\\n"

static void assert_line(struct image_world *x, const char *name, unsigned long long value) {
    AUTO_BUF struct buf b;
    buf_init(&b, 1u << 20);
    assert_int_equal(images_metrics(x->images, &b), 0);
    char line[160];
    snprintf(line, sizeof(line), "\n%s %llu\n", name, value);
    if (!strstr(buf_text(&b), line))
        fail_msg("no line \"%s %llu\" in:\n%s", name, value, buf_text(&b));
}

static void pull(struct image_world *x, const char *rule, int want_r) {
    fake_rules(&x->fake, rule);
    struct image_user u;
    image_user_init(&u, x, "task", "app");
    image_user_acquire(&u);
    assert_int_equal(u.r, want_r);
    image_user_done(&u);
}

static void test_images_metrics__each_result__counted(void **state) {
    static const struct {
        const char *rule, *result;
        int r;
        unsigned long long count, bytes, succeeded; /* sums, after this pull */
    } rows[] = {
        {DOWNLOADED, "ok", 0, 1, 70, 1},
        {DOWNLOADED, "ok", 0, 2, 140, 2},
        {BROKEN, "error", -EIO, 1, 149, 2},
        {"POST /images/create status=500 body={\"message\":\"toomanyrequests\"}", "error", -EIO, 2,
         149, 2},
        {"POST /images/create status=404 body={\"message\":\"pull access denied for app\"}",
         "not_found", -ENOENT, 1, 149, 2},
        {"POST /images/create body={\"error\":\"manifest for app:1 not found: manifest unknown\"}",
         "not_found", -ENOENT, 2, 149, 2},
        {"POST /images/create hang", "timeout", -ETIMEDOUT, 1, 149, 2},
    };
    struct image_world *x = *state;
    image_restart_with(x, (struct images_options){.activity_timeout_us = 400 * US_PER_MS});
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char name[80];
        snprintf(name, sizeof(name), "paddock_image_pulls_total{result=\"%s\"}", rows[i].result);
        assert_line(x, name, rows[i].count - 1);
        pull(x, rows[i].rule, rows[i].r);
        assert_line(x, name, rows[i].count);
        assert_line(x, "paddock_image_pull_bytes_total", rows[i].bytes);
        assert_line(x, "paddock_image_pull_duration_seconds_count", rows[i].succeeded);
    }
    assert_line(x, "paddock_image_pulls_total{result=\"cancelled\"}", 0);
}

static void test_images_metrics__cancelled__counted(void **state) {
    struct image_world *x = *state;
    fake_rules(&x->fake, "POST /images/create hang");
    struct image_user u;
    image_user_init(&u, x, "task", "app");
    image_user_start(&u);
    image_wait_count(x, IMAGE_PULL, 1);
    cancel_fire(&u.cancel);
    image_user_join(&u);
    assert_int_equal(u.r, -ECANCELED);
    image_user_done(&u);
    assert_line(x, "paddock_image_pulls_total{result=\"cancelled\"}", 1);
    assert_line(x, "paddock_image_pulls_total{result=\"error\"}", 0);
}

static void test_images_metrics__two_wait_for_one_pull__one(void **state) {
    struct image_world *x = *state;
    image_restart_with(x, (struct images_options){.progress_us = 1});
    fake_rules(&x->fake, "POST /images/create every=20 body=" L25 L25 L25 L25);
    struct image_user a, b;
    image_user_init(&a, x, "a", "app");
    image_user_init(&b, x, "b", "app");
    image_user_start(&a);
    image_user_wait_progress(&a);
    image_user_start(&b);
    image_user_wait_progress(&b);
    image_user_join(&a);
    image_user_join(&b);
    assert_int_equal(a.r, 0);
    assert_int_equal(b.r, 0);
    image_user_done(&a);
    image_user_done(&b);
    assert_line(x, "paddock_image_pulls_total{result=\"ok\"}", 1);
}

/* What is not pulled is not counted: an image that is present. */
static void test_images_metrics__present__not_counted(void **state) {
    struct image_world *x = *state;
    image_acquire(x, "a", "app:1");
    assert_line(x, "paddock_image_pulls_total{result=\"ok\"}", 0);
    assert_line(x, "paddock_image_pull_duration_seconds_count", 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, image_setup, image_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_images_metrics__each_result__counted),
        T(test_images_metrics__cancelled__counted),
        T(test_images_metrics__two_wait_for_one_pull__one),
        T(test_images_metrics__present__not_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
