/* SPDX-License-Identifier: MPL-2.0 */
/* Several callers want the same image at the same time. One of them pulls for all; the tests check
 * what the others get when that caller fails or leaves. */
#include "fake/image_world.h"

#include <stdio.h>
#include <string.h>

static void test_images_acquire__many_together__one_pull(void **state) {
    enum { N = 8 };
    struct image_world *x = *state;
    struct image_user u[N];
    char id[N][8];
    fake_rules(&x->fake, "POST /images/create every=20 body=" L25 "\n" IMAGE_ABSENT(-1));
    image_restart_with(x, (struct images_options){.gc = true, .gc_delay_us = 1, .progress_us = 1});
    for (int i = 0; i < N; i++) {
        snprintf(id[i], sizeof(id[i]), "t%d", i);
        image_user_init(&u[i], x, id[i], "app:1");
        image_user_start(&u[i]);
    }
    for (int i = 0; i < N; i++)
        image_user_wait_progress(&u[i]); /* all of them get its progress */
    fake_rules(&x->fake, "GET /images/*/json body={\"Id\":\"sha256:5ca1ab1e\"}");
    for (int i = 0; i < N; i++) {
        image_user_join(&u[i]);
        assert_int_equal(u[i].r, 0);
        assert_int_equal(u[i].downloading, 1);
        assert_non_null(strstr(u[i].last, "Pulled 0/1 (1B/2B) layers: 0 waiting/1 pulling"));
    }
    assert_int_equal(fake_count(&x->fake, IMAGE_PULL), 1);
    /* Each holds it. */
    for (int i = 0; i < N - 1; i++)
        image_release(x, id[i]);
    image_fence(x);
    assert_int_equal(fake_count(&x->fake, IMAGE_DELETE), 0);
    image_release(x, id[N - 1]);
    image_wait_count(x, IMAGE_DELETE, 1);
    for (int i = 0; i < N; i++)
        image_user_done(&u[i]);
}

static void test_images_acquire__failed_pull__is_that_of_all_and_not_of_the_next(void **state) {
    struct image_world *x = *state;
    struct image_user a, b;
    image_restart_with(x, (struct images_options){.progress_us = 1});
    fake_rules(&x->fake, "POST /images/create times=1 every=20 body=" L25
                         "{\"error\":\"went wrong\"}\n" IMAGE_PULL_OK);
    image_user_init(&a, x, "a", "app");
    image_user_init(&b, x, "b", "app");
    image_user_start(&a);
    image_user_wait_progress(&a);
    image_user_start(&b);
    image_user_join(&a);
    image_user_join(&b);
    assert_int_equal(a.r, -EIO);
    assert_int_equal(b.r, -EIO);
    assert_string_equal(b.err.text, "Failed to pull `app`: went wrong");
    assert_int_equal(fake_count(&x->fake, IMAGE_PULL), 1);
    image_acquire(x, "c", "app");
    assert_int_equal(fake_count(&x->fake, IMAGE_PULL), 2);
    image_user_done(&a);
    image_user_done(&b);
}

static void test_images_acquire__other_credentials__other_pull(void **state) {
    struct image_world *x = *state;
    struct image_user a, b;
    image_restart_with(x, (struct images_options){.progress_us = 1});
    fake_rules(&x->fake, "POST /images/create times=1 every=20 body=" L25
                         "{\"error\":\"unauthorized\"}\n" IMAGE_PULL_OK);
    image_user_init(&a, x, "a", "app");
    image_user_init(&b, x, "b", "app");
    a.want.password = "wrong";
    b.want.password = "right";
    image_user_start(&a);
    image_user_wait_progress(&a);
    image_user_start(&b);
    image_user_join(&a);
    image_user_join(&b);
    assert_int_equal(a.r, -EIO);
    assert_int_equal(b.r, 0);
    image_user_done(&a);
    image_user_done(&b);
}

/* @a leads a pull that never ends, @b waits for it. The second pull succeeds. */
static void lead_and_wait(struct image_world *x, struct image_user *a, struct image_user *b) {
    image_restart_with(x, (struct images_options){.progress_us = 1});
    fake_rules(&x->fake, "POST /images/create times=1 stall every=20 body=" L25 L25 L25 L25
                         "\n" IMAGE_PULL_OK);
    image_user_start(a);
    image_user_wait_progress(a);
    image_user_start(b);
    image_user_wait_progress(b);
    assert_int_equal(fake_count(&x->fake, IMAGE_PULL), 1);
}

static void test_images_acquire__leader_cancelled__next_takes_over(void **state) {
    struct image_world *x = *state;
    struct image_user a, b;
    image_user_init(&a, x, "a", "app");
    image_user_init(&b, x, "b", "app");
    lead_and_wait(x, &a, &b);
    cancel_fire(&a.cancel);
    image_user_join(&a);
    assert_int_equal(a.r, -ECANCELED);
    image_user_join(&b);
    assert_int_equal(b.r, 0);
    assert_string_equal(b.image.id, "sha256:5ca1ab1e");
    assert_int_equal(fake_count(&x->fake, IMAGE_PULL), 2);
    image_user_done(&a);
    image_user_done(&b);
}

static void test_images_acquire__leaders_time_over__next_takes_over(void **state) {
    struct image_world *x = *state;
    struct image_user a, b;
    image_user_init(&a, x, "a", "app");
    image_user_init(&b, x, "b", "app");
    a.want.pull_timeout_us = 1500 * US_PER_MS;
    lead_and_wait(x, &a, &b);
    image_user_join(&a);
    assert_int_equal(a.r, -ETIMEDOUT);
    assert_int_equal(a.err.cls, ERR_RECOVERABLE);
    assert_string_equal(a.err.text, "Failed to pull `app`: it took longer than image_pull_timeout");
    image_user_join(&b);
    assert_int_equal(b.r, 0);
    assert_int_equal(fake_count(&x->fake, IMAGE_PULL), 2);
    image_user_done(&a);
    image_user_done(&b);
}

static void test_images_acquire__waiter_leaves__leader_continues(void **state) {
    struct image_world *x = *state;
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        struct image_user a, b;
        int before = fake_count(&x->fake, IMAGE_PULL);
        image_user_init(&a, x, "a", "app");
        image_user_init(&b, x, "b", "app");
        if (!cancelled)
            b.want.pull_timeout_us = 300 * US_PER_MS;
        image_restart_with(x, (struct images_options){.progress_us = 1});
        fake_rules(&x->fake, "POST /images/create times=1 every=20 body=" L25 L25 L25 L25);
        image_user_start(&a);
        image_user_wait_progress(&a);
        image_user_start(&b);
        image_user_wait_progress(&b);
        if (cancelled)
            cancel_fire(&b.cancel);
        image_user_join(&b);
        assert_int_equal(b.r, cancelled ? -ECANCELED : -ETIMEDOUT);
        assert_int_equal(b.err.cls, ERR_RECOVERABLE);
        if (!cancelled)
            assert_string_equal(b.err.text,
                                "Failed to pull `app`: it took longer than image_pull_timeout");
        image_user_join(&a);
        assert_int_equal(a.r, 0);
        assert_int_equal(fake_count(&x->fake, IMAGE_PULL), before + 1);
        image_user_done(&a);
        image_user_done(&b);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, image_setup, image_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_images_acquire__many_together__one_pull),
        T(test_images_acquire__failed_pull__is_that_of_all_and_not_of_the_next),
        T(test_images_acquire__other_credentials__other_pull),
        T(test_images_acquire__leader_cancelled__next_takes_over),
        T(test_images_acquire__leaders_time_over__next_takes_over),
        T(test_images_acquire__waiter_leaves__leader_continues),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
