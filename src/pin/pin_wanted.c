/* The wanted set right now, for the create request: the same rule, on files opened for this one
 * time. */
#include "src/pin/pin_source.h"

#include <string.h>

struct look {
    struct cgroup_file cpus, effective;
    struct pin_parent *parent;
    char scratch[CPUSET_TEXT_MAX];
};

static void look_free(struct look **l) {
    if (!*l)
        return;
    cgroup_file_close(&(*l)->cpus);
    cgroup_file_close(&(*l)->effective);
    pin_parent_free((*l)->parent);
    free(*l);
}

static int open_and_read(int dir, const char *name, struct look *l, struct cgroup_file *f) {
    int r = cgroup_file_open(dir, name, f);
    if (r == 0 && cgroup_file_read(f, l->scratch, sizeof(l->scratch)) >= 0)
        r = f->r;
    return r;
}

static int from_files(int root_fd, const char *below, const struct cpuset *own,
                      struct cpuset *ret) {
    __attribute__((cleanup(look_free))) struct look *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->cpus = l->effective = CGROUP_FILE_NONE;
    int r = pin_parent_new(below, &l->parent);
    if (r < 0)
        return r;
    struct pin_source s = {.has_path = true, .in_reserve = l->parent->in_reserve, .own = own};
    AUTO_FD int dir = s.own && s.in_reserve ? -EBADF : cgroup_dir_open(root_fd, below);
    s.cpus_r = dir < 0 ? dir : open_and_read(dir, "cpuset.cpus", l, &l->cpus);
    s.effective_r = dir < 0 ? dir : open_and_read(dir, "cpuset.cpus.effective", l, &l->effective);
    s.cpus = &l->cpus.set;
    s.effective = &l->effective.set;
    if (pin_parent_read(l->parent, root_fd, l->scratch, sizeof(l->scratch)) >= 0 &&
        l->parent->reserve.r == 0)
        s.others = &l->parent->reserve.set;
    s.share_blank = l->parent->cpus.r == -ENODATA;
    switch (pin_source_wanted(&s, ret)) {
    case PIN_HOLD_NOT:
        return 0;
    case PIN_HOLD_EMPTY:
        return -ENODATA;
    default:
        return s.cpus_r < 0 && s.cpus_r != -ENODATA ? s.cpus_r : s.effective_r;
    }
}

int pin_wanted_now(int cgroup_root_fd, const char *cgroup_root, const char *source,
                   const char *reserved, struct cpuset *ret) {
    struct cpuset own;
    const char *below = pin_source_below(cgroup_root, source);
    int r = cpuset_parse(reserved, strlen(reserved), &own);
    if (r < 0 && r != -ENODATA)
        return r;
    if (source[0] == '\0' && r == 0) {
        *ret = own;
        return 0;
    }
    if (below[0] == '\0' || cgroup_root_fd < 0)
        return -ENOENT;
    return from_files(cgroup_root_fd, below, r == 0 ? &own : NULL, ret);
}
