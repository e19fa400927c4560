/* SPDX-License-Identifier: MPL-2.0 */
/* Reference counts of images, and garbage collection: an image is removed after a delay when its
 * last user has released it.
 *
 * images.c adds users, and src/task adds those of the tasks and networks that it finds after a
 * restart. src/task releases them. The removal itself (image_remove.c) runs on the pool. A caller
 * that needs an image while it is being removed waits until the removal has finished. */
#include "src/image/image_remove.h"
#include "src/image/image_users.h"

#include "paddock/clock.h"
#include "paddock/log.h"
#include "paddock/loop.h"
#include "paddock/pool.h"
#include "paddock/held.h"

#include <stdio.h>
#include <string.h>

#define REMOVE_TRIES 3
#define REMOVE_PAUSE_US (3 * US_PER_SEC)

struct image_held {
    char id[80];
    struct strv users;
    struct strv names;     /* the names in the tasks' requests, also those of earlier users */
    uint64_t remove_at_us; /* 0 = in use or not to be removed */
    bool removing;
    struct image_held *next;
};

static struct image_held *find_held(struct images *im, const char *id) {
    struct image_held *h = im->held;
    while (h && strcmp(h->id, id) != 0)
        h = h->next;
    return h;
}

static int add_once(struct strv *list, const char *text) {
    return strv_contains(list, text) ? 0 : strv_add(list, text);
}

int image_users_add(struct images *im, const char *id, const char *name, const char *user) {
    HELD_ASSERT(&im->lock);
    struct image_held *h = find_held(im, id);
    if (h && h->removing)
        return 1;
    if (!h) {
        h = calloc(1, sizeof(*h));
        if (!h)
            return -ENOMEM;
        snprintf(h->id, sizeof(h->id), "%s", id);
        h->next = im->held;
        im->held = h;
    }
    h->remove_at_us = 0;
    int r = name[0] ? add_once(&h->names, name) : 0;
    return r < 0 ? r : add_once(&h->users, user);
}

bool image_users_removing(const struct images *im) {
    const struct image_held *h = im->held;
    while (h && !h->removing)
        h = h->next;
    return h != NULL;
}

int image_users_hold(struct images *im, const char *image_id, const char *name,
                     const char *user_id) {
    pthread_mutex_lock(&im->lock);
    int r;
    struct call call = call_within(NULL, REMOVE_TRIES * REMOVE_PAUSE_US * 2);
    while ((r = image_users_add(im, image_id, name, user_id)) == 1 &&
           image_waiters_wait(&im->waiters, &im->lock, &call) == 0)
        ;
    pthread_mutex_unlock(&im->lock);
    return r == 1 ? 0 : r; /* a container of it runs, so Docker keeps the image in any case */
}

static void drop_held(struct images *im, struct image_held *h) {
    for (struct image_held **at = &im->held; *at; at = &(*at)->next) {
        if (*at == h) {
            *at = h->next;
            break;
        }
    }
    strv_done(&h->users);
    strv_done(&h->names);
    free(h);
}

static void arm_posted(void *arg) {
    struct images *im = arg;
    uint64_t first = 0;
    pthread_mutex_lock(&im->lock);
    for (struct image_held *h = im->held; h; h = h->next)
        if (h->remove_at_us && !h->removing && (!first || h->remove_at_us < first))
            first = h->remove_at_us;
    if (im->put_off && (!first || first > clock_now_us() + REMOVE_PAUSE_US))
        first = clock_now_us() +
                REMOVE_PAUSE_US; /* the image of the put-off removal may be in use again */
    pthread_mutex_unlock(&im->lock);
    loop_timer_at(im->timer, first);
}

void image_users_release(struct images *im, const char *image_id, const char *user_id) {
    bool arm = false;
    pthread_mutex_lock(&im->lock);
    struct image_held *h = find_held(im, image_id);
    for (size_t i = 0; h && i < h->users.n; i++) {
        if (strcmp(h->users.v[i], user_id) != 0)
            continue;
        free(h->users.v[i]);
        h->users.v[i] = h->users.v[--h->users.n];
        if (h->users.n == 0 && im->o.gc) {
            h->remove_at_us = clock_now_us() + im->o.gc_delay_us;
            arm = true;
        } else if (h->users.n == 0) {
            drop_held(im, h);
        }
        break;
    }
    pthread_mutex_unlock(&im->lock);
    if (arm && loop_post(im->o.loop, arm_posted, im) < 0)
        log_warn("image", LOG_KV("image", image_id), "out of memory: the image stays, ignoring");
}

/* ---- removal ---- */

struct removal {
    struct images *im;
    char id[80];
    struct strv names; /* the tasks' */
};

static void removal_free(struct removal *x) {
    strv_done(&x->names);
    free(x);
}

static void remove_work(void *arg) {
    struct removal *x = arg;
    struct images *im = x->im;
    struct err err;
    int r = 0;
    for (int i = 0; i < REMOVE_TRIES; i++) {
        err = (struct err){0};
        r = image_remove_run(im->o.docker, x->id, &x->names, &err);
        if (r == 0 || r == -ENOENT || r == -EEXIST || call_sleep(NULL, REMOVE_PAUSE_US) < 0)
            break;
    }
    if (r < 0 && r != -ENOENT)
        log_debug("image", LOG_KV("image", x->id, "error", err.text), "not removed, ignoring");
    pthread_mutex_lock(&im->lock);
    struct image_held *h = find_held(im, x->id);
    if (h)
        drop_held(im, h);
    im->removals++;
    image_waiters_wake(&im->waiters);
    pthread_mutex_unlock(&im->lock);
    removal_free(x);
}

/* Returns NULL when out of memory. */
static struct removal *removal_new(struct images *im, const struct image_held *h) {
    struct removal *x = calloc(1, sizeof(*x));
    if (!x)
        return NULL;
    x->im = im;
    snprintf(x->id, sizeof(x->id), "%s", h->id);
    for (size_t i = 0; i < h->names.n; i++) {
        if (strv_add(&x->names, h->names.v[i]) < 0) {
            removal_free(x);
            return NULL;
        }
    }
    return x;
}

void image_users_on_timer(void *arg) {
    struct images *im = arg;
    uint64_t now = clock_now_us();
    pthread_mutex_lock(&im->lock);
    im->put_off = false;
    for (struct image_held *h = im->held; h; h = h->next) {
        if (!h->remove_at_us || h->removing || h->remove_at_us > now)
            continue;
        im->put_off |= im->looks > 0;
        struct removal *x = im->looks == 0 ? removal_new(im, h) : NULL;
        h->removing = x && pool_run(im->o.pool, remove_work, x) == 0;
        if (!h->removing) {
            if (x)
                removal_free(x);
            h->remove_at_us = now + REMOVE_PAUSE_US;
        }
    }
    pthread_mutex_unlock(&im->lock);
    arm_posted(im);
}

void image_users_free(struct images *im) {
    for (struct image_held *h = im->held, *next; h; h = next) {
        next = h->next;
        strv_done(&h->users);
        strv_done(&h->names);
        free(h);
    }
}
