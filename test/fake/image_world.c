/* SPDX-License-Identifier: MPL-2.0 */
/* The fixture of the image tests (image_world.h): the image module with a fake_dockerd, and
 * helpers that request images. */
#include "fake/image_world.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static void *run_loop(void *arg) {
    assert_int_equal(loop_run(arg), 0);
    return NULL;
}

void image_start(struct image_world *x) {
    assert_int_equal(loop_new(&x->loop), 0);
    assert_int_equal(pool_new(4, &x->pool), 0);
    x->o.docker = x->docker;
    x->o.loop = x->loop;
    x->o.pool = x->pool;
    assert_int_equal(images_new(&x->o, &x->images), 0);
    assert_int_equal(pthread_create(&x->thread, NULL, run_loop, x->loop), 0);
}

void image_stop(struct image_world *x) {
    loop_stop(x->loop);
    pthread_join(x->thread, NULL);
    loop_run_posted(x->loop);
    pool_free(x->pool);
    loop_run_posted(x->loop);
    images_free(x->images);
    loop_free(x->loop);
}

int image_setup(void **state) {
    struct image_world *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    fake_start(&x->fake, NULL);
    x->docker = fake_docker(&x->fake);
    x->o = (struct images_options){
        .gc = true, .gc_delay_us = 100 * US_PER_MS, .activity_timeout_us = 60 * US_PER_SEC};
    image_start(x);
    *state = x;
    return 0;
}

int image_teardown(void **state) {
    struct image_world *x = *state;
    image_stop(x);
    docker_free(x->docker);
    fake_done(&x->fake);
    free(x);
    return 0;
}

void image_restart_with(struct image_world *x, struct images_options o) {
    image_stop(x);
    x->o = o;
    image_start(x);
}

void image_breathe(uint64_t until) {
    struct call call = {.deadline_us = until};
    assert_int_equal(call_sleep(&call, 5 * US_PER_MS), 0);
}

void image_wait_count(const struct image_world *x, const char *request, int n) {
    uint64_t until = clock_now_us() + IMAGE_WAIT_US;
    while (fake_count(&x->fake, request) < n)
        image_breathe(until);
}

/* ---- Users that request an image ---- */

static void on_event(void *ctx, const char *message, const char *image) {
    struct image_user *u = ctx;
    pthread_mutex_lock(&u->lock);
    if (strcmp(message, "Downloading image") == 0)
        u->downloading++;
    else if (strncmp(message, "Docker image pull progress: ", 28) == 0)
        u->progress++;
    else
        fail_msg("%s", message);
    assert_string_equal(image, u->want.image);
    snprintf(u->last, sizeof(u->last), "%s", message);
    pthread_cond_broadcast(&u->changed);
    pthread_mutex_unlock(&u->lock);
}

void image_user_init(struct image_user *u, struct image_world *x, const char *id,
                     const char *image) {
    *u = (struct image_user){.x = x};
    u->want = (struct image_want){.image = image,
                                  .user_id = id,
                                  .event = on_event,
                                  .ctx = u,
                                  .pull_timeout_us = IMAGE_WAIT_US};
    pthread_mutex_init(&u->lock, NULL);
    pthread_cond_init(&u->changed, NULL);
    assert_int_equal(cancel_init(&u->cancel), 0);
}

void image_user_done(struct image_user *u) {
    cancel_done(&u->cancel);
    pthread_cond_destroy(&u->changed);
    pthread_mutex_destroy(&u->lock);
}

void image_user_acquire(struct image_user *u) {
    struct call outer = {.cancel = &u->cancel};
    struct call call = call_within(&outer, IMAGE_WAIT_US);
    u->r = images_acquire(u->x->images, &call, &u->want, u->look, &u->image, &u->err);
    u->look = NULL;
}

static void *run_user(void *arg) {
    image_user_acquire(arg);
    return NULL;
}

void image_user_start(struct image_user *u) {
    assert_int_equal(pthread_create(&u->thread, NULL, run_user, u), 0);
}

void image_user_join(struct image_user *u) {
    pthread_join(u->thread, NULL);
}

void image_user_wait_progress(struct image_user *u) {
    struct timespec until;
    int r = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += IMAGE_WAIT_US / US_PER_SEC;
    pthread_mutex_lock(&u->lock);
    while (u->progress == 0 && r == 0)
        r = pthread_cond_timedwait(&u->changed, &u->lock, &until);
    pthread_mutex_unlock(&u->lock);
    assert_int_equal(r, 0);
}

/* ---- Users that hold an image ---- */

void image_acquire(struct image_world *x, const char *id, const char *image) {
    struct image_user u;
    image_user_init(&u, x, id, image);
    image_user_acquire(&u);
    assert_string_equal(u.err.text, "");
    assert_int_equal(u.r, 0);
    image_user_done(&u);
}

void image_release(struct image_world *x, const char *id) {
    image_users_release(x->images, "sha256:5ca1ab1e", id);
}

/* Waits until the removal of another image, which is due later, was requested. */
void image_fence(struct image_world *x) {
    static unsigned n;
    char rule[160], image[16], id[16], request[64];
    snprintf(image, sizeof(image), "fence:%u", ++n);
    snprintf(id, sizeof(id), "sha256:f%u", n);
    snprintf(request, sizeof(request), "DELETE /images/sha256%%3Af%u", n);
    snprintf(rule, sizeof(rule), "GET /images/%s/json body={\"Id\":\"%s\"}\n%s body=[]\n", image,
             id, request);
    fake_rules(&x->fake, rule);
    image_acquire(x, "fence", image);
    image_users_release(x->images, id, "fence");
    image_wait_count(x, request, 1);
}
