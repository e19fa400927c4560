/* SPDX-License-Identifier: MPL-2.0 */
/* The create request of a start: what Docker is sent, and the mounts that it refers to.
 *
 * create.h builds the JSON; this file collects what it needs to know of this host. The mounts of
 * what a job may mount are made here as well (sources.c). Where another task of the allocation
 * could swap a folder of Nomad, that folder is mounted, too (siblings.h). task_start.c calls this
 * file again after a pull, and when Docker knows more about the allocation than this process. */
#include "src/task/task_start.h"

#include <fcntl.h>

/* Some kernels refuse memory.swappiness on cgroup v1. Like the built-in driver, we probe Nomad's
 * own cgroup. */
static bool can_set_swappiness(const struct driver *d) {
    if (d->cgroup_v2 || d->cgroup_root_fd < 0)
        return false;
    AUTO_FD int fd =
        openat(d->cgroup_root_fd, "memory/nomad/memory.swappiness", O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, "0", 1) == 1;
}

/* @sources_dir: NULL = Docker is sent the names of what the job mounts. */
static int build_request(struct start *s, const char *sources_dir, struct err *err) {
    struct fingerprint_docker docker;
    int r = fingerprint_info(s->d->fingerprint, s->call, &docker, err);
    if (r < 0)
        return r;
    int minor = docker_http_api_minor(s->d->docker, s->call, err);
    if (minor < 0)
        return minor;
    AUTO_FREE char *cpus = malloc(CPUSET_TEXT_MAX);
    AUTO_FREE char *mems = malloc(CPUSET_TEXT_MAX);
    if (!cpus || !mems)
        return err_oom(err);
    task_start_cpuset_wanted(s, cpus, mems);
    struct create_host host = {.cpuset = cpus,
                               .mems = mems,
                               .runtimes = docker.runtimes,
                               .cgroup_v2 = s->d->cgroup_v2,
                               .swappiness = can_set_swappiness(s->d),
                               .num_cpu = s->d->num_cpu,
                               .total_compute_mhz = s->plugin->node_total_compute_mhz,
                               .owner_label = client_owner(s->d),
                               .sources_dir = sources_dir,
                               .hold = sources_dir ? s->hold : 0,
                               .api_minor = minor,
                               .root = docker.remapped ? &docker.root : NULL};
    return create_build(s->config, &s->job, s->plugin, &host, &s->body, &s->sources, err);
}

/* Builds the request. Where this process cannot mount, Docker is sent names, and the task is
 * not guarded. */
static int plan_and_build(struct start *s, char **ret_dir, struct err *err) {
    AUTO_FREE char *dir = NULL;
    json_decref(TAKE_PTR(s->body));
    create_sources_done(&s->sources);
    int r = sources_plan(s->d, s->plugin, &s->job, s->hold != 0, s->name, &dir, err);
    if (r < 0)
        return r;
    if (r == 0 && s->hold) {
        s->guarded = false;
        s->hold = 0;
    }
    *ret_dir = TAKE_PTR(dir);
    return build_request(s, *ret_dir, err);
}

/* Builds the request. What the task must be guarded against is known here only as far as this
 * process knows it; settle_names() asks Docker for the rest. */
static int build_guarded(struct start *s, struct err *err) {
    AUTO_FREE char *dir = NULL;
    if (s->guarded)
        s->hold |= siblings_expose(s->d, &s->sibling);
    int r = plan_and_build(s, &dir, err);
    while (r == 0 && s->guarded && s->sources.reaches) {
        r = siblings_reach(s->d, &s->sibling, s->call, err);
        if (r <= 0)
            break;
        s->hold = CREATE_OWN_ALL;
        cleanup_free(&dir);
        r = plan_and_build(s, &dir, err);
    }
    if (r == 0 && s->hold == CREATE_OWN_ALL)
        siblings_cover(s->d, &s->sibling);
    return r;
}

int task_start_request_prepare(struct start *s, struct err *err) {
    if (!s->name && !(s->name = create_name(s->config)))
        return err_oom(err);
    s->guarded = sources_possible(s->d, s->plugin);
    int r = build_guarded(s, err);
    if (r < 0)
        return r;
    struct err failed = {0};
    r = sources_mount(s->d, s->name, &s->sources, &failed);
    create_sources_close(&s->sources);
    if (r == -EPERM) { /* Docker is sent names now; plan_and_build() logs that */
        AUTO_FREE char *dir = NULL;
        s->guarded = false;
        return plan_and_build(s, &dir, err);
    }
    return r < 0 ? err_set(err, failed.cls, -r, "%s", failed.text) : 0;
}
