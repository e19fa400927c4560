/* SPDX-License-Identifier: MPL-2.0 */
/* Reads a container's use of CPU and memory from its cgroup's files.
 *
 * The task stats call it, once per container and interval. Files that change all the time are kept
 * open, because opening costs far more than reading. A file that the kernel does not have is no
 * error: its values are 0 and their has_ flags are false. */
#include "paddock/cgroup_stats.h"
#include "paddock/parse.h"
#include "src/cgroup/cgroup_path.h"

#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define CGROUP_TEXT_MAX 16384 /* memory.stat is about 1.5 KiB */
#define NS_PER_TICK 10000000  /* v1 cpuacct.stat counts USER_HZ, always 100 for user space */

/* ---- parsing ---- */

bool cgroup_stats_flat_value(const char *text, const char *key, uint64_t *ret) {
    size_t len = strlen(key);
    for (const char *line = text; line && *line;) {
        const char *end = strchrnul(line, '\n');
        if (strncmp(line, key, len) == 0 && line[len] == ' ') {
            char number[32];
            snprintf(number, sizeof(number), "%.*s", (int)(end - line - (ptrdiff_t)len - 1),
                     line + len + 1);
            return parse_u64(number, UINT64_MAX, ret) == 0;
        }
        line = *end ? end + 1 : NULL;
    }
    return false;
}

/* ---- files ---- */

static int read_text(int fd, char *out, size_t size) {
    ssize_t n = fd >= 0 ? pread(fd, out, size - 1, 0) : -1;
    if (n < 0)
        return fd >= 0 ? -errno : -EBADF;
    out[n] = '\0';
    return 0;
}

static bool parse_line(char *text, uint64_t *ret) {
    text[strcspn(text, "\n")] = '\0';
    return parse_u64(text, UINT64_MAX, ret) == 0;
}

static int read_number(int fd, uint64_t *ret) {
    char text[64];
    int r = read_text(fd, text, sizeof(text));
    if (r < 0)
        return r;
    return parse_line(text, ret) ? 0 : -EINVAL;
}

/* Returns the fd, or -EBADF when the file is absent, so that reads of it fail with -EBADF. */
static int open_path(int root_fd, const char *path) {
    int fd = openat(root_fd, path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -EBADF : fd;
}

/* "hierarchy/path/file" relative to the root. Returns NULL when out of memory. */
static char *join_path(const char *hierarchy, const char *path, const char *file) {
    char *full = NULL;
    if (asprintf(&full, "%s%s%s/%s", hierarchy, hierarchy[0] ? "/" : "", path + (path[0] == '/'),
                 file) < 0)
        return NULL;
    return full;
}

static int open_below(int root_fd, const char *hierarchy, const char *path, const char *file) {
    AUTO_FREE char *full = join_path(hierarchy, path, file);
    return full ? open_path(root_fd, full) : -EBADF;
}

static int open_v2(int root_fd, const char *text, const char *id, struct cgroup_stats *s) {
    char path[PATH_MAX];
    int r = cgroup_path_of(text, "", id, path);
    if (r < 0)
        return r;
    s->cpu_fd = open_below(root_fd, "", path, "cpu.stat");
    s->memory_fd = open_below(root_fd, "", path, "memory.current");
    s->memory_stat_fd = open_below(root_fd, "", path, "memory.stat");
    s->swap_fd = open_below(root_fd, "", path, "memory.swap.current");
    s->peak_fd = open_below(root_fd, "", path, "memory.peak");
    return 0;
}

static int open_v1(int root_fd, const char *text, const char *id, struct cgroup_stats *s) {
    char path[PATH_MAX];
    int r = cgroup_path_of(text, "cpuacct", id, path);
    if (r < 0)
        return r;
    s->cpu_fd = open_below(root_fd, "cpuacct", path, "cpuacct.usage");
    s->rare[CGROUP_V1_CPUACCT_STAT] = join_path("cpuacct", path, "cpuacct.stat");
    if (cgroup_path_of(text, "cpu", id, path) == 0)
        s->rare[CGROUP_V1_CPU_STAT] = join_path("cpu", path, "cpu.stat");
    r = cgroup_path_of(text, "memory", id, path);
    if (r < 0)
        return r;
    s->memory_fd = open_below(root_fd, "memory", path, "memory.usage_in_bytes");
    s->memory_stat_fd = open_below(root_fd, "memory", path, "memory.stat");
    s->rare[CGROUP_V1_MEMORY_MAX] = join_path("memory", path, "memory.max_usage_in_bytes");
    return 0;
}

int cgroup_stats_open(int proc_fd, int root_fd, bool v2, pid_t pid, const char *container_id,
                      struct cgroup_stats *ret) {
    struct cgroup_stats s = {.v2 = v2,
                             .root_fd = root_fd,
                             .cpu_fd = -EBADF,
                             .memory_fd = -EBADF,
                             .memory_stat_fd = -EBADF,
                             .swap_fd = -EBADF,
                             .peak_fd = -EBADF};
    char text[CGROUP_TEXT_MAX];
    int r = cgroup_path_read(proc_fd, pid, text, sizeof(text));
    if (r == 0)
        r = v2 ? open_v2(root_fd, text, container_id, &s)
               : open_v1(root_fd, text, container_id, &s);
    /* Stats are useless without CPU and memory use. The other files are missing on some kernels. */
    if (r == 0 && (s.cpu_fd < 0 || s.memory_fd < 0))
        r = -ENOENT;
    if (r < 0) {
        cgroup_stats_close(&s);
        return r;
    }
    *ret = s;
    return 0;
}

void cgroup_stats_close(struct cgroup_stats *s) {
    int *fds[] = {&s->cpu_fd, &s->memory_fd, &s->memory_stat_fd, &s->swap_fd, &s->peak_fd};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        *fds[i] = fd_close(*fds[i]);
    for (size_t i = 0; i < ARRAY_LEN(s->rare); i++) {
        cleanup_free(&s->rare[i]);
        s->rare[i] = NULL;
    }
}

static int read_cpu_v2(const struct cgroup_stats *s, char *text, size_t size,
                       struct cgroup_usage *u) {
    int r = read_text(s->cpu_fd, text, size);
    if (r < 0)
        return r;
    uint64_t us = 0;
    if (cgroup_stats_flat_value(text, "usage_usec", &us))
        u->cpu_ns = us * 1000;
    if (cgroup_stats_flat_value(text, "user_usec", &us))
        u->user_ns = us * 1000;
    if (cgroup_stats_flat_value(text, "system_usec", &us))
        u->system_ns = us * 1000;
    cgroup_stats_flat_value(text, "nr_throttled", &u->throttled_periods);
    if (cgroup_stats_flat_value(text, "throttled_usec", &us))
        u->throttled_ns = us * 1000;
    return 0;
}

static int read_rare(const struct cgroup_stats *s, int which, char *text, size_t size) {
    AUTO_FD int fd = s->rare[which] ? open_path(s->root_fd, s->rare[which]) : -EBADF;
    return read_text(fd, text, size);
}

static int read_cpu_v1(const struct cgroup_stats *s, char *text, size_t size,
                       struct cgroup_usage *u) {
    int r = read_number(s->cpu_fd, &u->cpu_ns);
    if (r < 0)
        return r;
    uint64_t ticks = 0;
    if (read_rare(s, CGROUP_V1_CPUACCT_STAT, text, size) == 0) {
        if (cgroup_stats_flat_value(text, "user", &ticks))
            u->user_ns = ticks * NS_PER_TICK;
        if (cgroup_stats_flat_value(text, "system", &ticks))
            u->system_ns = ticks * NS_PER_TICK;
    }
    if (read_rare(s, CGROUP_V1_CPU_STAT, text, size) == 0) {
        cgroup_stats_flat_value(text, "nr_throttled", &u->throttled_periods);
        cgroup_stats_flat_value(text, "throttled_time", &u->throttled_ns);
    }
    return 0;
}

static int read_memory(const struct cgroup_stats *s, char *text, size_t size,
                       struct cgroup_usage *u) {
    int r = read_number(s->memory_fd, &u->usage);
    if (r < 0)
        return r;
    if (s->v2)
        u->has_max_usage = read_number(s->peak_fd, &u->max_usage) == 0;
    else if (read_rare(s, CGROUP_V1_MEMORY_MAX, text, size) == 0)
        u->has_max_usage = parse_line(text, &u->max_usage);
    if (s->v2)
        u->has_swap = read_number(s->swap_fd, &u->swap) == 0;
    if (read_text(s->memory_stat_fd, text, size) < 0)
        return 0;
    cgroup_stats_flat_value(text, s->v2 ? "anon" : "total_rss", &u->rss);
    cgroup_stats_flat_value(text, s->v2 ? "file" : "total_cache", &u->cache);
    if (s->v2)
        u->has_kernel = cgroup_stats_flat_value(text, "kernel", &u->kernel);
    else
        u->has_swap = cgroup_stats_flat_value(text, "total_swap", &u->swap);
    return 0;
}

int cgroup_stats_read(const struct cgroup_stats *s, struct cgroup_usage *ret) {
    char text[CGROUP_TEXT_MAX];
    struct cgroup_usage u = {0};
    int r = s->v2 ? read_cpu_v2(s, text, sizeof(text), &u) : read_cpu_v1(s, text, sizeof(text), &u);
    if (r == 0)
        r = read_memory(s, text, sizeof(text), &u);
    if (r == 0)
        *ret = u;
    return r;
}
