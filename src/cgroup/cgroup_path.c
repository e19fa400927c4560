/* SPDX-License-Identifier: MPL-2.0 */
/* Parses /proc/<pid>/cgroup: the v2 line "0::/path", or the v1 line of one controller.
 *
 * cgroup.c and cgroup_stats.c call it to find a container's folder. A container that runs systemd
 * moves its processes below its own folder, so the path is cut after the component that contains
 * the container's id. */
#include "src/cgroup/cgroup_path.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool list_has(const char *list, size_t len, const char *name) {
    size_t n = strlen(name);
    for (const char *p = list; p < list + len;) {
        const char *comma = memchr(p, ',', (size_t)(list + len - p));
        const char *end = comma ? comma : list + len;
        if ((size_t)(end - p) == n && strncmp(p, name, n) == 0)
            return true;
        p = end + 1;
    }
    return false;
}

/* The path of the matching line, not cut. */
static const char *find_line(const char *text, const char *controller, size_t *ret_len) {
    for (const char *line = text; *line;) {
        const char *end = strchrnul(line, '\n');
        const char *list = memchr(line, ':', (size_t)(end - line));
        const char *path = list ? memchr(list + 1, ':', (size_t)(end - list - 1)) : NULL;
        if (path) {
            size_t list_len = (size_t)(path - list - 1);
            bool v2 = list_len == 0 && strncmp(line, "0:", 2) == 0;
            if (controller[0] ? list_has(list + 1, list_len, controller) : v2) {
                *ret_len = (size_t)(end - path - 1);
                return path + 1;
            }
        }
        line = *end ? end + 1 : end;
    }
    return NULL;
}

int cgroup_path_of(const char *proc_text, const char *controller, const char *container_id,
                   char *ret) {
    size_t len;
    const char *path = find_line(proc_text, controller, &len);
    if (!path || (container_id && container_id[0] == '\0'))
        return -ENODATA;
    if (len >= PATH_MAX)
        return -ENAMETOOLONG;
    char copy[PATH_MAX];
    memcpy(copy, path, len);
    copy[len] = '\0';
    char *id = container_id ? strstr(copy, container_id) : NULL;
    if (container_id && !id)
        return -ENODATA;
    if (id)
        *strchrnul(id, '/') = '\0';
    memcpy(ret, copy, strlen(copy) + 1);
    return 0;
}

int cgroup_path_read(int proc_fd, pid_t pid, char *out, size_t size) {
    char name[64];
    snprintf(name, sizeof(name), "%d/cgroup", (int)pid);
    AUTO_FD int fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    ssize_t n = pread(fd, out, size - 1, 0);
    if (n < 0)
        return -errno; /* ESRCH: the process ended after the open */
    out[n] = '\0';
    return 0;
}
