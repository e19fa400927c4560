#include "docker_image_load.h"

#include "docker_image_progress.h"
#include "paddock/clock.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define LOAD_TIMEOUT_US (1800 * US_PER_SEC)

/* A FIFO or a device would hold us up for ever, and a task may have made one. */
static int open_archive(const char *path, struct err *err) {
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    int code = fd < 0 || fstat(fd, &st) < 0 ? errno : S_ISREG(st.st_mode) ? 0 : EINVAL;
    if (code)
        return err_set(err, ERR_PLAIN, code, "unable to open image archive: %s: %s", path,
                       fd < 0 ? strerror(code) : "not a regular file");
    return TAKE_FD(fd);
}

static int on_load_data(void *ctx, const char *data, size_t len) {
    return image_progress_feed(ctx, data, len);
}

int image_load_run(struct docker *d, const char *archive, const struct call *call,
                   struct err *err) {
    AUTO_FD int fd = open_archive(archive, err);
    if (fd < 0)
        return fd;
    struct image_progress *told = malloc(sizeof(*told));
    if (!told)
        return err_oom(err);
    image_progress_init(told);
    static const char *const headers[] = {"Content-Type: application/x-tar", NULL};
    struct docker_request rq = {.method = "POST",
                                .path = "/images/load?quiet=1",
                                .headers = headers,
                                .upload_fd = fd,
                                .on_data = on_load_data,
                                .ctx = told};
    struct call within = call_within(call, LOAD_TIMEOUT_US);
    int r = docker_do(d, &within, &rq, NULL, NULL, err);
    if (r == 0)
        r = image_progress_end(told);
    if (r == 0 && told->error[0]) /* the status was sent before Docker looked into the archive */
        r = err_set(err, ERR_PLAIN, EIO, "%s", told->error);
    image_progress_done(told);
    free(told);
    if (r < 0)
        err_set(err, ERR_PLAIN, -r, "%s", strerror(-r));
    return err_wrap(err, r, "Failed to load image archive %s", archive);
}
