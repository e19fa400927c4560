/* SPDX-License-Identifier: MPL-2.0 */
/* Reads and writes a cgroup's cpuset files, and finds the cgroup folder of a container.
 *
 * The reconciler and the task start call it. A text that has not changed is recognised by its bytes
 * and not parsed again. A container's folder is found by its process. It is accepted only when its
 * cgroup.procs lists the process, because /proc can name a folder outside of our mount. */
#include "paddock/cgroup.h"
#include "src/cgroup/cgroup_path.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* ---- cpuset files ---- */

int cgroup_file_open(int dir_fd, const char *name, struct cgroup_file *ret) {
    int fd = openat(dir_fd, name, O_RDWR | O_CLOEXEC);
    bool read_only = fd < 0;
    if (fd < 0 && (errno == EACCES || errno == EPERM || errno == EROFS))
        fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *ret = CGROUP_FILE_NONE;
    ret->fd = fd;
    ret->read_only = read_only;
    return 0;
}

void cgroup_file_close(struct cgroup_file *f) {
    f->fd = fd_close(f->fd);
    f->r = -EBADF;
    f->len = 0;
    f->set = (struct cpuset){{0}};
}

static int note_failure(struct cgroup_file *f, int r) {
    bool changed = f->r != r;
    f->r = r;
    f->len = 0;
    f->set = (struct cpuset){{0}};
    return changed;
}

static bool same_text(const struct cgroup_file *f, const char *text, size_t len) {
    return (f->r == 0 || f->r == -ENODATA) && len == f->len && len <= sizeof(f->memo) &&
           memcmp(f->memo, text, len) == 0;
}

static void keep_text(struct cgroup_file *f, const char *text, size_t len) {
    f->len = len;
    if (len <= sizeof(f->memo))
        memcpy(f->memo, text, len);
}

int cgroup_file_read(struct cgroup_file *f, char *scratch, size_t size) {
    if (f->fd < 0)
        return note_failure(f, -EBADF);
    ssize_t n = pread(f->fd, scratch, size, 0);
    if (n < 0)
        return note_failure(f, -errno);
    if ((size_t)n == size)
        return note_failure(f, -EOVERFLOW);
    if (same_text(f, scratch, (size_t)n))
        return 0;
    struct cpuset set = {{0}};
    int r = cpuset_parse(scratch, (size_t)n, &set);
    bool changed = r != f->r || (r == 0 && !cpuset_equal(&set, &f->set));
    f->r = r;
    f->set = set;
    keep_text(f, scratch, (size_t)n);
    return changed;
}

int cgroup_file_write(struct cgroup_file *f, const struct cpuset *set, char *scratch, size_t size) {
    if (cpuset_is_empty(set))
        return -EINVAL;
    if (f->fd < 0)
        return -EBADF;
    if (f->read_only)
        return -EACCES;
    int n = cpuset_format(set, scratch, size);
    if (n < 0)
        return n;
    size_t len = (size_t)n;
    do {
        if (len + 1 >= size)
            return -ENOSPC;
        scratch[len++] = '\n';
    } while (len < f->len);
    ssize_t wrote = pwrite(f->fd, scratch, len, 0);
    if (wrote < 0)
        return -errno;
    if ((size_t)wrote != len)
        return -EIO;
    f->r = 0;
    f->set = *set;
    keep_text(f, scratch, len);
    return 0;
}

/* ---- folders ---- */

static bool has_parent_step(const char *path) {
    for (const char *p = path; (p = strstr(p, "..")); p += 2)
        if ((p == path || p[-1] == '/') && (p[2] == '/' || p[2] == '\0'))
            return true;
    return false;
}

int cgroup_dir_open(int root_fd, const char *path) {
    while (*path == '/')
        path++;
    if (has_parent_step(path))
        return -EINVAL;
    int fd = openat(root_fd, path[0] ? path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int lists_pid(FILE *f, pid_t pid) {
    char line[32];
    while (fgets(line, sizeof(line), f))
        if (strtol(line, NULL, 10) == (long)pid)
            return 0;
    /* A threaded cgroup does not list its processes; it answers EOPNOTSUPP. */
    return ferror(f) && errno != EOPNOTSUPP ? -errno : ferror(f) ? 0 : -ESTALE;
}

static int check_procs(int root_fd, const char *path, pid_t pid) {
    AUTO_FD int dir = cgroup_dir_open(root_fd, path);
    if (dir < 0)
        return dir;
    AUTO_FD int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    FILE *f = fdopen(fd, "re");
    if (!f)
        return -errno;
    TAKE_FD(fd);
    errno = 0;
    int r = lists_pid(f, pid);
    fclose(f);
    return r;
}

static int find_container(int proc_fd, int root_fd, pid_t pid, const char *container_id,
                          char *ret_path, char *ret_own) {
    char text[CGROUP_PATH_TEXT_MAX], own[PATH_MAX], cut[PATH_MAX];
    int r = cgroup_path_read(proc_fd, pid, text, sizeof(text));
    if (r == 0)
        r = cgroup_path_of(text, "", container_id, cut);
    if (r == 0)
        r = cgroup_path_of(text, "", NULL, own);
    if (r == 0 && has_parent_step(own))
        r = -EXDEV;
    if (r == 0)
        r = check_procs(root_fd, own, pid);
    if (r < 0)
        return r;
    int fd = cgroup_dir_open(root_fd, cut);
    if (fd >= 0)
        snprintf(ret_path, PATH_MAX, "%s", cut + strspn(cut, "/"));
    if (fd >= 0 && ret_own)
        snprintf(ret_own, PATH_MAX, "%s", own + strspn(own, "/"));
    return fd;
}

int cgroup_container_open(int proc_fd, int root_fd, pid_t pid, const char *container_id,
                          char *ret_path, char *ret_own) {
    int r = find_container(proc_fd, root_fd, pid, container_id, ret_path, ret_own);
    /* When an init process moves itself to init.scope between the two reads, neither folder lists
     * it. So we read again. */
    if (r == -ESTALE || r == -ENOENT)
        r = find_container(proc_fd, root_fd, pid, container_id, ret_path, ret_own);
    return r;
}
