/* SPDX-License-Identifier: MPL-2.0 */
/* A double of the image module. It counts which owner holds which image, and it pulls nothing. */
#include "fake/task_world.h"
#include "paddock/image.h"

#include <stdio.h>
#include <string.h>

struct images {
    pthread_mutex_t lock;
    unsigned count;
    char hold[128][256];
};

static struct images *live;
static int fail_next;
static bool looks_ahead;
static atomic_uint looks;
static char options[512], wanted[1024], last_hold[1024];

int images_new(const struct images_options *o, struct images **ret) {
    snprintf(options, sizeof(options), "gc=%d delay=%.6g activity=%.6g config=%s helper=%s", o->gc,
             (double)o->gc_delay_us / US_PER_SEC, (double)o->activity_timeout_us / US_PER_SEC,
             o->auth_config, o->auth_helper);
    live = calloc(1, sizeof(*live));
    if (!live)
        return -ENOMEM;
    pthread_mutex_init(&live->lock, NULL);
    *ret = live;
    return 0;
}

void images_free(struct images *im) {
    free(im);
    live = NULL;
}

int images_metrics(const struct images *im, struct buf *b) {
    (void)im;
    return buf_puts(b, "");
}

/* The caller holds the lock. */
static unsigned place_of(struct images *im, const char *hold) {
    unsigned i = 0;
    while (i < im->count && strcmp(im->hold[i], hold) != 0)
        i++;
    return i;
}

int image_users_hold(struct images *im, const char *image_id, const char *name,
                     const char *user_id) {
    char hold[256];
    snprintf(hold, sizeof(hold), "%s of %s", image_id, user_id);
    pthread_mutex_lock(&im->lock);
    snprintf(last_hold, sizeof(last_hold), "%s as %s", image_id, name);
    if (place_of(im, hold) == im->count && im->count < ARRAY_LEN(im->hold))
        memcpy(im->hold[im->count++], hold, sizeof(hold));
    pthread_mutex_unlock(&im->lock);
    return 0;
}

struct image_look *images_look(struct images *im, const struct image_want *want) {
    (void)im;
    (void)want;
    looks += looks_ahead;
    return looks_ahead ? (struct image_look *)&looks : NULL;
}

void images_look_free(struct image_look *look) {
    looks -= look != NULL;
}

int images_acquire(struct images *im, const struct call *call, const struct image_want *want,
                   struct image_look *look, struct image *ret, struct err *err) {
    (void)call;
    images_look_free(look);
    pthread_mutex_lock(&im->lock);
    snprintf(wanted, sizeof(wanted),
             "%s load=%s below=%s force=%d auth=%s:%s@%s soft=%d within=%.6g", want->image,
             want->load_path ? want->load_path : "", want->load_root ? want->load_root : "",
             want->force_pull, want->username, want->password, want->server_address,
             want->auth_soft_fail, (double)want->pull_timeout_us / US_PER_SEC);
    int r = fail_next;
    fail_next = 0;
    pthread_mutex_unlock(&im->lock);
    if (r < 0)
        return err_set(err, ERR_RECOVERABLE, -r, "Failed to pull `%s`: scripted", want->image);
    *ret = (struct image){.id = "sha256:5ca1ab1e"};
    return image_users_hold(im, ret->id, want->image, want->user_id);
}

void image_users_release(struct images *im, const char *image_id, const char *user_id) {
    char hold[256];
    snprintf(hold, sizeof(hold), "%s of %s", image_id, user_id);
    pthread_mutex_lock(&im->lock);
    unsigned i = place_of(im, hold);
    if (i < im->count)
        memmove(im->hold[i], im->hold[--im->count], sizeof(hold));
    pthread_mutex_unlock(&im->lock);
}

unsigned fake_images_held(void) {
    pthread_mutex_lock(&live->lock);
    unsigned n = live->count;
    pthread_mutex_unlock(&live->lock);
    return n;
}

void fake_images_fail(int r) {
    fail_next = r;
}

void fake_images_look_ahead(bool ahead) {
    looks_ahead = ahead;
}

unsigned fake_images_looks(void) {
    return looks;
}

const char *fake_images_options(void) {
    return options;
}

const char *fake_images_wanted(void) {
    return wanted;
}

const char *fake_images_last_hold(void) {
    return last_hold;
}
