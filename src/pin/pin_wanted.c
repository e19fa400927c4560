/* SPDX-License-Identifier: MPL-2.0 */
/* Computes the set of a container that is about to be created, with the reconciler's rule. It opens
 * the files that the rule needs, reads them once and closes them.
 *
 * StartTask calls it before it sends the create request to Docker. Without a set the container
 * would start on all CPUs, so the rule gets all CPUs as the actual set. */
#include "src/pin/pin_priv.h"

#include <string.h>

struct look {
    struct cgroup_file cpus, effective, online;
    struct pin_parent *parent;
    struct pin_view view;
    struct cpuset others;
    char scratch[CPUSET_TEXT_MAX];
};

static void look_free(struct look **l) {
    if (!*l)
        return;
    cgroup_file_close(&(*l)->cpus);
    cgroup_file_close(&(*l)->effective);
    cgroup_file_close(&(*l)->online);
    pin_parent_free((*l)->parent);
    free(*l);
}

/* When a file cannot be opened, @f->r is the reason. */
static void open_and_read(int dir, const char *name, struct look *l, struct cgroup_file *f) {
    int r = dir < 0 ? dir : cgroup_file_open(dir, name, f);
    if (r < 0)
        f->r = r;
    else if (cgroup_file_read(f, l->scratch, sizeof(l->scratch)) < 0)
        f->r = -EIO;
}

static int read_source(struct look *l, int root_fd, const char *below) {
    int r = pin_parent_new(below, &l->parent);
    if (r < 0)
        return r;
    r = pin_parent_read(l->parent, root_fd, l->scratch, sizeof(l->scratch));
    AUTO_FD int dir = cgroup_dir_open(root_fd, below);
    open_and_read(dir, "cpuset.cpus", l, &l->cpus);
    open_and_read(dir, "cpuset.cpus.effective", l, &l->effective);
    return r < 0 ? r : 0;
}

static void known_reservations(struct pin *p, struct cpuset *ret) {
    *ret = (struct cpuset){{0}};
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    *ret = p->reserved;
    pthread_mutex_unlock(&p->lock);
}

static int why_not(enum pin_hold hold, const struct look *l) {
    if (hold == PIN_HOLD_NO_PATH)
        return -ENOENT;
    if (hold == PIN_HOLD_GONE && l->effective.r < 0 && l->effective.r != -ENODATA)
        return l->effective.r;
    return -ENODATA;
}

int pin_wanted_now(struct pin *p, int cgroup_root_fd, const char *cgroup_root, const char *source,
                   const char *reserved, struct cpuset *ret) {
    struct cpuset own;
    const char *below = pin_parent_below(cgroup_root, source);
    int r = cpuset_parse(reserved, strlen(reserved), &own);
    if (r < 0 && r != -ENODATA)
        return r;
    bool has_own = r == 0;
    if (cgroup_root_fd < 0) {
        if (!has_own || source[0])
            return -ENOENT;
        *ret = own;
        return 0;
    }
    __attribute__((cleanup(look_free))) struct look *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->cpus = l->effective = l->online = CGROUP_FILE_NONE;
    open_and_read(cgroup_root_fd, "cpuset.cpus.effective", l, &l->online);
    r = below[0] ? read_source(l, cgroup_root_fd, below) : 0;
    if (r < 0)
        return r;
    known_reservations(p, &l->others);
    l->view = (struct pin_view){.others = &l->others,
                                .online = l->online.r == 0 ? &l->online.set : NULL,
                                .actual_r = -ENODATA,
                                .effective_r = -ENODATA};
    l->view.hold = pin_source_want(l->parent, &l->cpus, &l->effective, below[0] != '\0',
                                   has_own ? &own : NULL, &l->others, &l->view.wanted);
    struct pin_plan plan;
    pin_plan(&l->view, &plan);
    if (!plan.has_set)
        return why_not(l->view.hold, l);
    *ret = plan.set;
    return 0;
}

void pin_wanted_mems(const struct pin *p, const struct cpuset *cpus, struct cpuset *ret) {
    pin_nodes_of(&p->nodes, cpus, ret);
}
