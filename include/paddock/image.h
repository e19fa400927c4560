/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Images: finds or pulls them, once for all waiters; keeps them while a task uses them; removes
 * them after a delay.
 *
 * The module is a table (image id -> ids of the tasks that use it). After a restart it is rebuilt
 * from the recovered tasks. Context: any thread; waits run on the caller's thread. */
#include "paddock/docker.h"

struct images;

struct loop;
struct pool;

struct images_options {
    struct docker *docker;
    struct loop *loop; /* not running yet; runs the timer of the delayed removal */
    struct pool *pool; /* the removal itself blocks */
    bool gc;
    uint64_t timeout_us; /* of one inspect of an image; 0 = 60 s */
    uint64_t gc_delay_us,
        activity_timeout_us; /* activity: a pull without progress for so long is ended */
    uint64_t progress_us;    /* time between progress events of a pull; 0 = 2 min */
    const char *auth_config, *auth_helper; /* plugin's auth block, "" = none */
};
/** Returns 0; -ENOMEM; -errno of the timer. @o and its texts are copied; docker, loop and pool are
 * borrowed. Owner: caller, images_free. */
int images_new(const struct images_options *o, struct images **ret) MUST_CHECK;
/** Called after pool and loop have ended. Images that wait for their removal are kept.
 * NULL allowed. */
void images_free(struct images *im);

/** Appends the metrics of all pulls, as Prometheus text. Any thread. Returns 0; errors of
 * buf_printf(). */
int images_metrics(const struct images *im, struct buf *b) MUST_CHECK;

struct image_want {
    const char *image;     /* as the job wrote it, "https://" stripped */
    const char *load_path; /* absolute path of an archive to load, NULL = none */
    const char *load_root; /* the folder that must contain the archive, NULL = anywhere */
    bool force_pull;
    const char *username, *password, *server_address; /* task's auth block, "" = none */
    bool auth_soft_fail;
    uint64_t pull_timeout_us;
    const char *user_id; /* the user: the task id (or the alloc id for the pause image) */
    /* Progress as task events ("Downloading image", "Docker image pull progress: ...").
     * NULL allowed. */
    void (*event)(void *ctx, const char *message, const char *image);
    void *ctx;
};
struct image {
    char id[80];
    char user[128]; /* Config.User of the image */
    bool fetched;   /* it was not present before */
};

struct image_look;
/** Asks Docker for an image that is probably present, and does not wait for the answer. The caller
 * can continue as if the image were present, and pass the result to images_acquire(), which reads
 * the answer. Until then no image is removed. Returns NULL when the image cannot be asked for in
 * advance: it must be pulled in any case, a removal is running, or out of memory. */
struct image_look *images_look(struct images *im, const struct image_want *want) MUST_CHECK;
/** Drops @look without reading the answer. NULL allowed. */
void images_look_free(struct image_look *look);

/** Loads or pulls the image when it is not present, and holds it for user_id. @look: of the same
 * image, NULL = none; takes ownership of it. Errors: a failed pull is ERR_RECOVERABLE ("Failed to
 * pull `x`: ..."). That includes an image that the registry does not have (-ENOENT), because it may
 * be pushed before the next attempt. ERR_PLAIN are, as in the built-in driver: the old text "Error:
 * image ... not found"; a failed look-up of credentials; and an archive that cannot be loaded. An
 * image that does not exist for this host's platform is ERR_PLAIN too. */
int images_acquire(struct images *im, const struct call *call, const struct image_want *want,
                   struct image_look *look, struct image *ret, struct err *err) MUST_CHECK;
/** After a restart: notes that @user_id uses @image_id, which the job called @name ("" = not
 * known). Makes no Docker call. */
int image_users_hold(struct images *im, const char *image_id, const char *name,
                     const char *user_id) MUST_CHECK;
/** Drops the hold of @user_id. When it was the last one, the image is removed after the delay,
 * unless a container or a new holder uses it then. An image with names that no task used is kept,
 * with these names. Unknown ids are ignored. */
void image_users_release(struct images *im, const char *image_id, const char *user_id);

/** Returns true when Docker's error @text means that the image exists, but not for this host's
 * platform. Context: pure. */
bool image_pull_lacks_platform(const char *text);
