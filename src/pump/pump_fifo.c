/* SPDX-License-Identifier: MPL-2.0 */
/* Opens Nomad's log FIFOs: in the pump to write to them, in the plugin to hold them open.
 *
 * A task that can write to its allocation's folder can replace any folder in it by a symbolic link.
 * This process is root. If it followed the link, it could open the FIFO of another allocation's
 * task, and the lines of one job would appear in the log of another. So no link is followed below
 * the client's folder. In Nomad's layout, the path itself shows where that folder ends. Therefore
 * neither the pump's requests nor its records have to contain it. */
#include "src/pump/pump_fifo.h"

#include "paddock/logpump.h"
#include "paddock/path.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define LOGS "alloc/logs/"

/* Returns the part of @path below the client's folder, "<alloc id>/alloc/logs/<FIFO>", or NULL when
 * the path has another layout. */
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
    /* In another layout nothing shows which folders belong to the operator. So links are not
     * followed in any folder. */
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

int pump_fifo_open(const char *path, int *ret_fd) {
    *ret_fd = -EBADF;
    AUTO_FD int at = -EBADF;
    int r = pump_fifo_find(path, &at);
    return r < 0 || at < 0 ? r : path_open_fifo(at, ret_fd);
}
