/* SPDX-License-Identifier: MPL-2.0 */
/* Checks that a running container has the mounts of its request where the request has them.
 *
 * A link in an image can lead a mount elsewhere, and another task of the allocation may then reach
 * it. Docker does not report that; the container's mountinfo shows it. An image without such links
 * is remembered, and its next containers need no check. See siblings.h for the whole rule. */
#include "src/task/task_start.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define START_PROC_MAX (1u << 20) /* bytes of a container's mountinfo */

bool task_start_mounts_are_unproven(const struct start *s) {
    return !create_verify_has_usual_targets(s->body) || !siblings_is_plain_image(s->d, s->image.id);
}

/* Reads /proc/PID/@name of the container's first process. Returns 0; -ESRCH when the process has
 * ended; another -errno. */
static int read_proc(const struct start *s, const char *name, struct buf *text) {
    char path[64], piece[4096];
    snprintf(path, sizeof(path), "%d/%s", (int)s->state.pid, name);
    AUTO_FD int fd = openat(s->d->proc_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    for (;;) {
        ssize_t n = read(fd, piece, sizeof(piece));
        if (n <= 0)
            return n == 0 ? 0 : errno == EINVAL ? -ESRCH : -errno;
        int r = buf_append(text, piece, (size_t)n);
        if (r < 0)
            return r;
    }
}

/* Returns whether the process belongs to the container. Its pid may have been reused, or may belong
 * to another pid namespace. */
static bool is_of_container(const struct start *s) {
    AUTO_BUF struct buf text;
    buf_init(&text, START_PROC_MAX);
    return read_proc(s, "cgroup", &text) == 0 && strstr(buf_text(&text), s->container_id);
}

/* Returns whether what @mountinfo shows is true of each container of the image. The process could
 * deceive us with another root directory or with more rights. */
static bool is_true_of_image(const struct start *s, const char *mountinfo) {
    return create_verify_has_usual_targets(s->body) && !s->sources.reaches &&
           create_verify_shows_rootfs(mountinfo) && is_of_container(s);
}

int task_start_mounts_prove(struct start *s, struct err *err) {
    AUTO_BUF struct buf text;
    struct err failed = {0};
    buf_init(&text, START_PROC_MAX);
    if (!s->guarded || s->adopted || !s->state.running || !task_start_mounts_are_unproven(s))
        return 0;
    int r = read_proc(s, "mountinfo", &text);
    if (r == 0)
        r = create_verify_mounts(s->body, buf_text(&text), &failed);
    if (r == -ESRCH)
        return 0;
    if (r == -EACCES && failed.set) {
        if (is_of_container(s))
            return err_set(err, ERR_PLAIN, EACCES, "Failed to start container %s: %s",
                           s->container_id, failed.text);
        return 0;
    }
    if (r < 0)
        store_set_logs_movable(s->d->store, s->config->alloc_id);
    else if (is_true_of_image(s, buf_text(&text)))
        siblings_set_plain_image(s->d, s->image.id);
    return 0;
}
