/* SPDX-License-Identifier: MPL-2.0 */
/* Sends the archive that a job names in `load` to Docker.
 *
 * images_acquire() calls image_load_run() when the image is not present. Docker answers 200 before
 * it reads the archive, so a failure is reported as an error in its stream. The transfer sends no
 * more bytes than the file had when it was opened. */
#include "src/image/image_load.h"

#include "src/image/image_progress.h"
#include "paddock/clock.h"
#include "paddock/path_file.h"
#include "paddock/path_text.h"

#include <string.h>

#define LOAD_TIMEOUT_US (1800 * US_PER_SEC)

static const char *reason_text(int r) {
    switch (r) {
    case -EXDEV:
        return "volumes are not enabled; it is outside of the allocation's folder";
    case -EINVAL:
        return "not a regular file";
    case -ENODATA:
        return "it is empty, or of a file system without stored files";
    default:
        return strerror(-r);
    }
}

/* A task may have replaced the archive by a FIFO or a link. With volumes enabled a job may name any
 * file of the host. */
static int open_archive(const char *root, const char *path, struct err *err) {
    AUTO_FREE char *clean_root = root ? path_text_clean(root) : NULL;
    AUTO_FREE char *clean = path_text_clean(path);
    if (!clean || (root && !clean_root))
        return err_oom(err);
    int fd = -EBADF;
    int r = path_file_open_stored(clean_root, clean, &fd);
    if (r < 0)
        return err_set(err, ERR_PLAIN, r == -EXDEV ? EACCES : -r,
                       "load: unable to open image archive: %s: %s", path, reason_text(r));
    return fd;
}

static int on_load_data(void *ctx, const char *data, size_t len) {
    return image_progress_feed(ctx, data, len);
}

int image_load_run(struct docker *d, const char *root, const char *archive, const struct call *call,
                   struct err *err) {
    AUTO_FD int fd = open_archive(root, archive, err);
    if (fd < 0)
        return fd;
    struct image_progress *progress = malloc(sizeof(*progress));
    if (!progress)
        return err_oom(err);
    image_progress_init(progress);
    struct docker_request rq = {.method = "POST",
                                .path = "/images/load?quiet=1",
                                .upload_fd = fd,
                                .on_data = on_load_data,
                                .ctx = progress};
    struct call within = call_within(call, LOAD_TIMEOUT_US);
    int r = docker_http_do(d, &within, &rq, NULL, NULL, err);
    if (r == 0)
        r = image_progress_end(progress);
    if (r == 0 && progress->error[0]) /* the status was sent before Docker read the archive */
        r = err_set(err, ERR_PLAIN, EIO, "%s", progress->error);
    image_progress_done(progress);
    free(progress);
    if (r < 0)
        err_set(err, ERR_PLAIN, -r, "%s", strerror(-r));
    return err_wrap(err, r, "Failed to load image archive %s", archive);
}
