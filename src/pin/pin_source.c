#include "src/pin/pin_source.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

const char *pin_source_below(const char *root, const char *source) {
    size_t len = strlen(root);
    while (len > 1 && root[len - 1] == '/')
        len--;
    if (strncmp(source, root, len) != 0 || source[len] != '/')
        return "";
    return source + len + strspn(source + len, "/");
}

static bool ends_in(const char *path, const char *name) {
    const char *slash = strrchr(path, '/');
    return strcmp(slash ? slash + 1 : path, name) == 0;
}

int pin_parent_new(const char *below, struct pin_parent **ret) {
    AUTO_FREE struct pin_parent *p = calloc(1, sizeof(*p));
    const char *slash = strrchr(below, '/');
    if (!p)
        return -ENOMEM;
    p->path = strndup(below, slash ? (size_t)(slash - below) : 0);
    if (!p->path)
        return -ENOMEM;
    p->in_share = ends_in(p->path, "share.slice");
    p->in_reserve = ends_in(p->path, "reserve.slice");
    p->cpus = p->reserve = CGROUP_FILE_NONE;
    p->watch = p->reserve_watch = -1;
    p->dirty = true;
    *ret = TAKE_PTR(p);
    return 0;
}

void pin_parent_free(struct pin_parent *p) {
    if (!p)
        return;
    cgroup_file_close(&p->cpus);
    cgroup_file_close(&p->reserve);
    free(p->path);
    free(p);
}

static int read_one(struct cgroup_file *f, int root_fd, const char *dir, char *scratch,
                    size_t size) {
    if (f->fd < 0) {
        AUTO_FD int fd = cgroup_dir_open(root_fd, dir);
        if (fd < 0 || cgroup_file_open(fd, "cpuset.cpus", f) < 0)
            return 0;
    }
    int changed = cgroup_file_read(f, scratch, size);
    if (f->r == -ENODEV)
        f->fd = fd_close(f->fd); /* made anew perhaps: looked for at the next pass */
    return changed;
}

static int read_slice(struct cgroup_file *f, int root_fd, const struct pin_parent *p,
                      const char *name, char *scratch, size_t size) {
    char path[PATH_MAX];
    size_t len = strlen(p->path);
    if (p->in_share || p->in_reserve) {
        const char *slash = strrchr(p->path, '/');
        len = slash ? (size_t)(slash - p->path) : 0;
    }
    int n = snprintf(path, sizeof(path), "%.*s/%s", (int)len, p->path, name);
    return n < (int)sizeof(path) ? read_one(f, root_fd, path, scratch, size) : 0;
}

int pin_parent_read(struct pin_parent *p, int root_fd, char *scratch, size_t size) {
    int changed = 0;
    if (!p->in_reserve)
        changed = read_slice(&p->cpus, root_fd, p, "share.slice", scratch, size);
    return read_slice(&p->reserve, root_fd, p, "reserve.slice", scratch, size) || changed;
}

enum pin_hold pin_source_want(const struct pin_parent *x, const struct cgroup_file *cpus,
                              const struct cgroup_file *effective, bool has_path,
                              const struct cpuset *own, struct cpuset *others, struct cpuset *ret) {
    struct pin_source s = {.has_path = has_path,
                           .own = own,
                           .others = others,
                           .cpus_r = cpus->r,
                           .cpus = &cpus->set,
                           .effective_r = effective->r,
                           .effective = &effective->set,
                           .pool_r = -ENOENT};
    if (x) {
        s.in_share = x->in_share;
        s.in_reserve = x->in_reserve;
        s.pool_r = x->cpus.r;
        s.pool = &x->cpus.set;
        cpuset_union(others, &x->reserve.set);
    }
    if (own)
        cpuset_subtract(others, own);
    return pin_source_wanted(&s, ret);
}
