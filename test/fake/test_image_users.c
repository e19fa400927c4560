/* SPDX-License-Identifier: MPL-2.0 */
/* Which callers hold an image, and when Docker is asked to remove it. */
#include "fake/image_world.h"

#include <stdio.h>
#include <string.h>

static void test_image_users_release__last_user__removed_after_the_delay(void **state) {
    struct image_world *x = *state;
    image_restart_with(x, (struct images_options){.gc = true, .gc_delay_us = 300 * US_PER_MS});
    fake_rules(&x->fake, "DELETE /images/* body=[]");
    image_acquire(x, "a", "app:1");
    image_acquire(x, "a", "app:1"); /* the same user counts once */
    image_acquire(x, "b", "app:2"); /* another name of the same image */
    image_release(x, "a");
    image_release(x, "unknown");
    image_users_release(x->images, "sha256:unknown", "a");
    image_fence(x);
    assert_int_equal(fake_count(&x->fake, IMAGE_DELETE), 0);
    uint64_t before = clock_now_us();
    image_release(x, "b");
    image_wait_count(x, IMAGE_DELETE, 1);
    assert_true(clock_now_us() - before >= 300 * US_PER_MS);
    AUTO_JSON json_t *log = fake_log(&x->fake, IMAGE_DELETE);
    assert_string_equal(json_string_value(json_object_get(json_array_get(log, 0), "query")),
                        "force=0");
}

static void test_image_users_release__new_user_in_the_delay__stays(void **state) {
    struct image_world *x = *state;
    image_restart_with(x, (struct images_options){.gc = true, .gc_delay_us = 300 * US_PER_MS});
    fake_rules(&x->fake, "DELETE /images/* body=[]");
    image_acquire(x, "a", "app:1");
    image_release(x, "a");
    image_acquire(x, "b", "app:1");
    image_fence(x);
    image_release(x, "b");
    assert_int_equal(image_users_hold(x->images, "sha256:5ca1ab1e", "app:1", "c"), 0);
    image_fence(x);
    assert_int_equal(fake_count(&x->fake, IMAGE_DELETE), 0);
    image_release(x, "c");
    image_wait_count(x, IMAGE_DELETE, 1);
}

/* After a restart, the table is built from the recovered tasks. */
static void test_image_users_hold__counts_as_a_user(void **state) {
    struct image_world *x = *state;
    fake_rules(&x->fake, "DELETE /images/* body=[]");
    assert_int_equal(image_users_hold(x->images, "sha256:5ca1ab1e", "app:1", "recovered"), 0);
    image_acquire(x, "new", "app:1");
    image_release(x, "new");
    image_fence(x);
    assert_int_equal(fake_count(&x->fake, IMAGE_DELETE), 0);
    image_release(x, "recovered");
    image_wait_count(x, IMAGE_DELETE, 1);
    assert_int_equal(fake_count(&x->fake, IMAGE_PULL), 0);
}

static void on_timer(void *arg) {
    cancel_fire(arg);
}

struct timer {
    struct loop *loop;
    struct loop_timer *timer;
    struct cancel fired;
    uint64_t at_us;
};

static void arm(void *arg) {
    struct timer *t = arg;
    assert_int_equal(loop_timer_new(t->loop, on_timer, &t->fired, &t->timer), 0);
    loop_timer_at(t->timer, t->at_us);
}

static void test_image_users_release__gc_off__stays(void **state) {
    struct image_world *x = *state;
    image_restart_with(x, (struct images_options){.gc = false, .gc_delay_us = 1});
    image_acquire(x, "a", "app:1");
    image_release(x, "a");
    struct timer t = {.loop = x->loop, .at_us = clock_now_us() + 200 * US_PER_MS};
    assert_int_equal(cancel_init(&t.fired), 0);
    assert_int_equal(loop_post(x->loop, arm, &t), 0);
    struct call call = {.cancel = &t.fired, .deadline_us = clock_now_us() + IMAGE_WAIT_US};
    assert_int_equal(call_sleep(&call, IMAGE_WAIT_US), -ECANCELED);
    image_stop(x);
    assert_int_equal(fake_count(&x->fake, IMAGE_DELETE), 0);
    image_start(x);
    cancel_done(&t.fired);
}

static void test_image_users_release__refused_removal__once_and_forgotten(void **state) {
    static const char *const rules[] = {
        IMAGE_DELETE
        " status=409 body={\"message\":\"image is being used by running container 1\"}",
        IMAGE_DELETE " status=404 body={\"message\":\"No such image\"}",
    };
    struct image_world *x = *state;
    int n = 0;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        fake_rules(&x->fake, rules[i]);
        image_acquire(x, "a", "app:1");
        image_release(x, "a");
        image_wait_count(x, IMAGE_DELETE, ++n);
        image_fence(x);
        image_acquire(x, "a", "app:1"); /* does not wait */
        image_release(x, "a");
        image_wait_count(x, IMAGE_DELETE, ++n);
        image_fence(x);
        assert_int_equal(fake_count(&x->fake, IMAGE_DELETE), n);
    }
}

static void test_image_users_release__docker_fails__tried_again(void **state) {
    struct image_world *x = *state;
    fake_rules(&x->fake, IMAGE_DELETE " times=1 status=500 body={\"message\":\"busy\"}\n"
                                      "DELETE /images/* body=[]");
    image_acquire(x, "a", "app:1");
    image_release(x, "a");
    image_wait_count(x, IMAGE_DELETE, 2);
}

#define SEVERAL_NAMES                                                                              \
    IMAGE_DELETE " times=1 status=409 body={\"message\":\"conflict: unable to delete 5ca1 "        \
                 "(must be forced) - image is referenced in multiple repositories\"}\n"            \
                 "DELETE /images/* body=[]\n"

static void test_image_users_release__several_names__by_force_unless_used(void **state) {
    struct image_world *x = *state;
    fake_rules(&x->fake, SEVERAL_NAMES);
    image_acquire(x, "a", "app:1");
    image_release(x, "a");
    image_wait_count(x, IMAGE_DELETE, 2);
    AUTO_JSON json_t *log = fake_log(&x->fake, IMAGE_DELETE),
                     *asked = fake_log(&x->fake, "GET /containers/json");
    assert_string_equal(json_string_value(json_object_get(json_array_get(log, 1), "query")),
                        "force=1");
    const char *query = json_string_value(json_object_get(json_array_get(asked, 0), "query"));
    assert_non_null(strstr(query, "all=1"));
    assert_non_null(strstr(query, "ancestor"));
    assert_non_null(strstr(query, "5ca1ab1e"));
    image_fence(x);

    /* A stopped container uses the image. A removal with force would take it away. */
    char id[65];
    AUTO_JSON json_t *body = json_pack("{s:s}", "Image", "app:1");
    struct call call = call_within(NULL, IMAGE_WAIT_US);
    assert_int_equal(docker_container_create(x->docker, &call, "stopped", body, id, NULL), 0);
    fake_rules(&x->fake, SEVERAL_NAMES);
    image_acquire(x, "b", "app:1");
    image_release(x, "b");
    image_wait_count(x, IMAGE_DELETE, 3);
    image_fence(x);
    assert_int_equal(fake_count(&x->fake, IMAGE_DELETE), 3);
    AUTO_JSON json_t *again = fake_log(&x->fake, IMAGE_DELETE);
    assert_string_equal(json_string_value(json_object_get(json_array_get(again, 2), "query")),
                        "force=0");
}

/* The target of each DELETE of an image so far. */
static json_t *deletes(const struct image_world *x) {
    AUTO_JSON json_t *log = fake_log(&x->fake, "");
    json_t *out = json_array();
    size_t i;
    json_t *one;
    json_array_foreach(log, i, one) {
        const char *request = json_string_value(json_object_get(one, "request"));
        if (strncmp(request, "DELETE /images/", 15) == 0)
            json_array_append_new(out, json_string(request + 15));
    }
    return out;
}

#define INSPECT "GET /images/sha256:5ca1ab1e/json"

/* Releases an image whose inspect contains @names (JSON). @want: the targets of the DELETEs in
 * order, separated by spaces. */
static void check_removed(struct image_world *x, const char *names, const char *want) {
    char rule[1024], got[512] = "";
    snprintf(rule, sizeof(rule),
             INSPECT " type=application/json "
                     "body={\"Id\":\"sha256:5ca1ab1e\",%s}\n",
             names);
    fake_control(&x->fake, "POST", "reset", "", NULL, 0);
    fake_rules(&x->fake, "DELETE /images/* type=application/json body=[]");
    fake_rules(&x->fake, rule);
    int looks = fake_count(&x->fake, INSPECT);
    AUTO_JSON json_t *before = deletes(x);
    image_acquire(x, "a", "app:1");
    image_acquire(x, "b", "docker.io/library/app:2");
    image_acquire(x, "c",
                  "r:5000/x/y@sha256:"
                  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    image_release(x, "a");
    image_release(x, "b");
    image_release(x, "c");
    image_wait_count(x, INSPECT, looks + 1);
    image_acquire(x, "a", "app:1"); /* waits for the end of the removal */
    AUTO_JSON json_t *after = deletes(x);
    for (size_t i = json_array_size(before); i < json_array_size(after); i++)
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", got[0] ? " " : "",
                 json_string_value(json_array_get(after, i)));
    print_message("%s\n", names);
    assert_string_equal(got, want);
}

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* Only the names by which tasks requested the image are removed. */
static void test_image_users_release__names_that_no_task_used__stay(void **state) {
    struct image_world *x = *state;
    static const char by_id[] = "sha256%3A5ca1ab1e";
    check_removed(x, "\"RepoTags\":[\"app:1\"]", by_id);
    check_removed(
        x, "\"RepoTags\":[\"app:1\",\"app:2\"],\"RepoDigests\":[\"app@sha256:" HEX64 "\"]", by_id);
    check_removed(x, "\"RepoTags\":[],\"RepoDigests\":[\"r:5000/x/y@sha256:" HEX64 "\"]", by_id);
    check_removed(x, "\"RepoTags\":null,\"RepoDigests\":null", by_id);
    check_removed(x, "\"RepoTags\":[\"app:1\",\"keep/base:1\"]", "app:1");
    check_removed(x, "\"RepoTags\":[\"app:1\",\"app:3\",\"app:2\"]", "app:1 app:2");
    check_removed(x, "\"RepoTags\":[\"app:1\"],\"RepoDigests\":[\"keep/base@sha256:" HEX64 "\"]",
                  "app:1");
    check_removed(x, "\"RepoTags\":[\"keep/base:1\"]", "");
    check_removed(x, "\"RepoTags\":[7]", "");
}

/* The image is wanted while it is being removed. The caller waits, checks again and pulls it. */
static void test_images_acquire__during_the_removal__pulled_after_it(void **state) {
    struct image_world *x = *state;
    image_acquire(x, "a", "app:1");
    fake_rules(
        &x->fake, IMAGE_DELETE
        " delay=500 body=[]\n" IMAGE_PULL_OK
        "GET /images/app:1/json skip=1 times=1 status=404 body={\"message\":\"No such image\"}\n");
    image_release(x, "a");
    image_wait_count(x, IMAGE_DELETE, 1);
    struct image_user u;
    image_user_init(&u, x, "b", "app:1");
    image_user_acquire(&u);
    assert_int_equal(u.r, 0);
    assert_int_equal(u.downloading, 1);
    assert_int_equal(fake_count(&x->fake, IMAGE_PULL), 1);
    image_user_done(&u);
}

/* Docker reported the image as present, and it is removed before we hold it. The hold must fail. */
static void test_images_acquire__removed_after_the_check__pulled(void **state) {
    struct image_world *x = *state;
    image_acquire(x, "a", "app:1");
    fake_rules(&x->fake,
               "DELETE /images/* body=[]\n" IMAGE_PULL_OK
               "GET /images/app:1/json times=1 delay=1500 body={\"Id\":\"sha256:5ca1ab1e\"}\n"
               "GET /images/app:1/json times=1 status=404 body={\"message\":\"No such image\"}\n");
    struct image_user u;
    image_user_init(&u, x, "b", "app:1");
    image_user_start(&u);
    image_wait_count(x, "GET /images/app:1/json", 2);
    image_release(x, "a");
    image_wait_count(x, IMAGE_DELETE, 1);
    image_user_join(&u);
    assert_int_equal(u.r, 0);
    assert_int_equal(fake_count(&x->fake, IMAGE_PULL), 1);
    image_user_done(&u);
}

/* ---- Requests before the acquire ---- */

struct passing {
    struct timer t;
    pthread_mutex_t lock; /* locked until the loop's thread no longer uses it */
};

static void on_passed(void *arg) {
    struct passing *p = arg;
    pthread_mutex_lock(&p->lock);
    p->t.timer = loop_timer_del(p->t.timer);
    cancel_fire(&p->t.fired);
    pthread_mutex_unlock(&p->lock);
}

static void arm_passing(void *arg) {
    struct passing *p = arg;
    assert_int_equal(loop_timer_new(p->t.loop, on_passed, p, &p->t.timer), 0);
    loop_timer_at(p->t.timer, p->t.at_us);
}

/* Waits until the timers of all earlier releases have fired. */
static void pass_the_delay(struct image_world *x) {
    struct passing p = {.t = {.loop = x->loop, .at_us = clock_now_us() + 2 * x->o.gc_delay_us}};
    struct call call = {.cancel = &p.t.fired, .deadline_us = clock_now_us() + IMAGE_WAIT_US};
    pthread_mutex_init(&p.lock, NULL);
    assert_int_equal(cancel_init(&p.t.fired), 0);
    assert_int_equal(loop_post(x->loop, arm_passing, &p), 0);
    assert_int_equal(call_sleep(&call, IMAGE_WAIT_US), -ECANCELED);
    pthread_mutex_lock(&p.lock);
    cancel_done(&p.t.fired);
    pthread_mutex_unlock(&p.lock);
    pthread_mutex_destroy(&p.lock);
}

static struct image_look *look(struct image_world *x) {
    return images_look(x->images, &(struct image_want){.image = "app:1"});
}

/* An image that was reported as present stays until it is held. */
static void test_images_look__no_removal_before_the_answer(void **state) {
    struct image_world *x = *state;
    fake_rules(&x->fake, "DELETE /images/* body=[]");
    image_acquire(x, "a", "app:1");
    struct image_user u;
    image_user_init(&u, x, "b", "app:1");
    u.look = look(x);
    assert_non_null(u.look);
    image_release(x, "a");
    pass_the_delay(x);
    assert_int_equal(fake_count(&x->fake, IMAGE_DELETE), 0);
    assert_null(look(x)); /* a removal is next in line */
    image_user_acquire(&u);
    assert_int_equal(u.r, 0);
    image_fence(x);
    assert_int_equal(fake_count(&x->fake, IMAGE_DELETE), 0);
    image_release(x, "b");
    image_wait_count(x, IMAGE_DELETE, 1);
    assert_int_equal(fake_count(&x->fake, "GET /images/app:1/json"), 2);
    image_user_done(&u);
}

/* A request that was given up delays no removal. */
static void test_images_look__given_up__removals_go_on(void **state) {
    struct image_world *x = *state;
    fake_rules(&x->fake, "GET /images/app:1/json skip=1 hang\nDELETE /images/* body=[]");
    image_acquire(x, "a", "app:1");
    struct image_look *l = look(x);
    assert_non_null(l);
    images_look_free(l);
    image_release(x, "a");
    image_wait_count(x, IMAGE_DELETE, 1);
}

static void test_images_look__during_a_removal__not_asked(void **state) {
    struct image_world *x = *state;
    image_acquire(x, "a", "app:1");
    fake_rules(&x->fake, IMAGE_DELETE " delay=500 body=[]");
    image_release(x, "a");
    image_wait_count(x, IMAGE_DELETE, 1);
    assert_null(look(x));
}

#define T(f) cmocka_unit_test_setup_teardown(f, image_setup, image_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_image_users_release__last_user__removed_after_the_delay),
        T(test_image_users_release__new_user_in_the_delay__stays),
        T(test_image_users_hold__counts_as_a_user),
        T(test_image_users_release__gc_off__stays),
        T(test_image_users_release__refused_removal__once_and_forgotten),
        T(test_image_users_release__docker_fails__tried_again),
        T(test_image_users_release__several_names__by_force_unless_used),
        T(test_image_users_release__names_that_no_task_used__stay),
        T(test_images_acquire__during_the_removal__pulled_after_it),
        T(test_images_acquire__removed_after_the_check__pulled),
        T(test_images_look__no_removal_before_the_answer),
        T(test_images_look__given_up__removals_go_on),
        T(test_images_look__during_a_removal__not_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
