/* SPDX-License-Identifier: MPL-2.0 */
/* Allows one pull at a time per image string and task credentials. The first caller's thread does
 * the pull (it leads), and the others wait for its result. When the leader is cancelled or its time
 * is over, a waiter becomes the leader.
 *
 * images_acquire() calls image_share_pull() for an image that is not present. */
#include "src/image/image_share.h"

#include "src/image/image_pull.h"

#include <stdio.h>
#include <string.h>

struct sharer { /* on the stack of each caller that waits for a pull */
    const struct image_want *want;
    struct sharer *next;
};

struct image_shared {
    char *image;
    char *credentials; /* the task's */
    bool running, done;
    unsigned refs;
    struct sharer *sharers;
    int r;
    struct err err;
    struct images *im;
    struct image_shared *next;
};

/* Returns the credentials as one text. Two tasks with different credentials share neither a pull
 * nor its failure. */
static char *credentials_of(const struct image_want *w) {
    char *text;
    int n = asprintf(&text, "%s\n%s\n%s\n%d", w->username ? w->username : "",
                     w->password ? w->password : "", w->server_address ? w->server_address : "",
                     w->auth_soft_fail);
    return n < 0 ? NULL : text;
}

static void shared_free(struct image_shared *p) {
    free(p->image);
    free(p->credentials);
    free(p);
}

static struct image_shared *join_pull(struct images *im, const struct image_want *want) {
    AUTO_FREE char *credentials = credentials_of(want);
    if (!credentials)
        return NULL;
    struct image_shared *p = im->shared;
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
            shared_free(p);
            return NULL;
        }
        p->im = im;
        p->next = im->shared;
        im->shared = p;
    }
    p->refs++;
    return p;
}

static void leave_pull(struct images *im, struct image_shared *p, struct sharer *me) {
    for (struct sharer **at = &p->sharers; *at; at = &(*at)->next) {
        if (*at == me) {
            *at = me->next;
            break;
        }
    }
    if (--p->refs > 0)
        return;
    for (struct image_shared **at = &im->shared; *at; at = &(*at)->next) {
        if (*at == p) {
            *at = p->next;
            break;
        }
    }
    shared_free(p);
}

/* Reports progress to all waiters. Their event functions do not block. */
static void report_progress(void *ctx, const char *message) {
    struct image_shared *p = ctx;
    pthread_mutex_lock(&p->im->lock);
    for (struct sharer *s = p->sharers; s; s = s->next)
        if (s->want->event)
            s->want->event(s->want->ctx, message, p->image);
    pthread_mutex_unlock(&p->im->lock);
}

/* Does the pull as the leader, without the lock. All waiters get this result, unless the leader was
 * cancelled by its own caller or its own time was over. Then only the leader gets the result, and a
 * waiter becomes the leader. */
static int lead_pull(struct images *im, struct image_shared *p, const struct call *call,
                     const struct image_want *want, struct err *err) {
    struct image_pull job = {.docker = im->o.docker,
                             .counts = &im->counts,
                             .image = p->image,
                             .auth = {.username = want->username,
                                      .password = want->password,
                                      .server_address = want->server_address,
                                      .config = im->auth_config,
                                      .helper = im->auth_helper},
                             .auth_soft_fail = want->auth_soft_fail,
                             .activity_timeout_us = im->o.activity_timeout_us,
                             .progress_us = im->o.progress_us,
                             .tell = report_progress,
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
    image_waiters_wake(&im->waiters);
    if (own && err)
        *err = failed;
    return own ? r : 0;
}

int image_share_pull(struct images *im, const struct call *call, const struct image_want *want,
                     struct err *err) {
    struct call within = call_within(call, want->pull_timeout_us);
    struct sharer me = {.want = want};
    int r = 0;
    if (want->event)
        want->event(want->ctx, "Downloading image", want->image);
    pthread_mutex_lock(&im->lock);
    struct image_shared *p = join_pull(im, want);
    if (!p) {
        pthread_mutex_unlock(&im->lock);
        return err_oom(err);
    }
    me.next = p->sharers;
    p->sharers = &me;
    while (!p->done && r == 0)
        r = p->running ? image_waiters_wait(&im->waiters, &im->lock, &within)
                       : lead_pull(im, p, &within, want, err);
    if (p->done) {
        r = p->r;
        if (r < 0 && err)
            *err = p->err;
    }
    leave_pull(im, p, &me);
    pthread_mutex_unlock(&im->lock);
    if (r < 0)
        err_set(err, ERR_RECOVERABLE, -r, "Failed to pull `%s`: %s", want->image,
                r == -ETIMEDOUT ? IMAGE_PULL_TOO_LONG : strerror(-r));
    return r;
}
