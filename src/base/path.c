/* SPDX-License-Identifier: MPL-2.0 */
/* Opens files that a job, a container or another local user may have placed or may swap.
 *
 * The log pump opens Nomad's FIFOs with it. The create request and the image loader open files that
 * a job names. The kind of a file is checked on an O_PATH descriptor, because an open() of a device
 * node has effects of its own. Paths are walked component by component instead of with openat2(),
 * which container runtimes filter, so that all machines use the same code. */
#include "paddock/path.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Opens the component @name of the directory @dir_fd. */
static int open_step(int dir_fd, const char *name, int *ret_fd) {
    if (strcmp(name, "..") == 0)
        return -EXDEV;
    struct stat st;
    AUTO_FD int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (S_ISLNK(st.st_mode)) /* O_PATH and O_NOFOLLOW together open the link itself */
        return -ELOOP;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int path_walk(int dir_fd, const char *path, int *ret_fd) {
    AUTO_FD int at = openat(dir_fd, ".", O_PATH | O_CLOEXEC);
    int r = at < 0 ? -errno : 0;
    while (r == 0 && path[strspn(path, "/")]) {
        char name[NAME_MAX + 1];
        path += strspn(path, "/");
        size_t len = strcspn(path, "/");
        if (len > NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(name, path, len);
        name[len] = '\0';
        path += len;
        int next = -EBADF;
        r = open_step(at, name, &next);
        fd_close(at);
        at = next;
    }
    if (r == 0)
        *ret_fd = TAKE_FD(at);
    return r;
}

int path_find(const char *path, int *ret_fd) {
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

/* Opens the file of @at_fd when its kind is @kind (S_IFREG, ...). */
static int open_kind(int at_fd, mode_t kind, int flags, int *ret_fd) {
    struct stat st;
    if (fstat(at_fd, &st) < 0)
        return -errno;
    if ((st.st_mode & S_IFMT) != kind)
        return -EINVAL;
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", at_fd);
    /* O_NONBLOCK also for regular files: an owner can take a lease on the file, and a blocking
     * open() would wait until the lease is released. */
    int fd = open(link, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

int path_open_regular(int at_fd, int *ret_fd) {
    return open_kind(at_fd, S_IFREG, O_RDONLY, ret_fd);
}

int path_open_fifo(int at_fd, int *ret_fd) {
    return open_kind(at_fd, S_IFIFO, O_RDWR, ret_fd);
}

bool path_shares_mounts(int proc_fd, pid_t pid) {
    char path[64], ours[64], theirs[64];
    snprintf(path, sizeof(path), "%d/ns/mnt", (int)pid);
    ssize_t a = readlinkat(proc_fd, "self/ns/mnt", ours, sizeof(ours));
    ssize_t b = readlinkat(proc_fd, path, theirs, sizeof(theirs));
    return a > 0 && a == b && memcmp(ours, theirs, (size_t)a) == 0;
}
