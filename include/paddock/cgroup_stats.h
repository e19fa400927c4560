/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Reads a container's resource use from its cgroup's files, which stay open: cgroup v2 (cpu.stat,
 * memory.*) or v1 (cpuacct, cpu, memory hierarchies). Text parsing is pure. Context: any thread,
 * but only one at a time per struct. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct cgroup_usage {
    uint64_t cpu_ns, user_ns, system_ns; /* since the cgroup was created */
    uint64_t throttled_periods, throttled_ns;
    uint64_t rss, cache, swap, usage, max_usage, kernel; /* bytes */
    bool has_max_usage, has_kernel, has_swap;
};

/* v1 has six files per container. The three that change all the time are kept open. The files below
 * are opened at each read. */
enum { CGROUP_V1_CPUACCT_STAT, CGROUP_V1_CPU_STAT, CGROUP_V1_MEMORY_MAX, CGROUP_V1_RARE };

struct cgroup_stats {
    bool v2;
    int root_fd; /* borrowed */
    int cpu_fd;  /* v2: cpu.stat; v1: cpuacct.usage */
    int memory_fd, memory_stat_fd;
    int swap_fd, peak_fd;       /* v2 */
    char *rare[CGROUP_V1_RARE]; /* v1: paths below root_fd; NULL = no such file */
};

/** Opens the files of the cgroup that process @pid is in. @container_id: the path is cut after the
 * component that contains it, because a container may run systemd. @proc_fd: /proc; @root_fd:
 * /sys/fs/cgroup. Returns 0; -ESRCH no such process; -ENOENT no such cgroup; -ENODATA the process
 * is not in a cgroup of that name; other -errno. */
int cgroup_stats_open(int proc_fd, int root_fd, bool v2, pid_t pid, const char *container_id,
                      struct cgroup_stats *ret) MUST_CHECK;
/** Closes the files and frees the paths. */
void cgroup_stats_close(struct cgroup_stats *s);

/** Returns 0; -ENODEV when the cgroup was removed; other -errno. Absent values are 0 with their
 * has_ flag false. */
int cgroup_stats_read(const struct cgroup_stats *s, struct cgroup_usage *ret) MUST_CHECK;

/** Finds the value of the line "key N" in a flat keyed file's text. Returns false when @key is
 * absent. Pure. */
bool cgroup_stats_flat_value(const char *text, const char *key, uint64_t *ret);
