#include "paddock/logpump.h"

#include "paddock/cleanup.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* A task can write to its alloc's log folder on old clients, and put another in its place wherever
 * it has its alloc's folder: a link in the place of the FIFO or of that folder must not lead the
 * pump, which is root, to other tasks' FIFOs. What stands above belongs to Nomad and may be reached
 * through links. */
int logpump_fifo_open(const char *path, int *ret_fd) {
    *ret_fd = -EBADF;
    if (path[0] == '\0' || strcmp(path, "/dev/null") == 0)
        return 0;
    char dir_copy[PATH_MAX], name_copy[PATH_MAX];
    if (strlen(path) >= PATH_MAX)
        return -ENAMETOOLONG;
    snprintf(dir_copy, sizeof(dir_copy), "%s", path);
    snprintf(name_copy, sizeof(name_copy), "%s", path);
    AUTO_FD int dir = open(dirname(dir_copy), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    AUTO_FD int fd = openat(dir, basename(name_copy), O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISFIFO(st.st_mode))
        return -EINVAL;
    *ret_fd = TAKE_FD(fd);
    return 0;
}
