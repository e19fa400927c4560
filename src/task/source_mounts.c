/* SPDX-License-Identifier: MPL-2.0 */
/* Makes, removes and lists the mounts of source_mounts.h. Only sources.c calls this file, and its
 * lock keeps two calls from working below one folder at the same time.
 *
 * mount() takes path names. Each name here is below an open directory (/proc/self/fd/N/NAME), so
 * that no other process can lead it elsewhere. */
#include "src/task/source_mounts.h"

#include "paddock/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* Length of a path "/proc/self/fd/N/NAME", see fd_path(). */
#define FD_PATH_MAX (32 + NAME_MAX)

static void fd_path(int fd, const char *name, char out[FD_PATH_MAX]) {
    snprintf(out, FD_PATH_MAX, "/proc/self/fd/%d%s%s", fd, name[0] ? "/" : "", name);
}

static int open_dir(int at, const char *path) {
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* ---- removal ---- */

static int remove_point(int dir_fd, const char *name) {
    char path[FD_PATH_MAX];
    fd_path(dir_fd, name, path);
    do /* several, when a start was interrupted */
        (void)mount(NULL, path, NULL, MS_REC | MS_PRIVATE, NULL); /* fails when it is not a mount */
    while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0);
    /* What is still mounted or not empty stays; the kernel refuses to remove it. */
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 &&
        (errno != ENOTDIR || unlinkat(dir_fd, name, 0) < 0))
        return -errno;
    return 0;
}

static int next_entry(DIR *d, const char **ret) {
    const struct dirent *e;
    do {
        errno = 0;
        e = readdir(d);
    } while (e && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0));
    *ret = e ? e->d_name : NULL;
    return e ? 1 : -errno;
}

static DIR *open_list(int dir_fd) {
    int fd = open_dir(dir_fd, "."); /* a descriptor with its own position */
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d)
        fd_close(fd);
    return d;
}

static int remove_points(int dir_fd) {
    DIR *d = open_list(dir_fd);
    const char *name;
    int r = d ? 0 : -errno, failed = 0;
    while (r == 0 && (r = next_entry(d, &name)) > 0) {
        r = remove_point(dir_fd, name);
        failed = failed ? failed : r;
        r = 0;
    }
    if (d)
        closedir(d);
    return r < 0 ? r : failed;
}

static int remove_at(int dir_fd, const char *container) {
    AUTO_FD int fd = open_dir(dir_fd, container);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    int r = remove_points(fd);
    if (r == 0)
        r = unlinkat(dir_fd, container, AT_REMOVEDIR) < 0 ? -errno : 1;
    return r;
}

int source_mounts_remove(const char *dir, const char *container) {
    AUTO_FD int dir_fd = open_dir(AT_FDCWD, dir);
    if (dir_fd < 0)
        return dir_fd == -ENOENT ? 0 : dir_fd;
    int r = remove_at(dir_fd, container);
    if (r > 0)
        (void)rmdir(dir); /* removes the folder together with the last container */
    return r;
}

/* ---- creation ---- */

static int make_point(int dir_fd, const struct create_source *s) {
    if (s->is_dir)
        return mkdirat(dir_fd, s->name, 0700) < 0 ? -errno : 0;
    AUTO_FD int fd =
        openat(dir_fd, s->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : 0;
}

static int mount_one(int dir_fd, const struct create_source *s) {
    char from[FD_PATH_MAX], to[FD_PATH_MAX];
    int r = make_point(dir_fd, s);
    if (r < 0)
        return r;
    fd_path(s->fd, "", from);
    fd_path(dir_fd, s->name, to);
    if (mount(from, to, NULL, MS_BIND | MS_REC, NULL) < 0 ||
        (!s->shared && mount(NULL, to, NULL, MS_REC | MS_PRIVATE, NULL) < 0))
        return -errno;
    return 0;
}

static int make_folder(int dir_fd, const char *container) {
    int r = remove_at(dir_fd, container);
    if (r < 0)
        return r;
    if (mkdirat(dir_fd, container, 0700) < 0)
        return -errno;
    return open_dir(dir_fd, container);
}

int source_mounts_make(const char *dir, const char *container, const struct create_sources *s,
                       struct err *err) {
    /* Recoverable: an error of the host, so Nomad may place the task elsewhere. */
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return err_set(err, ERR_RECOVERABLE, errno, "folder %s: %s", dir, strerror(errno));
    AUTO_FD int dir_fd = open_dir(AT_FDCWD, dir);
    AUTO_FD int fd = dir_fd < 0 ? dir_fd : make_folder(dir_fd, container);
    if (fd < 0)
        return err_set(err, ERR_RECOVERABLE, -fd, "folder %s/%s: %s", dir, container,
                       strerror(-fd));
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->n; i++) {
        r = mount_one(fd, &s->v[i]);
        if (r == -EACCES) /* root gets this from AppArmor or SELinux */
            r = -EPERM;
        if (r < 0)
            err_set(err, ERR_PLAIN, -r, "cannot mount \"%s\": %s", s->v[i].text, strerror(-r));
    }
    if (r < 0 && source_mounts_remove(dir, container) < 0)
        log_debug("start", LOG_KV("container", container), "mounts are left of a failed start");
    return r;
}

int source_mounts_list(const char *dir, struct strv *ret) {
    AUTO_FD int dir_fd = open_dir(AT_FDCWD, dir);
    AUTO_STRV struct strv names = {0};
    if (dir_fd < 0)
        return dir_fd == -ENOENT ? 0 : dir_fd;
    DIR *d = open_list(dir_fd);
    const char *name;
    int r = d ? 0 : -errno;
    while (r == 0 && (r = next_entry(d, &name)) > 0)
        r = strv_add(&names, name);
    if (d)
        closedir(d);
    if (r == 0)
        *ret = TAKE_STRUCT(names);
    return r;
}
