#include "pump_dir.h"

#include "pump_proto.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

/* A pump that ends removes folder and lock file while it holds the lock: whoever gets the lock of a
 * removed file has nothing. */
static int take_lock(const struct pump_dir *d) {
    struct stat st;
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? 1 : -errno;
    if (fstat(d->lock_fd, &st) < 0)
        return -errno;
    return st.st_nlink == 0;
}

static int open_records(struct pump_dir *d) {
    if (mkdirat(d->fd, PUMP_RECORDS, 0700) < 0 && errno != EEXIST)
        return -errno;
    d->records_fd = openat(d->fd, PUMP_RECORDS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return d->records_fd < 0 ? -errno : 0;
}

int pump_dir_open(const char *path, struct pump_dir *d) {
    *d = (struct pump_dir){.path = path, .lock_fd = -EBADF, .records_fd = -EBADF};
    d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->fd < 0)
        return -errno;
    d->lock_fd = openat(d->fd, PUMP_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0)
        return -errno;
    int r = take_lock(d);
    if (r == 0)
        return open_records(d);
    d->lock_fd = fd_close(d->lock_fd);
    return r;
}

void pump_dir_close(struct pump_dir *d) {
    int keep = errno;
    if (d->records_fd >= 0) { /* the lock is ours */
        unlinkat(d->fd, PUMP_SOCKET, 0);
        if (unlinkat(d->fd, PUMP_RECORDS, AT_REMOVEDIR) == 0 && unlinkat(d->fd, PUMP_LOCK, 0) == 0)
            rmdir(d->path);
    }
    d->records_fd = fd_close(d->records_fd);
    d->lock_fd = fd_close(d->lock_fd);
    d->fd = fd_close(d->fd);
    errno = keep;
}
