/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* What the tests of images share: the images of one client, and users that want one of them. Every
 * function fails the test itself. */
#include "fake/fake_client.h"
#include "paddock/clock.h"
#include "paddock/image.h"
#include "paddock/loop.h"
#include "paddock/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>

#define IMAGE_WAIT_US (20 * US_PER_SEC)

/* ---- Rules for the fake ---- */
#define IMAGE_ABSENT(n)                                                                            \
    "GET /images/*/json times=" #n " status=404 body={\"message\":\"No such image\"}\n"
#define IMAGE_PULL_OK                                                                              \
    "POST /images/create type=application/json body={\"status\":\"Pull "                           \
    "complete\",\"id\":\"aaa\"}\n"
/* Lines of a pull's progress. */
#define L1                                                                                         \
    "{\"status\":\"Downloading\",\"id\":\"aaa\",\"progressDetail\":{\"current\":1,\"total\":2}}"   \
    "\\n"
#define L5 L1 L1 L1 L1 L1
#define L25 L5 L5 L5 L5 L5
/* ---- Requests ---- */
#define IMAGE_PULL "POST /images/create"
/* Of the image that the fake always has. */
#define IMAGE_DELETE "DELETE /images/sha256%3A5ca1ab1e"

struct image_world {
    struct fake fake;
    struct docker *docker;
    struct loop *loop;
    pthread_t thread;
    struct pool *pool;
    struct images *images;
    struct images_options o;
};

/** cmocka's setup and teardown: images are removed 0.1 s after their last user. */
int image_setup(void **state);
int image_teardown(void **state);
/** Makes the client again with other options. The fake keeps running. */
void image_restart_with(struct image_world *x, struct images_options o);
void image_start(struct image_world *x);
void image_stop(struct image_world *x);

/** Waits a little between two requests to the fake, so as not to load it. Fails the test after
 * @until. */
void image_breathe(uint64_t until);
/** Waits until @request has come @n times. */
void image_wait_count(const struct image_world *x, const char *request, int n);

/* ---- Users that request an image ---- */
struct image_user {
    struct image_world *x;
    struct image_want want;  /* may be changed before it is acquired */
    struct image_look *look; /* NULL = no request before the acquire */
    struct image image;
    struct cancel cancel;
    pthread_t thread;
    int r;
    struct err err;
    pthread_mutex_t lock; /* for the fields below */
    pthread_cond_t changed;
    unsigned downloading, progress; /* how often each was reported */
    char last[320];
};

void image_user_init(struct image_user *u, struct image_world *x, const char *id,
                     const char *image);
void image_user_done(struct image_user *u);
/** Acquires in this thread, or in one of its own until joined. Sets r, err and image of @u. */
void image_user_acquire(struct image_user *u);
void image_user_start(struct image_user *u);
void image_user_join(struct image_user *u);
/** Waits until progress of the pull was reported: its own pull or the one that it waits for. */
void image_user_wait_progress(struct image_user *u);

/** Acquires @image for @id. That must succeed. */
void image_acquire(struct image_world *x, const char *id, const char *image);
/** Releases the image that the fake always has. */
void image_release(struct image_world *x, const char *id);
/** Waits until all removals that are due now were requested. */
void image_fence(struct image_world *x);
