/* SPDX-License-Identifier: MPL-2.0 */
/* StartTask with a dockerd that refuses, cuts off connections or hangs: what Nomad gets, and that a
 * failed start leaves nothing. What dockerd does then: docs/internals/docker.md, Create and
 * start. */
#include "fake/start_world.h"

#include <string.h>

struct refusal {
    const char *rule, *text;
    enum err_class cls;
    const char *request;
    int count; /* of the requests */
};

/* @most: the request comes between row->count and that many times. */
static void refuse_between(struct world_web *x, const struct refusal *row, int most) {
    struct err err;
    fake_rules(&x->w.fake, row->rule);
    start_world_fails(x, &err);
    if (err.cls != row->cls || !strstr(err.text, row->text))
        fail_msg("%s: class %d \"%s\"", row->rule, err.cls, err.text);
    int asked = fake_count(&x->w.fake, row->request);
    if (asked < row->count || asked > most)
        fail_msg("%s: asked %d times", row->rule, asked);
    fake_control(&x->w.fake, "POST", "reset", "", NULL, 0);
    start_world_undone(x, 0);
}

static void refuse(struct world_web *x, const struct refusal *row) {
    refuse_between(x, row, row->count);
}

static void test_start__create_404__recoverable(void **state) {
    refuse(*state,
           &(struct refusal){
               "POST /containers/create status=404 body={\"message\":\"No such image: x\"}\n",
               "Failed to create container: No such image", ERR_RECOVERABLE,
               "POST /containers/create", 1});
}

/* The image exists, but not for this platform. A retry cannot change that. */
static void test_start__create_404_of_the_platform__not_recoverable(void **state) {
    refuse(*state, &(struct refusal){"POST /containers/create status=404 body={\"message\":\"image "
                                     "with reference x was found but does not provide the "
                                     "specified platform (linux/amd64)\"}\n",
                                     "does not provide the specified platform", ERR_PLAIN,
                                     "POST /containers/create", 1});
}

static void test_start__create_400__not_recoverable(void **state) {
    refuse(*state,
           &(struct refusal){
               "POST /containers/create status=400 body={\"message\":\"invalid reference\"}\n",
               "invalid reference", ERR_PLAIN, "POST /containers/create", 1});
}

/* Like the built-in driver: when recoverable, the restart policy would repeat it without end. */
static void test_start__create_500__retried_then_final(void **state) {
    refuse(*state, &(struct refusal){
                       "POST /containers/create status=500 body={\"message\":\"disk full\"}\n",
                       "disk full", ERR_PLAIN, "POST /containers/create", 5});
}

static void test_start__create_500_duplicate_mount__recoverable(void **state) {
    refuse(
        *state,
        &(struct refusal){
            "POST /containers/create status=400 body={\"message\":\"duplicate mount point: /a\"}\n",
            "duplicate mount point", ERR_RECOVERABLE, "POST /containers/create", 1});
}

/* Five attempts. libcurl repeats a request without being asked when it used a kept-alive
 * connection. Whether it did depends on the fingerprint and the event stream, which run at the same
 * time. */
static void test_start__create_cut_off__retried_then_recoverable(void **state) {
    refuse_between(*state,
                   &(struct refusal){"POST /containers/create drop\n", "Failed to create container",
                                     ERR_RECOVERABLE, "POST /containers/create", 5},
                   10);
}

static void test_start__create_hangs__recoverable(void **state) {
    refuse(*state, &(struct refusal){"POST /containers/create hang\n", "Failed to create container",
                                     ERR_RECOVERABLE, "POST /containers/create", 1});
}

static void test_start__create_works_at_third_try__runs(void **state) {
    struct world_web *x = *state;
    fake_rules(&x->w.fake,
               "POST /containers/create times=2 status=500 body={\"message\":\"busy\"}\n");
    world_run(&x->w, &x->task, NULL);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 3);
}

/* dockerd creates the container, but answers after our deadline. The container must not stay. */
static void test_start__create_answers_too_late__removed(void **state) {
    struct world_web *x = *state;
    struct err err;
    start_world_conflict(x, "a1/web/earlier", false);
    fake_rules(&x->w.fake, "POST /containers/create hang\n");
    start_world_fails(x, &err);
    assert_int_equal(err.cls, ERR_RECOVERABLE);
    start_world_undone(x, 0);
}

/* The answer to the first request is lost, and the later requests are refused. The container that
 * the first request made must be removed. */
static void test_start__create_cut_off_then_500__removed(void **state) {
    struct world_web *x = *state;
    struct err err;
    start_world_conflict(x, "a1/web/earlier", false);
    fake_rules(&x->w.fake, "POST /containers/create times=1 drop\n"
                           "POST /containers/create status=500 body={\"message\":\"busy\"}\n");
    start_world_fails(x, &err);
    assert_int_equal(err.cls, ERR_PLAIN);
    start_world_undone(x, 0);
}

static void test_start__start_404__plain(void **state) {
    refuse(*state,
           &(struct refusal){
               "POST /containers/*/start status=404 body={\"message\":\"No such container\"}\n",
               "Failed to start container", ERR_PLAIN, "POST /containers/create", 1});
}

static void test_start__start_400__plain(void **state) {
    refuse(*state,
           &(struct refusal){
               "POST /containers/*/start status=400 body={\"message\":\"exec: no such file\"}\n",
               "no such file", ERR_PLAIN, "POST /containers/create", 1});
}

static void test_start__start_500__recoverable(void **state) {
    refuse(*state, &(struct refusal){
                       "POST /containers/*/start status=500 body={\"message\":\"no device\"}\n",
                       "no device", ERR_RECOVERABLE, "POST /containers/create", 5});
}

/* Docker answers 500 also to values that the kernel refuses. */
static void test_start__refused_value__final_after_one_attempt(void **state) {
    refuse(*state, &(struct refusal){
                       "POST /containers/*/start status=500 body={\"message\":\"OCI runtime "
                       "create failed: runc create failed: sysctl kernel.x is not in a "
                       "separate kernel namespace\"}\n",
                       "kernel.x is not in a separate", ERR_PLAIN, "POST /containers/create", 1});
}

static void test_start__create_with_a_bad_mode__final_after_one_attempt(void **state) {
    refuse(*state,
           &(struct refusal){
               "POST /containers/create status=500 body={\"message\":\"invalid mode: bad\"}\n",
               "invalid mode: bad", ERR_PLAIN, "POST /containers/create", 1});
}

static void test_start__start_cut_off__recoverable(void **state) {
    refuse(*state, &(struct refusal){"POST /containers/*/start drop\n", "Failed to start container",
                                     ERR_RECOVERABLE, "POST /containers/create", 5});
}

static void test_start__start_hangs__recoverable(void **state) {
    refuse(*state, &(struct refusal){"POST /containers/*/start hang\n", "Failed to start container",
                                     ERR_RECOVERABLE, "POST /containers/create", 1});
}

static void test_start__inspect_hangs__recoverable(void **state) {
    refuse(*state, &(struct refusal){"GET /containers/*/json hang\n", "container", ERR_RECOVERABLE,
                                     "POST /containers/create", 1});
}

static void test_start__image_fails__nothing_made(void **state) {
    struct world_web *x = *state;
    struct err err;
    world_driver_restart(&x->w); /* the double of the images is made again */
    fake_images_fail(-EIO);
    start_world_fails(x, &err);
    assert_int_equal(err.cls, ERR_RECOVERABLE);
    assert_int_equal(fake_count(&x->w.fake, "POST /containers/create"), 0);
    start_world_undone(x, 0);
}

static const struct CMUnitTest tests[] = {
    START_WORLD_T(test_start__create_404__recoverable),
    START_WORLD_T(test_start__create_404_of_the_platform__not_recoverable),
    START_WORLD_T(test_start__create_400__not_recoverable),
    START_WORLD_T(test_start__create_500__retried_then_final),
    START_WORLD_T(test_start__create_500_duplicate_mount__recoverable),
    START_WORLD_T(test_start__create_cut_off__retried_then_recoverable),
    START_WORLD_HASTY(test_start__create_hangs__recoverable),
    START_WORLD_T(test_start__create_works_at_third_try__runs),
    START_WORLD_HASTY(test_start__create_answers_too_late__removed),
    START_WORLD_T(test_start__create_cut_off_then_500__removed),
    START_WORLD_T(test_start__start_404__plain),
    START_WORLD_T(test_start__start_400__plain),
    START_WORLD_T(test_start__start_500__recoverable),
    START_WORLD_T(test_start__refused_value__final_after_one_attempt),
    START_WORLD_T(test_start__create_with_a_bad_mode__final_after_one_attempt),
    START_WORLD_T(test_start__start_cut_off__recoverable),
    START_WORLD_HASTY(test_start__start_hangs__recoverable),
    START_WORLD_HASTY(test_start__inspect_hangs__recoverable),
    START_WORLD_T(test_start__image_fails__nothing_made),
};
WORLD_MAIN(tests)
