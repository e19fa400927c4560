/* Who uses which image, and how an image gets here.
 *
 * Order of ways (docker-driver 4.2): a fixed tag or digest that is present is used; else `load`;
 * else a pull. One pull at a time per image string and task credentials: the first caller's thread
 * does it, the others wait for its result. If the first one is cancelled, or its own time is over,
 * the next takes over.
 *
 * Removal: when the last user has gone, after a delay, without force: what a container of anybody
 * uses stays. Only an image with several names needs force, for it is removed by id; as force does
 * not spare stopped containers, those are asked for first. Whoever wants an image that is being
 * removed at that moment waits for the end of it. */
#include "paddock/docker_image.h"

#include "docker_image_load.h"
#include "docker_image_pull.h"
#include "docker_image_ref.h"
#include "paddock/clock.h"
#include "paddock/log.h"
#include "paddock/loop.h"
#include "paddock/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOOK_TIMEOUT_US (60 * US_PER_SEC)
#define REMOVE_TRIES 3
#define REMOVE_PAUSE_US (3 * US_PER_SEC)
#define REMOVE_TIMEOUT_US (60 * US_PER_SEC)
#define WAIT_SLICE_NS 50000000 /* waiters look at their cancel so often */

struct held {
    char id[80];
    struct strv users;
    uint64_t remove_at_us; /* 0 = in use or not to be removed */
    bool removing;
    struct held *next;
};

struct sharer { /* on the stack of each who waits for a pull */
    const struct docker_image_want *want;
    struct sharer *next;
};

struct pull {
    char *image;
    char *credentials; /* the task's */
    bool running, done;
    unsigned refs;
    struct sharer *sharers;
    int r;
    struct err err;
    struct docker_images *im;
    struct pull *next;
};

struct docker_images {
    struct docker_images_options o;
    char *auth_config, *auth_helper;
    struct loop_timer *timer;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* CLOCK_MONOTONIC: a pull or a removal has ended */
    struct held *held;
    struct pull *pulls;
    unsigned removals; /* that have ended: what was seen before one may be gone */
};

static void on_timer(void *arg);

int docker_images_new(const struct docker_images_options *o, struct docker_images **ret) {
    struct docker_images *im = calloc(1, sizeof(*im));
    if (!im)
        return -ENOMEM;
    im->o = *o;
    if (im->o.timeout_us == 0)
        im->o.timeout_us = LOOK_TIMEOUT_US;
    pthread_mutex_init(&im->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&im->changed, &attr);
    pthread_condattr_destroy(&attr);
    int r = 0;
    im->auth_config = str_dup(o->auth_config ? o->auth_config : "", &r);
    im->auth_helper = str_dup(o->auth_helper ? o->auth_helper : "", &r);
    if (r == 0)
        r = loop_timer_new(o->loop, on_timer, im, &im->timer);
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
    for (struct held *h = im->held, *next; h; h = next) {
        next = h->next;
        strv_done(&h->users);
        free(h);
    }
    free(im->auth_config);
    free(im->auth_helper);
    pthread_cond_destroy(&im->changed);
    pthread_mutex_destroy(&im->lock);
    free(im);
}

/* Waits under the lock for `changed`, a moment at most. 0; -ETIMEDOUT; -ECANCELED as @call says. */
static int wait_changed(struct docker_images *im, const struct call *call) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += WAIT_SLICE_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&im->changed, &im->lock, &until);
    if (cancel_fired(call->cancel))
        return -ECANCELED;
    return call_remaining_ms(call) == 0 ? -ETIMEDOUT : 0;
}

/* ---- holds ---- */

static struct held *find_held(struct docker_images *im, const char *id) {
    struct held *h = im->held;
    while (h && strcmp(h->id, id) != 0)
        h = h->next;
    return h;
}

/* Under the lock. 0; 1 it is being removed right now; -ENOMEM. */
static int add_user(struct docker_images *im, const char *id, const char *user) {
    struct held *h = find_held(im, id);
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
    return strv_contains(&h->users, user) ? 0 : strv_add(&h->users, user);
}

int docker_images_hold(struct docker_images *im, const char *image_id, const char *user_id) {
    pthread_mutex_lock(&im->lock);
    int r;
    struct call call = call_within(NULL, REMOVE_TRIES * REMOVE_PAUSE_US * 2);
    while ((r = add_user(im, image_id, user_id)) == 1 && wait_changed(im, &call) == 0)
        ;
    pthread_mutex_unlock(&im->lock);
    return r == 1 ? 0 : r; /* a container runs of it: Docker keeps it whatever the removal does */
}

static void drop_held(struct docker_images *im, struct held *h) {
    for (struct held **at = &im->held; *at; at = &(*at)->next) {
        if (*at == h) {
            *at = h->next;
            break;
        }
    }
    strv_done(&h->users);
    free(h);
}

static void arm_posted(void *arg) {
    struct docker_images *im = arg;
    uint64_t first = 0;
    pthread_mutex_lock(&im->lock);
    for (struct held *h = im->held; h; h = h->next)
        if (h->remove_at_us && !h->removing && (!first || h->remove_at_us < first))
            first = h->remove_at_us;
    pthread_mutex_unlock(&im->lock);
    loop_timer_at(im->timer, first);
}

void docker_images_release(struct docker_images *im, const char *image_id, const char *user_id) {
    bool arm = false;
    pthread_mutex_lock(&im->lock);
    struct held *h = find_held(im, image_id);
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
    struct docker_images *im;
    char id[80];
};

static int delete_image(struct docker_images *im, const char *id, bool force, struct err *err) {
    AUTO_FREE char *escaped = docker_escape(id);
    AUTO_FREE char *path = NULL;
    if (!escaped || asprintf(&path, "/images/%s?force=%d", escaped, force) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    struct docker_request rq = {.method = "DELETE", .path = path};
    struct call call = call_within(NULL, REMOVE_TIMEOUT_US);
    return docker_do(im->o.docker, &call, &rq, NULL, NULL, err);
}

/* Any container, running or not. Unsure is yes. */
static bool has_containers(struct docker_images *im, const char *id) {
    AUTO_JSON json_t *filters = json_pack("{s:[s]}", "ancestor", id);
    AUTO_JSON json_t *list = NULL;
    struct call call = call_within(NULL, REMOVE_TIMEOUT_US);
    return !filters || docker_container_list(im->o.docker, &call, true, filters, &list, NULL) < 0 ||
           json_array_size(list) > 0;
}

static void remove_work(void *arg) {
    struct removal *x = arg;
    struct docker_images *im = x->im;
    struct err err;
    int r = 0;
    bool force = false;
    for (int i = 0; i < REMOVE_TRIES; i++) {
        err = (struct err){0};
        r = delete_image(im, x->id, force, &err);
        if (r == -EEXIST && !force && strstr(err.text, "multiple repositories")) {
            force = !has_containers(im, x->id); /* its other names go with it */
            if (!force)
                break;
        } else if (r == 0 || r == -ENOENT || r == -EEXIST ||
                   call_sleep(NULL, REMOVE_PAUSE_US) < 0) {
            break;
        }
    }
    if (r < 0 && r != -ENOENT)
        log_debug("image", LOG_KV("image", x->id, "error", err.text), "not removed, ignoring");
    pthread_mutex_lock(&im->lock);
    struct held *h = find_held(im, x->id);
    if (h)
        drop_held(im, h);
    im->removals++;
    pthread_cond_broadcast(&im->changed);
    pthread_mutex_unlock(&im->lock);
    free(x);
}

static void on_timer(void *arg) {
    struct docker_images *im = arg;
    uint64_t now = clock_now_us();
    pthread_mutex_lock(&im->lock);
    for (struct held *h = im->held; h; h = h->next) {
        if (!h->remove_at_us || h->removing || h->remove_at_us > now)
            continue;
        struct removal *x = calloc(1, sizeof(*x));
        if (x) {
            x->im = im;
            snprintf(x->id, sizeof(x->id), "%s", h->id);
            h->removing = pool_run(im->o.pool, remove_work, x) == 0;
        }
        if (!h->removing) {
            free(x);
            h->remove_at_us = now + REMOVE_PAUSE_US;
        }
    }
    pthread_mutex_unlock(&im->lock);
    arm_posted(im);
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
        r = add_user(im, ret->id, want->user_id);
        int w = r == 1 ? wait_changed(im, call) : 0;
        pthread_mutex_unlock(&im->lock);
        if (r <= 0)
            return r < 0 ? err_oom(err) : 0;
        if (w < 0)
            return err_set(err, ERR_RECOVERABLE, -w, "it is being removed");
    }
}

/* ---- one pull for all who wait ---- */

/* As one text: two tasks with other credentials do not share a pull, nor its failure. */
static char *credentials_of(const struct docker_image_want *w) {
    char *text;
    int n = asprintf(&text, "%s\n%s\n%s\n%d", w->username ? w->username : "",
                     w->password ? w->password : "", w->server_address ? w->server_address : "",
                     w->auth_soft_fail);
    return n < 0 ? NULL : text;
}

static void pull_free(struct pull *p) {
    free(p->image);
    free(p->credentials);
    free(p);
}

static struct pull *join(struct docker_images *im, const struct docker_image_want *want) {
    AUTO_FREE char *credentials = credentials_of(want);
    if (!credentials)
        return NULL;
    struct pull *p = im->pulls;
    while (p && (p->done || strcmp(p->image, want->image) != 0 ||
                 strcmp(p->credentials, credentials) != 0))
        p = p->next;
    if (!p) {
        p = calloc(1, sizeof(*p));
        if (!p)
            return NULL;
        p->credentials = TAKE_PTR(credentials);
        p->image = strdup(want->image);
        if (!p->image) {
            pull_free(p);
            return NULL;
        }
        p->im = im;
        p->next = im->pulls;
        im->pulls = p;
    }
    p->refs++;
    return p;
}

static void leave(struct docker_images *im, struct pull *p, struct sharer *me) {
    for (struct sharer **at = &p->sharers; *at; at = &(*at)->next) {
        if (*at == me) {
            *at = me->next;
            break;
        }
    }
    if (--p->refs > 0)
        return;
    for (struct pull **at = &im->pulls; *at; at = &(*at)->next) {
        if (*at == p) {
            *at = p->next;
            break;
        }
    }
    pull_free(p);
}

/* Progress goes to all who wait. Their event functions do not block. */
static void tell_sharers(void *ctx, const char *message) {
    struct pull *p = ctx;
    pthread_mutex_lock(&p->im->lock);
    for (struct sharer *s = p->sharers; s; s = s->next)
        if (s->want->event)
            s->want->event(s->want->ctx, message, p->image);
    pthread_mutex_unlock(&p->im->lock);
}

/* The lead: does the pull, without the lock. Its result is that of all, unless it is its own affair
 * (cancelled, its time is over): then it is returned alone, and somebody else takes over. */
static int lead(struct docker_images *im, struct pull *p, const struct call *call,
                const struct docker_image_want *want, struct err *err) {
    struct image_pull job = {.docker = im->o.docker,
                             .image = p->image,
                             .auth = {.username = want->username,
                                      .password = want->password,
                                      .server_address = want->server_address,
                                      .config = im->auth_config,
                                      .helper = im->auth_helper},
                             .auth_soft_fail = want->auth_soft_fail,
                             .activity_timeout_us = im->o.activity_timeout_us,
                             .progress_us = im->o.progress_us,
                             .tell = tell_sharers,
                             .ctx = p};
    p->running = true;
    pthread_mutex_unlock(&im->lock);
    struct err failed = {0};
    int r = image_pull_run(&job, call, &failed);
    bool own = r == -ECANCELED || (r == -ETIMEDOUT && call_remaining_ms(call) == 0);
    pthread_mutex_lock(&im->lock);
    p->running = false;
    if (!own) {
        p->done = true;
        p->r = r;
        p->err = failed;
    }
    pthread_cond_broadcast(&im->changed);
    if (own && err)
        *err = failed;
    return own ? r : 0;
}

static int pull_shared(struct docker_images *im, const struct call *call,
                       const struct docker_image_want *want, struct err *err) {
    struct call within = call_within(call, want->pull_timeout_us);
    struct sharer me = {.want = want};
    int r = 0;
    if (want->event)
        want->event(want->ctx, "Downloading image", want->image);
    pthread_mutex_lock(&im->lock);
    struct pull *p = join(im, want);
    if (!p) {
        pthread_mutex_unlock(&im->lock);
        return err_oom(err);
    }
    me.next = p->sharers;
    p->sharers = &me;
    while (!p->done && r == 0)
        r = p->running ? wait_changed(im, &within) : lead(im, p, &within, want, err);
    if (p->done) {
        r = p->r;
        if (r < 0 && err)
            *err = p->err;
    }
    leave(im, p, &me);
    pthread_mutex_unlock(&im->lock);
    if (r < 0)
        err_set(err, ERR_RECOVERABLE, -r, "Failed to pull `%s`: %s", want->image,
                r == -ETIMEDOUT ? IMAGE_PULL_TOO_LONG : strerror(-r));
    return r;
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
        r = load ? image_load_run(im->o.docker, want->load_path, call, err)
                 : pull_shared(im, call, want, err);
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
