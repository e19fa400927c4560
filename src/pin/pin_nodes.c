/* SPDX-License-Identifier: MPL-2.0 */
/* The memory nodes of a set of CPUs, for `mems = "follow"`. pin.c reads the nodes once at the
 * start. The create request, the migration and the unit use the nodes of a set. A node without
 * memory is never in a result: the kernel refuses a set that contains only such nodes. */
#include "src/pin/pin_nodes.h"

#include <fcntl.h>
#include <stdio.h>

#define NODES_MAX 256u

static ssize_t read_text(int dir, const char *name, char *out, size_t size) {
    AUTO_FD int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? read(fd, out, size) : -errno;
}

int pin_nodes_read(struct pin_nodes *ret, const char *root) {
    *ret = (struct pin_nodes){0};
    AUTO_FD int dir =
        open(root ? root : "/sys/devices/system/node", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return 0;
    AUTO_FREE char *text = malloc(CPUSET_TEXT_MAX);
    AUTO_FREE struct cpuset *cpus = calloc(NODES_MAX, sizeof(*cpus));
    if (!text || !cpus)
        return -ENOMEM;
    struct cpuset memory;
    ssize_t n = read_text(dir, "has_memory", text, CPUSET_TEXT_MAX);
    bool listed = n > 0 && cpuset_parse(text, (size_t)n, &memory) == 0;
    for (unsigned i = 0; i < NODES_MAX; i++) {
        char name[64];
        if (listed && !cpuset_has(&memory, i))
            continue;
        snprintf(name, sizeof(name), "node%u/cpulist", i);
        n = read_text(dir, name, text, CPUSET_TEXT_MAX);
        /* A node without CPUs reads blank and stays empty. */
        if (n > 0 && cpuset_parse(text, (size_t)n, &cpus[i]) == 0)
            ret->n = i + 1;
    }
    ret->cpus = TAKE_PTR(cpus);
    return 0;
}

void pin_nodes_done(struct pin_nodes *nodes) {
    free(nodes->cpus);
    *nodes = (struct pin_nodes){0};
}

void pin_nodes_of(const struct pin_nodes *nodes, const struct cpuset *cpus, struct cpuset *ret) {
    *ret = (struct cpuset){{0}};
    for (unsigned i = 0; i < nodes->n; i++)
        if (cpuset_intersects(&nodes->cpus[i], cpus))
            cpuset_add(ret, i);
}
