/* SPDX-License-Identifier: MPL-2.0 */
/* The CPUs and memory nodes that a starting task is to have, read from Nomad's cgroups.
 *
 * The create request contains them, so they apply from the container's first instruction on.
 * Nomad's shared pool may change until the container starts. They are therefore read once more
 * just before the start, and Docker is sent the new ones. From the start on the reconciler keeps
 * them (pin.h). */
#include "src/task/task_start.h"

#include "paddock/log.h"
#include "paddock/path.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* For cgroup v1 and a task without reserved cores: the current set of Nomad's own cgroup. */
static void shared_cpuset_v1(const struct start *s, char *out, size_t size) {
    char path[PATH_MAX];
    struct cpuset set;
    AUTO_FD int at = -EBADF;
    AUTO_FD int fd = -EBADF;
    snprintf(path, sizeof(path), "%s/cpuset.effective_cpus", s->config->resources.cpuset_cgroup);
    int r = path_find(path, &at);
    if (r == 0)
        r = path_open_regular(at, &fd);
    ssize_t n = r == 0 ? read(fd, out, size - 1) : 0;
    if (r == 0)
        r = n < 0 ? -errno : cpuset_parse(out, (size_t)n, &set);
    if (r == 0)
        r = cpuset_format(&set, out, size);
    if (r >= 0)
        return;
    out[0] = '\0';
    log_warn("start", LOG_KV("task_id", s->config->id, "path", path, "error", strerror(-r)),
             "Nomad's set cannot be read, the task may use all CPUs");
}

/* The wanted set as text. It is "" when the set cannot be known. Docker then allows all CPUs, and
 * the reconciler reports that. */
static void wanted_cpuset(const struct start *s, char *out, size_t size) {
    const struct task_resources *res = &s->config->resources;
    struct cpuset set;
    out[0] = '\0';
    if (!s->plugin->cpuset_enabled)
        return;
    int fd = s->d->cgroup_v2 ? s->d->cgroup_root_fd : -EBADF;
    int r = pin_wanted_now(s->d->pin, fd, s->d->cgroup_root,
                           res->cpuset_cgroup ? res->cpuset_cgroup : "",
                           res->cpuset_cpus ? res->cpuset_cpus : "", &set);
    if (r == 0 && cpuset_format(&set, out, size) >= 0)
        return;
    if (!s->d->cgroup_v2 && !str_empty(res->cpuset_cpus))
        snprintf(out, size, "%s", res->cpuset_cpus);
    else if (!s->d->cgroup_v2 && !str_empty(res->cpuset_cgroup))
        shared_cpuset_v1(s, out, size);
}

/* The memory nodes of the wanted set, when paddock manages them. Like the set, they apply from the
 * first instruction on. */
static void wanted_mems(const struct start *s, const char *cpus, char *out, size_t size) {
    struct cpuset set, mems = {{0}};
    if (cpuset_parse(cpus, strlen(cpus), &set) == 0)
        pin_wanted_mems(s->d->pin, &set, &mems);
    if (cpuset_format(&mems, out, size) < 0)
        out[0] = '\0';
}

void task_start_cpuset_wanted(const struct start *s, char *cpus, char *mems) {
    wanted_cpuset(s, cpus, CPUSET_TEXT_MAX);
    wanted_mems(s, cpus, mems, CPUSET_TEXT_MAX);
}

void task_start_cpuset_refresh(struct start *s) {
    AUTO_FREE char *cpus = malloc(CPUSET_TEXT_MAX);
    AUTO_FREE char *mems = malloc(CPUSET_TEXT_MAX);
    json_t *host = json_object_get(s->body, "HostConfig");
    const char *asked = json_string_value(json_object_get(host, "CpusetCpus"));
    if (!cpus || !mems)
        return;
    task_start_cpuset_wanted(s, cpus, mems);
    if (!cpus[0] || (asked && strcmp(asked, cpus) == 0))
        return;
    struct call call = call_within(s->call, s->d->timeout_us);
    struct err failed = {0};
    AUTO_JSON json_t *update = json_pack("{s:s}", "CpusetCpus", cpus);
    if (mems[0] && update)
        json_object_set_new(update, "CpusetMems", json_string(mems));
    int r = update ? docker_container_update(s->d->docker, &call, s->container_id, update, &failed)
                   : -ENOMEM;
    if (r < 0)
        log_warn("start", LOG_KV("task_id", s->config->id, "cpuset", cpus, "error", failed.text),
                 "Docker did not take a new cpuset before the start; it is set after it, retrying");
    else
        json_object_update(host, update); /* for a container that replaces this one */
}
