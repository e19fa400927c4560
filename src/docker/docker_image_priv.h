#pragma once
/* What the parts of the image module share: the table of users, the pulls, one lock over both. */
#include "paddock/docker_image.h"

#include <pthread.h>

struct image_held;
struct image_shared;
struct image_waiter;

struct docker_images {
    struct docker_images_options o;
    char *auth_config, *auth_helper;
    struct loop_timer *timer; /* the next removal */
    pthread_mutex_t lock;     /* guards all below; held by no call that blocks */
    struct image_waiter *waiters;
    struct image_held *held;
    struct image_shared *shared;
    unsigned removals; /* that have ended: what was seen before one may be gone */
    unsigned looks;    /* that wait for their answer: no removal begins */
    bool put_off;      /* a removal was, because of them: no more of them until it has begun */
};

/* ---- docker_image.c ---- */

/** Lets go of the lock and waits for image_changed, @call's deadline or its cancel; takes the lock
 * again. Returns 0 (look again); -ETIMEDOUT; -ECANCELED; -errno (no more fds). */
int image_wait(struct docker_images *im, const struct call *call) MUST_CHECK;
/** Under the lock: a pull or a removal has ended; all who wait look again. */
void image_changed(struct docker_images *im);

/** "/images/NAME/json" for a name or id. NULL when out of memory; free(). */
char *image_inspect_path(const char *name);

/* ---- docker_image_users.c ---- */

/** Under the lock. @name: by which @user asked for it, "" = not known. Returns 0; 1 it is being
 * removed right now; -ENOMEM. */
int image_users_add(struct docker_images *im, const char *id, const char *name,
                    const char *user) MUST_CHECK;
/** Under the lock: a removal is under way. */
bool image_users_removing(const struct docker_images *im);
/** The timer's: starts the removals that are due. */
void image_users_on_timer(void *im);
void image_users_free(struct docker_images *im);

/* ---- docker_image_remove.c ---- */

/** Removes image @id, or those of its names that are in @used (names as jobs write them). Blocks.
 * Returns 0; -EEXIST a container uses it; -ENOENT it is gone; other -errno of docker_do. */
int image_remove_run(struct docker *d, const char *id, const struct strv *used,
                     struct err *err) MUST_CHECK;

/* ---- docker_image_share.c ---- */

/** Pulls, or waits for somebody's pull of the same image with the same credentials. Returns 0;
 * -errno with @err "Failed to pull `x`: ...". */
int image_share_pull(struct docker_images *im, const struct call *call,
                     const struct docker_image_want *want, struct err *err) MUST_CHECK;
