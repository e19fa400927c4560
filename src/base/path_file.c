/* SPDX-License-Identifier: MPL-2.0 */
/* Opens, reads and writes files in folders that a task can write to.
 *
 * The create request reads seccomp profiles and writes hosts and resolv.conf with it. The image
 * loader opens an archive with it. A task may have replaced any of these files by a symlink, a
 * FIFO or a device node. */
#include "paddock/path_file.h"
#include "paddock/buf.h"
#include "paddock/path.h"
#include "paddock/path_below.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

static int read_fd(int fd, size_t limit, char **ret_text) {
    AUTO_BUF struct buf text;
    buf_init(&text, limit + 1);
    char piece[4096];
    for (;;) {
        ssize_t n = read(fd, piece, sizeof(piece));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        int r = buf_append(&text, piece, (size_t)n);
        if (r == -EMSGSIZE || text.len > limit)
            return -EFBIG;
        if (r < 0)
            return r;
    }
    if (text.len && memchr(text.data, '\0', text.len))
        return -EINVAL;
    char *taken = buf_take(&text);
    if (!taken)
        return -ENOMEM;
    *ret_text = taken;
    return 0;
}

/* File systems whose regular files the kernel generates when they are read. Some of them report a
 * size; sysfs reports 4096. */
static bool has_no_stored_files(long type) {
    static const long types[] = {
        PROC_SUPER_MAGIC,  SYSFS_MAGIC,        DEBUGFS_MAGIC,        TRACEFS_MAGIC,
        SECURITYFS_MAGIC,  CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,  BPF_FS_MAGIC,
        SELINUX_MAGIC,     SMACK_MAGIC,        RDTGROUP_SUPER_MAGIC, BINFMTFS_MAGIC,
        XENFS_SUPER_MAGIC, EFIVARFS_MAGIC,     NSFS_MAGIC,
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (types[i] == type)
            return true;
    return false;
}

static int check_stored(int at) {
    struct stat st;
    struct statfs fs;
    if (fstat(at, &st) < 0 || fstatfs(at, &fs) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode)) /* path_open_regular() refuses it */
        return 0;
    return st.st_size == 0 || has_no_stored_files((long)fs.f_type) ? -ENODATA : 0;
}

static int open_file(const char *root, const char *path, bool stored, int *ret_fd) {
    AUTO_FD int at = -EBADF;
    AUTO_FREE char *real = NULL;
    int r = root ? path_below_resolve(root, path, &real, &at) : path_find(path, &at);
    if (r == 0 && at < 0)
        r = -ENOENT;
    if (r == 0 && stored)
        r = check_stored(at);
    return r < 0 ? r : path_open_regular(at, ret_fd);
}

int path_file_open_stored(const char *root, const char *path, int *ret_fd) {
    return open_file(root, path, true, ret_fd);
}

static int read_file(const char *root, const char *path, bool stored, size_t limit,
                     char **ret_text) {
    AUTO_FD int fd = -EBADF;
    int r = open_file(root, path, stored, &fd);
    return r < 0 ? r : read_fd(fd, limit, ret_text);
}

int path_file_read(const char *root, const char *path, size_t limit, char **ret_text) {
    return read_file(root, path, false, limit, ret_text);
}

int path_file_read_stored(const char *root, const char *path, size_t limit, char **ret_text) {
    return read_file(root, path, true, limit, ret_text);
}

static int write_all(int fd, const char *text) {
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t n = write(fd, text, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        text += n;
        left -= (size_t)n;
    }
    return 0;
}

/* Creates a new file with mode 0644, whatever the umask is. */
static int write_fresh(int dir_fd, const char *name, const char *text,
                       const struct path_owner *owner) {
    AUTO_FD int fd =
        openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    bool set = fchmod(fd, 0644) == 0 && (!owner || fchown(fd, owner->uid, owner->gid) == 0);
    int r = set ? write_all(fd, text) : -errno;
    if (r < 0)
        unlinkat(dir_fd, name, 0);
    return r;
}

/* Returns 1 when @name is a regular file; 0 when nothing has that name; -EEXIST for any other
 * file; other -errno. */
static int regular_there(int dir_fd, const char *name) {
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    return S_ISREG(st.st_mode) ? 1 : -EEXIST;
}

int path_file_write(const char *root, const char *dir, const char *name, const char *text,
                    const struct path_owner *owner, enum path_file_how how) {
    AUTO_FREE char *real = NULL;
    AUTO_FD int at = -EBADF;
    int r = path_below_resolve(root, dir, &real, &at);
    if (r < 0)
        return r;
    if (at < 0)
        return -ENOENT;
    if (how == PATH_FILE_IF_ABSENT) {
        r = regular_there(at, name);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    char temp[64];
    snprintf(temp, sizeof(temp), ".paddock-%d.tmp", (int)gettid());
    r = write_fresh(at, temp, text, owner);
    if (r == -EEXIST) { /* left by a thread that died; thread ids repeat */
        unlinkat(at, temp, 0);
        r = write_fresh(at, temp, text, owner);
    }
    if (r < 0)
        return r;
    if (how == PATH_FILE_REPLACE) {
        r = renameat(at, temp, at, name) < 0 ? -errno : 1;
        if (r == 1)
            return r;
    } else {
        r = linkat(at, temp, at, name, 0) < 0 ? -errno : 1;
    }
    unlinkat(at, temp, 0);
    if (r == -EEXIST && how == PATH_FILE_IF_ABSENT) { /* another task of the group was first */
        r = regular_there(at, name);
        return r < 0 ? r : 0;
    }
    return r;
}
