/* SPDX-License-Identifier: MPL-2.0 */
/* Reads the machine's CPUs from sysfs for the status document. serve.c owns it, and
 * control.c's thread calls it.
 *
 * A machine with 128 CPUs has 128 small files to read. The result is therefore kept until the list
 * of online CPUs changes, which is one file. */
#include "plugin/machine.h"

#include "paddock/cpuset.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NODES_MAX 1024u /* the kernel's largest number of NUMA nodes */

struct machine {
    const char *sys_root;
    char online[CPUSET_TEXT_MAX];
    json_t *known; /* for `online`; NULL = not read yet */
};

/* Writes "" when the file cannot be read. */
static void read_line(const char *sys_root, const char *name, char *out, size_t size) {
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", sys_root, name);
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, size - 1) : 0;
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

static json_t *text_of(const char *sys_root, const char *name) {
    AUTO_FREE char *text = malloc(CPUSET_TEXT_MAX);
    if (!text)
        return NULL;
    read_line(sys_root, name, text, CPUSET_TEXT_MAX);
    return json_string(text);
}

/* Computes the online CPUs that share a core with @cpu, or only @cpu when the
 * kernel does not say. */
static void siblings_of(const char *sys_root, unsigned cpu, const struct cpuset *online,
                        struct cpuset *ret) {
    char name[96], text[1024];
    snprintf(name, sizeof(name), "devices/system/cpu/cpu%u/topology/thread_siblings_list", cpu);
    read_line(sys_root, name, text, sizeof(text));
    if (cpuset_parse(text, strlen(text), ret) < 0)
        *ret = (struct cpuset){{0}};
    cpuset_intersect(ret, online);
    cpuset_add(ret, cpu);
}

static json_t *read_cores(const char *sys_root, const struct cpuset *online) {
    struct cpuset done = {{0}}, core;
    char text[1024];
    json_t *list = json_array();
    for (unsigned cpu = 0; list && cpu < CPUSET_MAX_CPUS; cpu++) {
        if (!cpuset_has(online, cpu) || cpuset_has(&done, cpu))
            continue;
        siblings_of(sys_root, cpu, online, &core);
        cpuset_union(&done, &core);
        if (cpuset_format(&core, text, sizeof(text)) >= 0)
            json_array_append_new(list, json_string(text));
    }
    return list;
}

static json_t *read_nodes(const char *sys_root) {
    json_t *list = json_array();
    char name[96];
    for (unsigned id = 0; list && id < NODES_MAX; id++) {
        snprintf(name, sizeof(name), "%s/devices/system/node/node%u", sys_root, id);
        if (access(name, F_OK) < 0)
            continue;
        snprintf(name, sizeof(name), "devices/system/node/node%u/cpulist", id);
        json_array_append_new(
            list, json_pack("{s:i,s:o}", "id", (int)id, "cpus", text_of(sys_root, name)));
    }
    return list;
}

static json_t *read_all(const struct machine *m) {
    struct cpuset online = {{0}};
    if (cpuset_parse(m->online, strlen(m->online), &online) < 0)
        online = (struct cpuset){{0}};
    return json_pack("{s:s,s:o,s:o,s:o,s:o}", "online", m->online, "present",
                     text_of(m->sys_root, "devices/system/cpu/present"), "isolated",
                     text_of(m->sys_root, "devices/system/cpu/isolated"), "cores",
                     read_cores(m->sys_root, &online), "nodes", read_nodes(m->sys_root));
}

json_t *machine_status(struct machine *m) {
    char *now = malloc(CPUSET_TEXT_MAX);
    if (!now)
        return NULL;
    read_line(m->sys_root, "devices/system/cpu/online", now, CPUSET_TEXT_MAX);
    if (!m->known || strcmp(now, m->online) != 0) {
        memcpy(m->online, now, strlen(now) + 1);
        json_decref(m->known);
        m->known = read_all(m);
    }
    free(now);
    return json_deep_copy(m->known);
}

struct machine *machine_new(const char *sys_root) {
    struct machine *m = calloc(1, sizeof(*m));
    if (m)
        m->sys_root = sys_root;
    return m;
}

void machine_free(struct machine *m) {
    if (!m)
        return;
    json_decref(m->known);
    free(m);
}
