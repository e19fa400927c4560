/* SPDX-License-Identifier: MPL-2.0 */
/* The slices of the Nomad client whose files say which cores are reserved and which are shared.
 *
 * All tasks of one client share them, so the pin thread reads them once per pass. A slice can be
 * removed and created again when the client's agent restarts. A file of a removed slice is
 * therefore closed and opened again. */
#include "src/pin/pin_parent.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

const char *pin_parent_below(const char *root, const char *source) {
    size_t len = strlen(root);
    while (len > 1 && root[len - 1] == '/')
        len--;
    if (strncmp(source, root, len) != 0 || source[len] != '/')
        return "";
    return source + len + strspn(source + len, "/");
}

/* ---- list of the folders in use ---- */

static bool ends_in(const char *path, const char *name) {
    const char *slash = strrchr(path, '/');
    return strcmp(slash ? slash + 1 : path, name) == 0;
}

static size_t parent_len(const char *below) {
    const char *slash = strrchr(below, '/');
    return slash ? (size_t)(slash - below) : 0;
}

int pin_parent_new(const char *below, struct pin_parent **ret) {
    AUTO_FREE struct pin_parent *x = calloc(1, sizeof(*x));
    if (!x)
        return -ENOMEM;
    x->path = strndup(below, parent_len(below));
    if (!x->path)
        return -ENOMEM;
    x->in_share = ends_in(x->path, "share.slice");
    x->in_reserve = ends_in(x->path, "reserve.slice");
    x->cpus = x->reserve = PIN_FILE_NONE;
    *ret = TAKE_PTR(x);
    return 0;
}

void pin_parent_free(struct pin_parent *x) {
    if (!x)
        return;
    cgroup_file_close(&x->cpus.file);
    cgroup_file_close(&x->reserve.file);
    free(x->path);
    free(x);
}

int pin_parent_hold(struct pin_parent **list, const char *below, struct pin_parent **ret) {
    size_t len = parent_len(below);
    struct pin_parent *x = *list;
    while (x && (strlen(x->path) != len || strncmp(x->path, below, len) != 0))
        x = x->next;
    if (!x) {
        int r = pin_parent_new(below, &x);
        if (r < 0)
            return r;
        x->next = *list;
        *list = x;
    }
    x->users++;
    *ret = x;
    return 0;
}

void pin_parent_drop(struct pin_parent **list, struct pin_watch *w, struct pin_parent *x) {
    if (!x || --x->users > 0)
        return;
    while (*list != x)
        list = &(*list)->next;
    *list = x->next;
    pin_watch_del(w, &x->cpus);
    pin_watch_del(w, &x->reserve);
    pin_parent_free(x);
}

/* ---- reading ---- */

static int read_one(struct pin_file *f, int root_fd, const char *dir, char *scratch, size_t size) {
    f->dirty = false;
    if (f->file.fd < 0) {
        AUTO_FD int fd = cgroup_dir_open(root_fd, dir);
        if (fd < 0 || cgroup_file_open(fd, "cpuset.cpus", &f->file) < 0)
            return 0;
    }
    int changed = cgroup_file_read(&f->file, scratch, size);
    if (f->file.r == -ENODEV)
        f->file.fd = fd_close(f->file.fd); /* the next pass tries to open the new one */
    return changed;
}

static int read_slice(struct pin_file *f, int root_fd, const struct pin_parent *x, const char *name,
                      char *scratch, size_t size) {
    char path[PATH_MAX];
    size_t len = x->in_share || x->in_reserve ? parent_len(x->path) : strlen(x->path);
    int n = snprintf(path, sizeof(path), "%.*s/%s", (int)len, x->path, name);
    return n < (int)sizeof(path) ? read_one(f, root_fd, path, scratch, size) : 0;
}

int pin_parent_read(struct pin_parent *x, int root_fd, char *scratch, size_t size) {
    int changed = 0;
    if (!x->in_reserve)
        changed = read_slice(&x->cpus, root_fd, x, "share.slice", scratch, size);
    return read_slice(&x->reserve, root_fd, x, "reserve.slice", scratch, size) || changed;
}

static void watch_one(struct pin_file *f, struct pin_watch *w) {
    if (f->file.fd < 0)
        pin_watch_del(w, f);
    else
        pin_watch_add(w, f);
}

void pin_parent_watch(struct pin_parent *x, struct pin_watch *w) {
    watch_one(&x->cpus, w);
    watch_one(&x->reserve, w);
}
