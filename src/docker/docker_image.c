/* How an image gets here (docker-driver 4.2): a fixed tag or digest that is present is used; else
 * `load`; else a pull. */
#include "docker_image_priv.h"

#include "docker_image_load.h"
#include "docker_image_ref.h"
#include "paddock/clock.h"
#include "paddock/loop.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define LOOK_TIMEOUT_US (60 * US_PER_SEC)

struct image_waiter { /* on the stack of each who waits */
    struct cancel woken;
    struct image_waiter *next;
};

int docker_images_new(const struct docker_images_options *o, struct docker_images **ret) {
    struct docker_images *im = calloc(1, sizeof(*im));
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
        docker_images_free(im);
        return r;
    }
    *ret = im;
    return 0;
}

void docker_images_free(struct docker_images *im) {
    if (!im)
        return;
    loop_timer_del(im->timer);
    image_users_free(im);
    free(im->auth_config);
    free(im->auth_helper);
    pthread_mutex_destroy(&im->lock);
    free(im);
}

/* ---- waiting ---- */

int image_wait(struct docker_images *im, const struct call *call) {
    struct image_waiter me = {.next = im->waiters};
    int r = cancel_init(&me.woken);
    if (r < 0)
        return r;
    im->waiters = &me;
    pthread_mutex_unlock(&im->lock);
    r = call_wait_fd(call, me.woken.fd, POLLIN);
    pthread_mutex_lock(&im->lock);
    struct image_waiter **at = &im->waiters;
    while (*at != &me)
        at = &(*at)->next;
    *at = me.next;
    cancel_done(&me.woken);
    return r;
}

void image_changed(struct docker_images *im) {
    for (struct image_waiter *w = im->waiters; w; w = w->next)
        cancel_fire(&w->woken);
}

/* ---- what is present ---- */

static int inspect_image(struct docker_images *im, const struct call *call, const char *image,
                         struct docker_image *ret, struct err *err) {
    /* The name goes into the path as it is: the API takes slashes, and @ and : are allowed there.
     */
    AUTO_FREE char *path = NULL;
    if (asprintf(&path, "/images/%s/json", image) < 0) {
        path = NULL;
        return err_oom(err);
    }
    AUTO_JSON json_t *j = NULL;
    struct docker_request rq = {.method = "GET", .path = path};
    struct call within = call_within(call, im->o.timeout_us);
    int r = docker_do(im->o.docker, &within, &rq, NULL, &j, err);
    if (r < 0)
        return r;
    const char *id = json_string_value(json_object_get(j, "Id"));
    const char *user = json_string_value(json_object_get(json_object_get(j, "Config"), "User"));
    if (str_empty(id) || strlen(id) >= sizeof(ret->id))
        return err_set(err, ERR_RECOVERABLE, EPROTO, "Docker tells no id");
    snprintf(ret->id, sizeof(ret->id), "%s", id);
    snprintf(ret->user, sizeof(ret->user), "%s", user ? user : "");
    return 0;
}

/* Present and held: 0. -ENOENT: not here. */
static int hold_present(struct docker_images *im, const struct call *call, const char *name,
                        const struct docker_image_want *want, struct docker_image *ret,
                        struct err *err) {
    for (;;) {
        pthread_mutex_lock(&im->lock);
        unsigned removals = im->removals;
        pthread_mutex_unlock(&im->lock);
        int r = inspect_image(im, call, name, ret, err);
        if (r < 0)
            return r;
        pthread_mutex_lock(&im->lock);
        if (removals != im->removals) { /* perhaps this one, after Docker had answered */
            pthread_mutex_unlock(&im->lock);
            continue;
        }
        r = image_users_add(im, ret->id, want->user_id);
        int w = r == 1 ? image_wait(im, call) : 0;
        pthread_mutex_unlock(&im->lock);
        if (r <= 0)
            return r < 0 ? err_oom(err) : 0;
        if (w < 0)
            return err_set(err, ERR_RECOVERABLE, -w, "it is being removed");
    }
}

int docker_images_acquire(struct docker_images *im, const struct call *call,
                          const struct docker_image_want *want, struct docker_image *ret,
                          struct err *err) {
    struct docker_image_ref ref;
    if (docker_image_ref_parse(want->image, &ref) < 0)
        return err_set(err, ERR_INVALID, EINVAL,
                       "image: \"%s\" does not match registry specification", want->image);
    int r = -ENOENT;
    const char *name =
        ref.tag[0] ? want->image : ref.repo; /* a tag beside a digest does not count */
    if (docker_image_ref_is_fixed(&ref) && !want->force_pull)
        r = hold_present(im, call, name, want, ret, err);
    if (r == -ENOENT) {
        err_clear(err);
        bool load = !str_empty(want->load_path);
        r = load ? image_load_run(im->o.docker, want->load_root, want->load_path, call, err)
                 : image_share_pull(im, call, want, err);
        if (r < 0)
            return r;
        r = hold_present(im, call, name, want, ret, err);
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
