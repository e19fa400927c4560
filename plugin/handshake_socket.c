/* SPDX-License-Identifier: MPL-2.0 */
/* Makes the private folder of the plugin's socket; serve.c calls it.
 *
 * Each process makes its own folder and holds a lock on it. A killed process leaves its folder and
 * loses the lock. The next start in the same place removes such folders. A process that has made
 * its folder and does not hold the lock yet looks dead. After it got the lock it therefore checks
 * that its folder still exists, and makes another one if not. */
#include "plugin/handshake.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define DIR_PREFIX "paddock-"
#define DIR_RANDOM "XXXXXX"
#define DIR_TEMPLATE "/" DIR_PREFIX DIR_RANDOM
#define SOCKET_FILE "plugin.sock"
#define SOCKET_NAME "/" SOCKET_FILE
#define MAKE_ATTEMPTS 16

/* ---- folders that killed plugins left ---- */

static bool is_ours_by_name(const char *name) {
    static const char random[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    size_t prefix = strlen(DIR_PREFIX), len = strlen(DIR_RANDOM);
    return strncmp(name, DIR_PREFIX, prefix) == 0 && strlen(name + prefix) == len &&
           strspn(name + prefix, random) == len;
}

/* Plugins of older versions hold no lock, so try to connect. */
static bool plugin_answers(const char *parent, const char *name) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s" SOCKET_NAME, parent, name);
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || n < 0 || (size_t)n >= sizeof(a.sun_path))
        return true; /* unknown: keep it */
    return connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0 || errno == EAGAIN;
}

/* Removes the folder @name when its process is dead. Other users may write to the parent (/tmp), so
 * everything is done on the folder's fd, and only when the folder belongs to our own user. */
static void sweep_one(int parent_fd, const char *parent, const char *name) {
    struct stat st;
    AUTO_FD int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid() ||
        flock(fd, LOCK_EX | LOCK_NB) < 0 || plugin_answers(parent, name))
        return;
    unlinkat(fd, SOCKET_FILE, 0);
    unlinkat(parent_fd, name, AT_REMOVEDIR); /* fails when the folder contains another file */
}

static void sweep_parent(const char *parent) {
    DIR *d = opendir(parent);
    for (const struct dirent *e; d && (e = readdir(d));)
        if (is_ours_by_name(e->d_name))
            sweep_one(dirfd(d), parent, e->d_name);
    if (d)
        closedir(d);
}

/* ---- our own folder ---- */

/* Checks that @dir fits into a handshake line and a sockaddr_un. */
static int dir_check(const char *dir) {
    if (strpbrk(dir, "|\n"))
        return -EINVAL;
    size_t limit = sizeof(((struct handshake_socket *)0)->path);
    return strlen(dir) + strlen(DIR_TEMPLATE) + strlen(SOCKET_NAME) < limit ? 0 : -ENAMETOOLONG;
}

static bool is_at(int fd, const char *path) {
    struct stat held, there;
    return fstat(fd, &held) == 0 && lstat(path, &there) == 0 && held.st_dev == there.st_dev &&
           held.st_ino == there.st_ino;
}

/* When the file system has no locks at all, no other process can get one to remove the folder. */
static int make_dir(struct handshake_socket *s, const char *parent) {
    for (int i = 0; i < MAKE_ATTEMPTS; i++) {
        snprintf(s->dir, sizeof(s->dir), "%s" DIR_TEMPLATE, parent);
        if (!mkdtemp(s->dir))
            return -errno;
        AUTO_FD int fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        bool lost = fd < 0 || (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
        if (!lost && is_at(fd, s->dir)) {
            s->lock_fd = TAKE_FD(fd);
            return 0;
        }
        rmdir(s->dir); /* another plugin is removing it as well */
    }
    return -EAGAIN;
}

int handshake_socket_make(const char *wanted_dir, const char *tmp_dir, struct handshake_socket *ret,
                          struct err *err) {
    const char *parent = "/tmp";
    if (wanted_dir && wanted_dir[0]) {
        int r = dir_check(wanted_dir);
        if (r < 0)
            return err_set(err, ERR_PLAIN, -r, "PLUGIN_UNIX_SOCKET_DIR \"%s\": %s", wanted_dir,
                           strerror(-r));
        parent = wanted_dir;
    } else if (tmp_dir && tmp_dir[0] && dir_check(tmp_dir) == 0) {
        parent = tmp_dir;
    }
    struct handshake_socket s;
    AUTO_FREE char *absolute = realpath(parent, NULL);
    if (!absolute || dir_check(absolute) < 0) {
        int code = absolute ? ENAMETOOLONG : errno;
        return err_set(err, ERR_PLAIN, code, "folder for the socket, %s: %s", parent,
                       strerror(code));
    }
    sweep_parent(absolute);
    int r = make_dir(&s, strcmp(absolute, "/") == 0 ? "" : absolute);
    if (r < 0)
        return err_set(err, ERR_PLAIN, -r, "cannot make a folder in %s: %s", parent, strerror(-r));
    size_t len = strlen(s.dir);
    memcpy(s.path, s.dir, len);
    memcpy(s.path + len, SOCKET_NAME, sizeof(SOCKET_NAME));
    *ret = s;
    return 0;
}

void handshake_socket_remove(struct handshake_socket *s) {
    int keep = errno;
    if (s->dir[0]) {
        unlink(s->path); /* in most cases gRPC has removed it already */
        rmdir(s->dir);
        s->lock_fd = fd_close(s->lock_fd);
        s->dir[0] = '\0';
    }
    errno = keep;
}
