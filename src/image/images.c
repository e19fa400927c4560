/* SPDX-License-Identifier: MPL-2.0 */
/* Makes an image present. A present image is used when its name has a fixed tag or a digest.
 * Otherwise it is loaded from the archive in `load`, or pulled.
 *
 * StartTask calls images_look() early and images_acquire() later. src/task/networks.c calls
 * images_acquire() for the pause image. A found image is added to the table of users under the lock
 * under which a removal begins, so it cannot be removed in between. */
#include "src/image/image_load.h"
#include "src/image/image_ref.h"
#include "src/image/image_share.h"
#include "src/image/image_users.h"
#include "paddock/clock.h"
#include "paddock/loop.h"
#include "paddock/strv.h"

#include <stdio.h>
#include <string.h>

#define LOOK_TIMEOUT_US (60 * US_PER_SEC)

int images_new(const struct images_options *o, struct images **ret) {
    struct images *im = calloc(1, sizeof(*im));
    if (!im)
        return -ENOMEM;
    im->o = *o;
    if (im->o.timeout_us == 0)
        im->o.timeout_us = LOOK_TIMEOUT_US;
    pthread_mutex_init(&im->lock, NULL);
    int r = 0;
    im->auth_config = str_dup(o->auth_config ? o->auth_config : "", &r);
    im->auth_helper = str_dup(o->auth_helper ? o->auth_helper : "", &r);
    if (r == 0)
        r = loop_timer_new(o->loop, image_users_on_timer, im, &im->timer);
    if (r < 0) {
        images_free(im);
        return r;
    }
    *ret = im;
    return 0;
}

void images_free(struct images *im) {
    if (!im)
        return;
    loop_timer_del(im->timer);
    image_users_free(im);
    free(im->auth_config);
    free(im->auth_helper);
    pthread_mutex_destroy(&im->lock);
    free(im);
}

int images_metrics(const struct images *im, struct buf *b) {
    return image_count_put(&im->counts, b);
}

/* ---- present images ---- */

static int take_image(const json_t *j, struct image *ret, struct err *err) {
    const char *id = json_string_value(json_object_get(j, "Id"));
    const char *user = json_string_value(json_object_get(json_object_get(j, "Config"), "User"));
    if (str_empty(id) || strlen(id) >= sizeof(ret->id))
        return err_set(err, ERR_RECOVERABLE, EPROTO, "Docker tells no id");
    snprintf(ret->id, sizeof(ret->id), "%s", id);
    snprintf(ret->user, sizeof(ret->user), "%s", user ? user : "");
    return 0;
}

static int inspect_image(struct images *im, const struct call *call, const char *name,
                         struct image *ret, struct err *err) {
    AUTO_FREE char *path = image_ref_inspect_path(name);
    if (!path)
        return err_oom(err);
    AUTO_JSON json_t *j = NULL;
    struct docker_request rq = {.method = "GET", .path = path};
    struct call within = call_within(call, im->o.timeout_us);
    int r = docker_http_do(im->o.docker, &within, &rq, NULL, &j, err);
    return r < 0 ? r : take_image(j, ret, err);
}

/* ---- asking in advance ---- */

struct image_look {
    struct images *im;
    struct docker_begun *asked; /* NULL after the answer was read */
};

/* A tag next to a digest is ignored. */
static const char *name_of(const struct image_want *want, const struct image_ref *ref) {
    return ref->tag[0] ? want->image : ref->repo;
}

static bool may_be_here(const struct image_want *want, const struct image_ref *ref) {
    return image_ref_is_fixed(ref) && !want->force_pull;
}

struct image_look *images_look(struct images *im, const struct image_want *want) {
    struct image_ref ref;
    if (image_ref_parse(want->image, &ref) < 0 || !may_be_here(want, &ref))
        return NULL;
    struct image_look *look = calloc(1, sizeof(*look));
    if (!look)
        return NULL;
    pthread_mutex_lock(&im->lock);
    if (!im->put_off && !image_users_removing(im)) {
        look->im = im;
        im->looks++;
    }
    pthread_mutex_unlock(&im->lock);
    AUTO_FREE char *path = image_ref_inspect_path(name_of(want, &ref));
    if (look->im && path)
        look->asked = docker_http_begin(im->o.docker, "GET", path);
    if (look->asked)
        return look;
    images_look_free(look);
    return NULL;
}

void images_look_free(struct image_look *look) {
    if (!look)
        return;
    docker_http_begun_free(look->asked);
    if (look->im) {
        pthread_mutex_lock(&look->im->lock);
        look->im->looks--;
        pthread_mutex_unlock(&look->im->lock);
    }
    free(look);
}

static int look_answer(struct image_look *look, const struct call *call, struct image *ret,
                       struct err *err) {
    AUTO_JSON json_t *j = NULL;
    struct call within = call_within(call, look->im->o.timeout_us);
    int r = docker_http_end(TAKE_PTR(look->asked), &within, &j, err);
    return r < 0 ? r : take_image(j, ret, err);
}

/* Holds an image for @user_id that Docker reported when @removals removals had ended. Returns 0; 1
 * when the image may have been removed since, so that the caller must ask again; -errno. */
static int hold_seen(struct images *im, const struct call *call, unsigned removals, const char *id,
                     const char *name, const char *user_id, struct err *err) {
    pthread_mutex_lock(&im->lock);
    int w = 0;
    int r = 1; /* a removal ended after Docker answered; it may have been of this image */
    if (removals == im->removals) {
        r = image_users_add(im, id, name, user_id);
        w = r == 1 ? image_waiters_wait(&im->waiters, &im->lock, call) : 0;
    }
    pthread_mutex_unlock(&im->lock);
    if (r < 0)
        return err_oom(err);
    return w < 0 ? err_set(err, ERR_RECOVERABLE, -w, "it is being removed") : r;
}

static unsigned removals_now(struct images *im) {
    pthread_mutex_lock(&im->lock);
    unsigned n = im->removals;
    pthread_mutex_unlock(&im->lock);
    return n;
}

/* Holds a present image. Returns 0; -ENOENT when it is not present; other -errno. */
static int hold_present(struct images *im, const struct call *call, const char *name,
                        const char *user_id, struct image *ret, struct err *err) {
    int r;
    do {
        unsigned removals = removals_now(im);
        r = inspect_image(im, call, name, ret, err);
        if (r == 0)
            r = hold_seen(im, call, removals, ret->id, name, user_id, err);
    } while (r == 1);
    return r;
}

/* Like hold_present(), but uses the answer of @look when that found the image. It takes
 * ownership of @look. */
static int hold_looked(struct images *im, const struct call *call, struct image_look *look,
                       const char *name, const char *user_id, struct image *ret, struct err *err) {
    if (!look)
        return hold_present(im, call, name, user_id, ret, err);
    struct err failed = {0};
    int r = look_answer(look, call, ret, &failed);
    if (r == 0) /* none has begun since */
        r = hold_seen(im, call, removals_now(im), ret->id, name, user_id, &failed);
    images_look_free(look);
    if (r == -ETIMEDOUT || r == -ECANCELED)
        return err_set(err, failed.cls, -r, "%s", failed.text);
    return r == 0 ? 0 : hold_present(im, call, name, user_id, ret, err);
}

int images_acquire(struct images *im, const struct call *call, const struct image_want *want,
                   struct image_look *look, struct image *ret, struct err *err) {
    struct image_ref ref;
    if (image_ref_parse(want->image, &ref) < 0) {
        images_look_free(look);
        return err_set(err, ERR_INVALID, EINVAL,
                       "image: \"%s\" does not match registry specification", want->image);
    }
    int r = -ENOENT;
    const char *name = name_of(want, &ref);
    ret->fetched = false;
    if (may_be_here(want, &ref))
        r = hold_looked(im, call, look, name, want->user_id, ret, err);
    if (r == -ENOENT) {
        err_clear(err);
        bool load = !str_empty(want->load_path);
        r = load ? image_load_run(im->o.docker, want->load_root, want->load_path, call, err)
                 : image_share_pull(im, call, want, err);
        if (r < 0)
            return r;
        r = hold_present(im, call, name, want->user_id, ret, err);
        ret->fetched = true;
        if (r == -ENOENT && load) {
            err_clear(err);
            return err_set(err, ERR_PLAIN, ENOENT, "image archive %s does not hold image %s",
                           want->load_path, want->image);
        }
    }
    if (r < 0)
        return err_reclass(err, err_wrap(err, r, "image %s", want->image),
                           r == -ECANCELED ? ERR_PLAIN : ERR_RECOVERABLE);
    return 0;
}
