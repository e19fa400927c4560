#pragma once
/* Images: present or pulled, once for all waiters; kept while a task uses them; removed after a
 * delay. The module is a table of (image id -> the task ids that use it), rebuilt after a restart
 * from the recovered tasks. Context: any thread; waits run on the caller's thread. */
#include "paddock/docker.h"

struct images;

struct loop;
struct pool;

struct images_options {
    struct docker *docker;
    struct loop *loop; /* not running yet: holds the timer of the delayed removal */
    struct pool *pool; /* the removal itself blocks */
    bool gc;
    uint64_t timeout_us;                       /* of a look at an image; 0 = 60 s */
    uint64_t gc_delay_us, activity_timeout_us; /* activity: no progress for so long ends a pull */
    uint64_t progress_us;                      /* how often a pull's progress is told; 0 = 2 min */
    const char *auth_config, *auth_helper;     /* plugin's auth block, "" = none */
};
/** Returns 0; -ENOMEM; -errno of the timer. @o and its texts are copied; docker, loop and pool are
 * borrowed. Owner: caller, images_free. */
int images_new(const struct images_options *o, struct images **ret) MUST_CHECK;
/** After pool and loop have ended; images whose delay runs stay. NULL allowed. */
void images_free(struct images *im);

struct image_want {
    const char *image;     /* as the job wrote it, "https://" stripped */
    const char *load_path; /* absolute path of an archive to load, NULL = none */
    const char *load_root; /* below which it must lie, NULL = anywhere */
    bool force_pull;
    const char *username, *password, *server_address; /* task's auth block, "" = none */
    bool auth_soft_fail;
    uint64_t pull_timeout_us;
    const char *user_id; /* who uses it: the task id (or the alloc id for the pause image) */
    /* Progress as task events ("Downloading image", "Docker image pull progress: ..."). NULL
     * allowed. */
    void (*event)(void *ctx, const char *message, const char *image);
    void *ctx;
};
struct image {
    char id[80];
    char user[128]; /* Config.User of the image */
    bool fetched;   /* it was not here before */
};
/** Asks for an image that is most likely here and waits for nothing, so that its caller can go on
 * as if it were, and let images_acquire tell. Until then no image is removed. NULL: it
 * cannot be asked for ahead (it is to be pulled whatever is here; a removal is under way; no
 * memory). */
struct image_look;
struct image_look *images_look(struct images *im, const struct image_want *want) MUST_CHECK;
/** Its answer is not wanted any more. NULL allowed. */
void images_look_free(struct image_look *look);

/** Makes the image present and holds it for user_id. @look: of the same image, taken; NULL = none.
 * Errors: a pull that fails is ERR_RECOVERABLE ("Failed to pull `x`: ..."), also for an image that
 * the registry does not have (-ENOENT), which somebody may push before the next attempt. ERR_PLAIN
 * is, as in the built-in driver, the old text "Error: image ... not found" alone; credentials that
 * cannot be looked up; and an archive that cannot be loaded. */
int images_acquire(struct images *im, const struct call *call, const struct image_want *want,
                   struct image_look *look, struct image *ret, struct err *err) MUST_CHECK;
/** After a restart: @user_id uses @image_id, which the job called @name ("" = not known). No Docker
 * call. */
int image_users_hold(struct images *im, const char *image_id, const char *name,
                     const char *user_id) MUST_CHECK;
/** Drops the hold. The last one starts the delay, after which the image is removed unless a
 * container or a new holder uses it. When the image has names that no task used, these stay with
 * the image. Unknown ids are ignored. */
void image_users_release(struct images *im, const char *image_id, const char *user_id);

/** Docker's error @text means that the image exists, but not for this machine's platform. Context:
 * pure. */
bool image_pull_lacks_platform(const char *text);
