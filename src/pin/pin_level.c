/* SPDX-License-Identifier: MPL-2.0 */
/* Finds out whether the effective sets below a folder can have changed since the last tick. The pin
 * thread calls it.
 *
 * With 1,000 containers most of a tick's time was spent on reading the effective sets of the
 * containers and of their sources, one by one. Nearly all of these lie in two folders, so one read
 * per folder saves most of that time. The kernel changes a tree of sets from the top down, and a
 * read can happen before it has finished. Therefore a change counts for two ticks. */
#include "src/pin/pin_level.h"

#include <string.h>

struct pin_level *pin_level_hold(struct pin_level **list, const char *below) {
    const char *slash = strrchr(below, '/');
    size_t len = slash ? (size_t)(slash - below) : 0;
    struct pin_level *x = *list;
    while (x && (strlen(x->path) != len || strncmp(x->path, below, len) != 0))
        x = x->next;
    if (!x) {
        AUTO_FREE char *path = strndup(below, len);
        x = path ? calloc(1, sizeof(*x)) : NULL;
        if (!x)
            return NULL;
        *x = (struct pin_level){
            .path = TAKE_PTR(path), .effective = CGROUP_FILE_NONE, .next = *list};
        *list = x;
    }
    x->users++;
    return x;
}

struct pin_level *pin_level_drop(struct pin_level **list, struct pin_level *x) {
    if (!x || --x->users > 0)
        return NULL;
    while (*list != x)
        list = &(*list)->next;
    *list = x->next;
    cgroup_file_close(&x->effective);
    free(x->path);
    free(x);
    return NULL;
}

static bool read_one(struct pin_level *x, int root_fd, char *scratch, size_t size) {
    bool opened = x->effective.fd < 0;
    if (opened) {
        AUTO_FD int dir = cgroup_dir_open(root_fd, x->path);
        if (dir < 0 || cgroup_file_open(dir, "cpuset.cpus.effective", &x->effective) < 0)
            return true;
    }
    bool changed = cgroup_file_read(&x->effective, scratch, size) != 0;
    int r = x->effective.r;
    if (r < 0) /* the folder was removed and may exist again: open it again */
        cgroup_file_close(&x->effective);
    return changed || opened || r < 0;
}

void pin_level_read(struct pin_level *x, bool full, int root_fd, char *scratch, size_t size) {
    x->changed = false;
    if (!full)
        return;
    bool now = read_one(x, root_fd, scratch, size);
    x->changed = now || x->again;
    x->again = now;
}
