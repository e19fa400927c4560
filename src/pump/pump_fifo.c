/* Opens Nomad's log FIFOs, in the pump and, to hold them, in the plugin.
 *
 * A task that has its allocation's folder can put a link in the place of any folder in it. Followed
 * by this process, which is root, the link would lead to the FIFO of another allocation's task, and
 * one job's lines would land in the log of another. So no link is followed below the client's
 * folder. Nomad's layout shows in the path itself where that folder ends; therefore neither the
 * pump's requests nor its records have to carry it. */
#include "pump_fifo.h"

#include "paddock/logpump.h"
#include "paddock/path.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define LOGS "alloc/logs/"

/* The part of @path below the client's folder: "<alloc id>/alloc/logs/<FIFO>". Returns NULL when
 * the path is laid out otherwise. */
static const char *below_client(const char *path) {
    const char *part[4], *end = path + strlen(path);
    for (size_t i = ARRAY_LEN(part); i-- > 0; end = part[i] - 1) {
        const char *slash = memrchr(path, '/', (size_t)(end - path));
        if (!slash)
            return NULL;
        part[i] = slash + 1;
    }
    return strncmp(part[1], LOGS, strlen(LOGS)) == 0 ? part[0] : NULL;
}

int pump_fifo_find(const char *path, int *ret_fd) {
    *ret_fd = -EBADF;
    if (path[0] == '\0' || strcmp(path, "/dev/null") == 0)
        return 0;
    if (path[0] != '/')
        return -EINVAL;
    /* In another layout nothing shows which folders are the operator's: links are not followed in
     * any of them. */
    const char *below = below_client(path);
    if (!below)
        below = path + 1;
    char client[PATH_MAX];
    if ((size_t)(below - path) >= sizeof(client))
        return -ENAMETOOLONG;
    snprintf(client, sizeof(client), "%.*s", (int)(below - path), path);
    AUTO_FD int dir = -EBADF;
    int r = path_find(client, &dir);
    return r < 0 ? r : path_walk(dir, below, ret_fd);
}

int logpump_fifo_open(const char *path, int *ret_fd) {
    *ret_fd = -EBADF;
    AUTO_FD int at = -EBADF;
    int r = pump_fifo_find(path, &at);
    return r < 0 || at < 0 ? r : path_open_fifo(at, ret_fd);
}
