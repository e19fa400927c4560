/* SPDX-License-Identifier: MPL-2.0 */
/* The rules of `paddock check`: each gets the values that were read and returns a
 * verdict and a text.
 *
 * cli_check.c reads files and asks Docker, then calls these functions. Nothing here reads the
 * machine except check_rules_scopes(), so a test can check all rules with a table of texts. A text
 * says what was found and what the operator can do. */
#include "plugin/check_rules.h"

#include "paddock/cleanup.h"
#include "paddock/cpuset.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WATCHES_LEAST 4096u
#define WATCHES_PER_TASK 2u /* the source's file and the container's file */

enum check_verdict check_rules_cores(const char *pool, const char *cores, const char *online,
                                     char ret[static CHECK_TEXT_MAX]) {
    struct cpuset up, all = {{0}}, reserved = {{0}};
    if (cpuset_parse(online, strlen(online), &up) < 0) {
        snprintf(ret, CHECK_TEXT_MAX, "the machine's CPUs cannot be read: \"%s\"", online);
        return CHECK_WARNING;
    }
    bool shared = cpuset_parse(pool, strlen(pool), &all) == 0;
    if (cpuset_parse(cores, strlen(cores), &reserved) == 0)
        cpuset_union(&all, &reserved);
    if (cpuset_is_empty(&all)) {
        snprintf(ret, CHECK_TEXT_MAX,
                 "nomad.slice says none (online: %s). A client >= 1.7 that runs as root writes it; "
                 "an older one or client.cgroup_parent keeps it elsewhere",
                 online);
        return CHECK_WARNING;
    }
    if (!cpuset_contains(&up, &all)) {
        snprintf(ret, CHECK_TEXT_MAX,
                 "shared pool %s, reserved %s, but online are %s. Bring them up, or restart the "
                 "client so that it counts again",
                 shared ? pool : "none", cores[0] ? cores : "none", online);
        return CHECK_FAILURE;
    }
    if (!shared) {
        snprintf(ret, CHECK_TEXT_MAX,
                 "all are reserved (%s), the shared pool is empty: shared tasks are held where "
                 "they are. Leave a core to the pool",
                 cores);
        return CHECK_WARNING;
    }
    snprintf(ret, CHECK_TEXT_MAX, "shared pool %s, reserved %s, online %s", pool,
             cores[0] ? cores : "none", online);
    return CHECK_OK;
}

/* Computes the CPUs that are in both lists. */
static void common_cpus(const char *a, const char *b, struct cpuset *ret) {
    struct cpuset other;
    if (cpuset_parse(a, strlen(a), ret) < 0 || cpuset_parse(b, strlen(b), &other) < 0)
        *ret = (struct cpuset){{0}};
    else
        cpuset_intersect(ret, &other);
}

enum check_verdict check_rules_isolated(const char *isolated, const char *pool, const char *cores,
                                        char ret[static CHECK_TEXT_MAX]) {
    struct cpuset shared, reserved;
    char text[4096];
    common_cpus(isolated, pool, &shared);
    common_cpus(isolated, cores, &reserved);
    cpuset_union(&shared, &reserved);
    if (cpuset_is_empty(&shared)) {
        snprintf(ret, CHECK_TEXT_MAX, "%s", isolated[0] ? "none that Nomad hands out" : "none");
        return CHECK_OK;
    }
    if (cpuset_format(&shared, text, sizeof(text)) < 0)
        snprintf(text, sizeof(text), "some");
    snprintf(ret, CHECK_TEXT_MAX,
             "Nomad hands out %s, which the boot line isolates (isolcpus): the kernel does not "
             "move threads between these CPUs, so all threads of a task run on one of them. Take "
             "them out of isolcpus, or out of Nomad (client.reserved.cores)",
             text);
    return CHECK_WARNING;
}

void check_rules_scopes(const char *cgroup_root, char *ret, size_t size) {
    char path[PATH_MAX], text[4096];
    struct cpuset all = {{0}}, one;
    snprintf(path, sizeof(path), "%s/nomad.slice", cgroup_root);
    DIR *d = opendir(path);
    for (const struct dirent *e; d && (e = readdir(d));) {
        if (!strstr(e->d_name, ".scope"))
            continue;
        snprintf(path, sizeof(path), "%s/nomad.slice/%s/cpuset.cpus", cgroup_root, e->d_name);
        AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : 0;
        if (n > 0 && cpuset_parse(text, (size_t)n, &one) == 0)
            cpuset_union(&all, &one);
    }
    if (d)
        closedir(d);
    if (cpuset_format(&all, ret, size) < 0)
        ret[0] = '\0';
}

enum check_verdict check_rules_inotify(int r, const char *instances, const char *watches,
                                       char ret[static CHECK_TEXT_MAX]) {
    unsigned long n = strtoul(watches, NULL, 10);
    if (r < 0) {
        snprintf(ret, CHECK_TEXT_MAX,
                 "%s (max_user_instances %s): changes are seen at the tick only. Raise "
                 "fs.inotify.max_user_instances",
                 strerror(-r), instances);
        return CHECK_WARNING;
    }
    if (n < WATCHES_LEAST) {
        snprintf(ret, CHECK_TEXT_MAX,
                 "%lu watches are enough for %lu tasks. Raise fs.inotify.max_user_watches", n,
                 n / WATCHES_PER_TASK);
        return CHECK_WARNING;
    }
    snprintf(ret, CHECK_TEXT_MAX, "%s instances, %s watches", instances, watches);
    return CHECK_OK;
}

bool check_rules_sets_cpus(const char *comm) {
    static const char *const names[] = {"kubelet", "tuned", "numad", "cpuset-manager"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(comm, names[i]) == 0)
            return true;
    return false;
}

int check_rules_status(unsigned failures, unsigned warnings) {
    return failures ? 1 : warnings ? 3 : 0;
}
