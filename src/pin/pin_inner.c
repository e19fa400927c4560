/* SPDX-License-Identifier: MPL-2.0 */
/* The cgroup folders below a container's own folder, down to the folder of its init process.
 *
 * crun creates a folder "container" in the scope, and writes the set of the create request into it
 * too. That set would prevent a wider set from taking effect. So each level that has a set of its
 * own gets the container's set. A blank file inherits and is not changed. The pin thread calls this
 * for each task. */
#include "src/pin/pin_inner.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define INNER_MAX 4u /* deeper levels belong to the container's own processes */

struct pin_inner {
    unsigned n;
    struct cgroup_file levels[INNER_MAX]; /* the outermost one first */
};

static int open_level(int root_fd, const char *path, struct cgroup_file *ret) {
    AUTO_FD int dir = cgroup_dir_open(root_fd, path);
    return dir < 0 ? dir : cgroup_file_open(dir, "cpuset.cpus", ret);
}

int pin_inner_open(int root_fd, const char *dir_path, const char *own, struct pin_inner **ret) {
    size_t len = strlen(dir_path);
    char path[PATH_MAX];
    *ret = NULL;
    if (strncmp(own, dir_path, len) != 0 || own[len] != '/')
        return 0;
    struct pin_inner *x = calloc(1, sizeof(*x));
    if (!x)
        return -ENOMEM;
    for (size_t at = len; own[at] == '/' && x->n < INNER_MAX;) {
        at += 1 + strcspn(own + at + 1, "/");
        snprintf(path, sizeof(path), "%.*s", (int)at, own);
        /* Without the file the cpuset controller is not enabled here, nor below. */
        if (open_level(root_fd, path, &x->levels[x->n]) < 0)
            break;
        x->n++;
    }
    *ret = x;
    return 0;
}

struct pin_inner *pin_inner_close(struct pin_inner *x) {
    for (unsigned i = 0; x && i < x->n; i++)
        cgroup_file_close(&x->levels[i]);
    free(x);
    return NULL;
}

bool pin_inner_read(struct pin_inner *x, char *scratch, size_t size) {
    bool changed = false;
    for (unsigned i = 0; x && i < x->n; i++)
        changed |= cgroup_file_read(&x->levels[i], scratch, size) != 0;
    return changed;
}

unsigned pin_inner_write(struct pin_inner *x, const struct cpuset *set, bool up, char *scratch,
                         size_t size) {
    unsigned failed = 0;
    for (unsigned i = 0; x && i < x->n; i++) {
        struct cgroup_file *f = &x->levels[up ? x->n - 1 - i : i];
        if (f->r == 0 && !cpuset_equal(&f->set, set) &&
            cgroup_file_write(f, set, scratch, size) < 0)
            failed++;
    }
    return failed;
}
