/* SPDX-License-Identifier: MPL-2.0 */
/* The image of a StartTask: what the image module (a double, fake_images.c) is asked for, and a
 * container that is created before it is known that the image is present. */
#include "fake/start_world.h"

#include <stdio.h>
#include <string.h>

/* ---- Created before the image is known to be present ---- */

static void look_ahead(struct world_web *x) {
    world_driver_restart(&x->w);
    fake_images_look_ahead(true);
}

static int teardown_look_ahead(void **state) {
    fake_images_look_ahead(false);
    assert_int_equal(fake_images_looks(), 0);
    return world_web_teardown(state);
}

static void test_start__image_is_here__one_create(void **state) {
    struct world_web *x = *state;
    look_ahead(x);
    world_run(&x->w, &x->task, NULL);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 1);
    assert_int_equal(fake_images_held(), 1);
}

/* Docker does not know the image. The container is created again after the pull. */
static void test_start__image_is_not_here__created_after_the_pull(void **state) {
    struct world_web *x = *state;
    look_ahead(x);
    fake_rules(&x->w.fake, "POST /containers/create times=1 status=404 "
                           "body={\"message\":\"No such image: busybox\"}\n");
    world_run(&x->w, &x->task, NULL);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 2);
    assert_int_equal(world_containers(&x->w), 1);
    assert_int_equal(fake_images_held(), 1);
}

/* Whether the container was created or not: neither it nor the open image request stays. */
static void test_start__image_cannot_be_held__undone(void **state) {
    struct world_web *x = *state;
    struct err err;
    for (int made = 0; made < 2; made++) {
        look_ahead(x);
        fake_images_fail(-EIO);
        fake_rules(&x->w.fake, made ? "GET /none status=404\n"
                                    : "POST /containers/create times=1 status=404\n");
        assert_int_equal(start_world_fails(x, &err), -EIO);
        assert_int_equal(err.cls, ERR_RECOVERABLE);
        start_world_undone(x, 0);
    }
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 2);
}

/* Docker refuses the container for a reason that is not its image. The error is Docker's. */
static void test_start__create_refused__image_not_waited_for(void **state) {
    struct world_web *x = *state;
    struct err err;
    look_ahead(x);
    fake_images_fail(-EIO);
    fake_rules(&x->w.fake, "POST /containers/create status=400 body={\"message\":\"bad\"}\n");
    assert_int_equal(start_world_fails(x, &err), -EINVAL);
    assert_non_null(strstr(err.text, "bad"));
    start_world_undone(x, 0);
    fake_images_fail(0);
}

/* Something other than the image does not exist. Docker may have searched for it for a long time,
 * so the create is not repeated. */
static void test_start__create_404_and_image_is_here__not_repeated(void **state) {
    struct world_web *x = *state;
    struct err err;
    look_ahead(x);
    fake_rules(&x->w.fake, "POST /containers/create status=404 "
                           "body={\"message\":\"plugin \\\"nfs\\\" not found\"}\n");
    assert_int_equal(start_world_fails(x, &err), -ENOENT);
    assert_non_null(strstr(err.text, "plugin \"nfs\" not found"));
    assert_int_equal(err.cls, ERR_RECOVERABLE);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 1);
    start_world_undone(x, 0);
}

/* ---- Fields that the image module gets ---- */

/* "=@" in @want stands for "=" and the alloc folder. */
static void wants(struct world_web *x, const char *plugin, const char *job, const char *want) {
    char expected[1024] = "";
    for (size_t len; *want; want += len) {
        const char *at = strstr(want, "=@");
        len = at ? (size_t)(at - want) : strlen(want);
        snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected), "%.*s%s%s",
                 (int)len, want, at ? "=" : "", at ? x->task.alloc_dir : "");
        len += at ? 2 : 0;
    }
    struct err err;
    world_driver_free(&x->w);
    world_driver_new(&x->w, plugin);
    fake_images_fail(-EIO);
    struct task_config task = TAKE_STRUCT(x->task);
    world_task(&x->w, &x->task, "web", job);
    task_config_done(&task);
    start_world_fails(x, &err);
    assert_string_equal(fake_images_wanted(), expected);
}

static void test_start__image_fields__reach_the_image_module(void **state) {
    static const struct {
        const char *plugin, *job, *want;
    } rows[] = {
        {"{}", "{\"image\":\"https://r.io/i:1\"}",
         "r.io/i:1 load= below=@ force=0 auth=:@ soft=0 within=300"},
        {"{}", "{\"image\":\"i\",\"force_pull\":true,\"auth_soft_fail\":true,\"load\":\"a/b.tar\"}",
         "i load=@/web/local/a/b.tar below=@ force=1 auth=:@ soft=1 within=300"},
        {"{}",
         "{\"image\":\"i\",\"auth\":{\"username\":\"u\",\"password\":\"p\",\"email\":\"e\","
         "\"server_address\":\"s\"}}",
         "i load= below=@ force=0 auth=u:p@s soft=0 within=300"},
        {"{\"volumes\":{\"enabled\":true}}", "{\"image\":\"i\"}",
         "i load= below= force=0 auth=:@ soft=0 within=300"},
        {"{}", "{\"image\":\"i\",\"image_pull_timeout\":\"25h\"}",
         "i load= below=@ force=0 auth=:@ soft=0 within=90000"},
        {"{\"image_pull_timeout\":\"7m\"}", "{\"image\":\"i\"}",
         "i load= below=@ force=0 auth=:@ soft=0 within=420"},
        {"{\"image_pull_timeout\":\"7m\"}", "{\"image\":\"i\",\"image_pull_timeout\":\"5s\"}",
         "i load= below=@ force=0 auth=:@ soft=0 within=5"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        wants(*state, rows[i].plugin, rows[i].job, rows[i].want);
}

static void test_start__plugins_image_fields__reach_the_image_module(void **state) {
    static const struct {
        const char *plugin, *options;
    } rows[] = {
        {"{}", "gc=1 delay=180 activity=120 config= helper="},
        {"{\"gc\":{\"image\":false,\"image_delay\":\"1.5s\"},\"pull_activity_timeout\":\"1h\"}",
         "gc=0 delay=1.5 activity=3600 config= helper="},
        {"{\"auth\":{\"config\":\"/f\",\"helper\":\"h\"}}",
         "gc=1 delay=180 activity=120 config=/f helper=h"},
    };
    struct world_web *x = *state;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        world_driver_free(&x->w);
        world_driver_new(&x->w, rows[i].plugin);
        fake_images_fail(-EIO);
        start_world_fails(x, &err);
        assert_string_equal(fake_images_options(), rows[i].options);
    }
}

#define AHEAD(f) cmocka_unit_test_setup_teardown(f, start_world_setup, teardown_look_ahead)
static const struct CMUnitTest tests[] = {
    AHEAD(test_start__image_is_here__one_create),
    AHEAD(test_start__image_is_not_here__created_after_the_pull),
    AHEAD(test_start__image_cannot_be_held__undone),
    AHEAD(test_start__create_refused__image_not_waited_for),
    AHEAD(test_start__create_404_and_image_is_here__not_repeated),
    START_WORLD_T(test_start__image_fields__reach_the_image_module),
    START_WORLD_T(test_start__plugins_image_fields__reach_the_image_module),
};
WORLD_MAIN(tests)
