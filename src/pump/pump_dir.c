/* SPDX-License-Identifier: MPL-2.0 */
/* The pump's private folder: its lock, its position files, and its removal.
 *
 * pump_main.c opens and closes the folder of a pump, and makes it again when another program has
 * removed it. The plugin (src/logs) makes it before a pump starts, and removes an empty one.
 *
 * A lock file can be removed while a process waits for it. Therefore take_lock() checks, after it
 * has the lock, that the file still has a name. */
#include "src/pump/pump_dir.h"

#include "src/pump/pump_proto.h"
#include "src/pump/pump_record.h"

#include <dirent.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

/* Takes the lock. A pump that ends removes folder and lock file while it holds the lock, so the
 * lock of a removed file protects nothing. Returns 0; 1 when another pump has the lock or the file
 * was removed; -errno. */
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

int pump_dir_make(const char *path) {
    AUTO_FREE char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(copy, 0700) < 0 && errno != EEXIST)
            return -errno;
        *p = '/';
    }
    return mkdir(copy, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int open_folder(const char *path, struct pump_dir *d) {
    *d = (struct pump_dir){.path = path, .fd = -EBADF, .lock_fd = -EBADF, .records_fd = -EBADF};
    d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return d->fd < 0 ? -errno : 0;
}

static int open_lock(struct pump_dir *d) {
    d->lock_fd = openat(d->fd, PUMP_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0)
        return -errno;
    int r = take_lock(d);
    if (r != 0)
        d->lock_fd = fd_close(d->lock_fd);
    return r;
}

int pump_dir_open(const char *path, struct pump_dir *d) {
    int r = open_folder(path, d);
    if (r == 0)
        r = open_lock(d);
    return r == 0 ? open_records(d) : r;
}

/* Returns true when @fd is the file @name in the folder @dir. */
static bool is_at(int fd, const char *dir, const char *name) {
    char path[PATH_MAX];
    struct stat ours, there;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_dev == there.st_dev &&
           ours.st_ino == there.st_ino;
}

static void close_all(struct pump_dir *d) {
    d->records_fd = fd_close(d->records_fd);
    d->lock_fd = fd_close(d->lock_fd);
    d->fd = fd_close(d->fd);
}

void pump_dir_close(struct pump_dir *d) {
    int keep = errno;
    /* The records are open only with the lock. Without its file, another pump may serve the
     * folder by now. */
    if (d->records_fd >= 0 && is_at(d->lock_fd, d->path, PUMP_LOCK)) {
        unlinkat(d->fd, PUMP_SOCKET, 0);
        if (unlinkat(d->fd, PUMP_RECORDS, AT_REMOVEDIR) == 0 && unlinkat(d->fd, PUMP_LOCK, 0) == 0)
            rmdir(d->path);
    }
    close_all(d);
    errno = keep;
}

/* Opens the folder again with the lock that @d has. */
static int open_again(const struct pump_dir *d, struct pump_dir *ret) {
    int r = open_folder(d->path, ret);
    if (r < 0)
        return r;
    ret->lock_fd = fcntl(d->lock_fd, F_DUPFD_CLOEXEC, 0); /* shares the lock */
    return ret->lock_fd < 0 ? -errno : open_records(ret);
}

int pump_dir_restore(struct pump_dir *d) {
    char socket[PATH_MAX];
    snprintf(socket, sizeof(socket), "%s/%s", d->path, PUMP_SOCKET);
    if (is_at(d->lock_fd, d->path, PUMP_LOCK) && is_at(d->records_fd, d->path, PUMP_RECORDS) &&
        access(socket, F_OK) == 0)
        return 0;
    struct pump_dir new;
    int r = pump_dir_make(d->path);
    if (r < 0)
        return r;
    bool locked = is_at(d->lock_fd, d->path, PUMP_LOCK);
    r = locked ? open_again(d, &new) : pump_dir_open(d->path, &new);
    if (r != 0) {
        close_all(&new);
        return r < 0 ? r : -EBUSY;
    }
    close_all(d);
    *d = new;
    return 1;
}

/* ---- folders of other pumps ---- */

#define HASH_DIGITS 16

/* Returns true when the folder of the record's FIFOs was removed with its allocation. */
static bool is_forlorn(int records_fd, const char *name) {
    char paths[2][PUMP_FIFO_PATH_MAX];
    return pump_record_read_paths(records_fd, name, paths) == 0 &&
           access(dirname(paths[0]), F_OK) < 0 && errno == ENOENT;
}

/* Removes the position files of @path whose allocation is gone. Does nothing when a pump serves
 * the folder. */
static void sweep_folder(const char *path) {
    struct pump_dir dir;
    int r = pump_dir_open(path, &dir);
    int fd = r == 0 ? openat(dir.fd, PUMP_RECORDS, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    for (const struct dirent *e; d && (e = readdir(d));)
        if (is_forlorn(dir.records_fd, e->d_name))
            unlinkat(dir.records_fd, e->d_name, 0);
    if (d)
        closedir(d);
    else
        fd_close(fd);
    pump_dir_close(&dir);
}

void pump_dir_each_sibling(const char *own, void (*visit)(void *ctx, const char *path), void *ctx) {
    char path[PATH_MAX];
    const char *name = strrchr(own, '/'), *hash = strrchr(own, '-');
    if (!name || !hash || hash < name || strlen(hash + 1) != HASH_DIGITS)
        return;
    /* The length includes the dash, because @name begins with the slash. */
    size_t prefix = (size_t)(hash - name);
    snprintf(path, sizeof(path), "%.*s", (int)(name - own), own);
    DIR *d = opendir(path);
    for (const struct dirent *e; d && (e = readdir(d));) {
        const char *rest = e->d_name + prefix;
        if (strncmp(e->d_name, name + 1, prefix) != 0 || strlen(rest) != HASH_DIGITS ||
            strspn(rest, "0123456789abcdef") != HASH_DIGITS || strcmp(rest, hash + 1) == 0)
            continue;
        snprintf(path, sizeof(path), "%.*s/%s", (int)(name - own), own, e->d_name);
        visit(ctx, path);
    }
    if (d)
        closedir(d);
}

static void sweep_one(void *ctx, const char *path) {
    (void)ctx;
    sweep_folder(path);
}

void pump_dir_sweep(const char *own) {
    pump_dir_each_sibling(own, sweep_one, NULL);
}
