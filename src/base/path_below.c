/* SPDX-License-Identifier: MPL-2.0 */
/* Walks a path below a root, and follows symlinks only when they stay below it.
 *
 * The create request and the image loader call it for paths of a job. The walk opens one component
 * after the other with O_PATH|O_NOFOLLOW, relative to a directory that it keeps open, and it reads
 * symlinks itself. So nothing can change between a check and the next step. openat2 with
 * RESOLVE_BENEATH cannot replace it: it does not return the path without symlinks, which Docker
 * needs, and it can be missing or filtered. */
#include "paddock/path_below.h"
#include "paddock/buf.h"
#include "paddock/path_text.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct walk {
    const char *root;
    int root_fd;
    int fd;          /* the current directory */
    struct buf done; /* its path after the root: "" or "/a/b", no symlinks */
    char *rest;      /* the part that is not walked yet */
    unsigned links;
    bool make; /* make missing directories */
    const struct path_owner *owner;
};

static void walk_done(struct walk *w) {
    w->root_fd = fd_close(w->root_fd);
    w->fd = fd_close(w->fd);
    buf_done(&w->done);
    cleanup_free(&w->rest);
}

/* Removes the next component from @rest. Returns 1; 0 at the end of the path; -ENAMETOOLONG. */
static int next_name(const char **rest, char name[NAME_MAX + 1]) {
    const char *p = *rest + strspn(*rest, "/");
    size_t n = strcspn(p, "/");
    if (n > NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(name, p, n);
    name[n] = '\0';
    *rest = p + n;
    return n > 0;
}

static void done_cut(struct walk *w, size_t len) {
    w->done.len = len;
    if (w->done.data)
        w->done.data[len] = '\0';
}

static int open_step(int dir_fd, const char *name) {
    int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int to_root(struct walk *w) {
    int fd = fcntl(w->root_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return -errno;
    fd_close(w->fd);
    w->fd = fd;
    return 0;
}

/* Handles "..". The parent is walked again from the root instead of asking the kernel for "..",
 * because the directory may have been moved since it was opened. */
static int walk_up(struct walk *w) {
    if (w->done.len == 0)
        return -EXDEV;
    done_cut(w, path_text_parent_len(w->done.data, w->done.len, 0));
    int r = to_root(w);
    if (r < 0)
        return r;
    const char *names = buf_text(&w->done);
    char name[NAME_MAX + 1];
    while ((r = next_name(&names, name)) > 0) {
        int fd = open_step(w->fd, name);
        if (fd < 0)
            return fd;
        struct stat st;
        bool moved = fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode);
        fd_close(w->fd);
        w->fd = fd;
        if (moved) /* something replaced a directory during the walk */
            return -EXDEV;
    }
    return r;
}

static int walk_link(struct walk *w, int link_fd, const char *rest) {
    char target[PATH_BELOW_MAX];
    if (++w->links > PATH_BELOW_LINKS_MAX)
        return -ELOOP;
    ssize_t n = readlinkat(link_fd, "", target, sizeof(target) - 1);
    if (n < 0)
        return -errno;
    if ((size_t)n >= sizeof(target) - 1)
        return -ENAMETOOLONG;
    target[n] = '\0';
    const char *go = target;
    if (target[0] == '/') {
        go = path_text_below(w->root, target);
        if (!go)
            return -EXDEV;
        int r = to_root(w);
        if (r < 0)
            return r;
        done_cut(w, 0);
    }
    if (strlen(go) + strlen(rest) + 2 > PATH_BELOW_MAX)
        return -ENAMETOOLONG;
    char *joined = NULL;
    if (asprintf(&joined, "%s/%s", go, rest) < 0)
        return -ENOMEM;
    free(w->rest);
    w->rest = joined;
    return 0;
}

/* Makes a missing directory with mode 0755, whatever the umask is. If another process makes it at
 * the same time, a directory is accepted, a symlink is not. */
static int make_step(int dir_fd, const char *name, const struct path_owner *owner) {
    bool made = mkdirat(dir_fd, name, 0755) == 0;
    if (!made && errno != EEXIST)
        return -errno;
    AUTO_FD int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || (made && owner && fchown(fd, owner->uid, owner->gid) < 0) ||
        (made && fchmod(fd, 0755) < 0))
        return -errno;
    return TAKE_FD(fd);
}

static int walk_make(struct walk *w, const char *rest) {
    char name[NAME_MAX + 1];
    int r;
    if (w->fd < 0) /* the root itself does not exist */
        return -ENOENT;
    while ((r = next_name(&rest, name)) > 0) {
        if (strcmp(name, ".") == 0)
            continue;
        int fd = make_step(w->fd, name, w->owner);
        if (fd < 0)
            return fd;
        fd_close(w->fd);
        w->fd = fd;
    }
    return r;
}

/* Nothing exists here, so the rest is taken as written. A ".." in it (from a
 * symlink) has no meaning. */
static int walk_missing(struct walk *w, const char *rest) {
    const char *names = rest;
    char name[NAME_MAX + 1];
    int r;
    while ((r = next_name(&names, name)) > 0) {
        if (strcmp(name, "..") == 0)
            return -EXDEV;
        if (strcmp(name, ".") == 0)
            continue;
        r = buf_printf(&w->done, "/%s", name);
        if (r < 0)
            return r;
    }
    if (r == 0 && w->make)
        return walk_make(w, rest);
    w->fd = fd_close(w->fd);
    return r;
}

/* Walks one component. Returns 1 to go on, 0 at the end of the path. */
static int walk_step(struct walk *w) {
    char name[NAME_MAX + 1];
    const char *after = w->rest;
    int r = next_name(&after, name);
    if (r <= 0)
        return r;
    r = 0;
    if (strcmp(name, "..") == 0) {
        r = walk_up(w);
    } else if (strcmp(name, ".") != 0) {
        AUTO_FD int fd = open_step(w->fd, name);
        if (fd == -ENOENT)
            return walk_missing(w, w->rest);
        if (fd < 0)
            return fd;
        struct stat st;
        if (fstat(fd, &st) < 0)
            return -errno;
        if (S_ISLNK(st.st_mode)) {
            r = walk_link(w, fd, after);
            return r < 0 ? r : 1;
        }
        r = buf_printf(&w->done, "/%s", name);
        if (r == 0) {
            fd_close(w->fd);
            w->fd = TAKE_FD(fd);
        }
    }
    memmove(w->rest, after, strlen(after) + 1);
    return r < 0 ? r : 1;
}

static int walk_all(struct walk *w, const char *rest) {
    w->rest = strdup(rest);
    if (!w->rest)
        return -ENOMEM;
    w->root_fd = open(w->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (w->root_fd < 0)
        return errno == ENOENT ? walk_missing(w, rest) : -errno;
    int r = to_root(w);
    if (r < 0)
        return r;
    do
        r = walk_step(w);
    while (r > 0);
    return r;
}

static int resolve_below(const char *root, const char *path, bool make,
                         const struct path_owner *owner, char **ret_real, int *ret_fd) {
    const char *rest = path_text_below(root, path);
    if (!rest)
        return -EXDEV;
    __attribute__((cleanup(walk_done))) struct walk w = {
        .root = root, .root_fd = -EBADF, .fd = -EBADF, .make = make, .owner = owner};
    buf_init(&w.done, PATH_BELOW_MAX);
    int r = walk_all(&w, rest);
    if (r < 0)
        return r == -EMSGSIZE ? -ENAMETOOLONG : r;
    const char *done = buf_text(&w.done);
    char *real = NULL;
    if (asprintf(&real, "%s%s", strcmp(root, "/") == 0 && done[0] ? "" : root, done) < 0)
        return -ENOMEM;
    *ret_real = real;
    if (ret_fd)
        *ret_fd = TAKE_FD(w.fd);
    return 0;
}

int path_below_resolve(const char *root, const char *path, char **ret_real, int *ret_fd) {
    return resolve_below(root, path, false, NULL, ret_real, ret_fd);
}

int path_below_make(const char *root, const char *path, const struct path_owner *owner,
                    char **ret_real, int *ret_fd) {
    return resolve_below(root, path, true, owner, ret_real, ret_fd);
}
