/* SPDX-License-Identifier: MPL-2.0 */
/* Remembers the Nomad client of an agent. A plugin learns its client from the first task's alloc
 * folder. After a restart a node may get no task for days, and its dangling containers would stay.
 *
 * The note is a file below /run that contains the folder. The file's name is a hash of the agent's
 * command line and working directory. Both are the same after a restart of the agent, and two
 * clients of one machine do not share them. client.c writes the note. networks.c reads it before
 * the first task has come. */
#include "src/task/remember.h"

#include "paddock/buf.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define IDENTITY_MAX 65536

static ssize_t read_file(const char *path, char *out, size_t size) {
    AUTO_FD int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    size_t n = 0;
    ssize_t r = fd < 0 ? -1 : 1;
    while (fd >= 0 && n < size && (r = read(fd, out + n, size - n)) > 0)
        n += (size_t)r;
    return r < 0 ? -errno : (ssize_t)n;
}

/* FNV-1a */
static uint64_t hash_bytes(uint64_t h, const char *data, size_t n) {
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)data[i]) * UINT64_C(1099511628211);
    return h;
}

char *remember_path(const char *run_dir, const char *driver_name) {
    pid_t agent = getppid();
    char path[64], cwd[PATH_MAX];
    AUTO_FREE char *line = malloc(IDENTITY_MAX);
    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)agent);
    ssize_t n = agent > 1 && line ? read_file(path, line, IDENTITY_MAX) : -1;
    snprintf(path, sizeof(path), "/proc/%d/cwd", (int)agent);
    ssize_t m = readlink(path, cwd, sizeof(cwd));
    if (n <= 0 || m <= 0)
        return NULL;
    uint64_t h = hash_bytes(UINT64_C(14695981039346656037), line, (size_t)n);
    h = hash_bytes(h, cwd, (size_t)m);
    char *file = NULL;
    return asprintf(&file, "%s/%s-%016llx.client", run_dir, driver_name, (unsigned long long)h) < 0
               ? NULL
               : file;
}

int remember_write(const char *path, const char *allocs) {
    AUTO_FREE char *next = NULL;
    if (asprintf(&next, "%s.%d", path, (int)getpid()) < 0) {
        next = NULL;
        return -ENOMEM;
    }
    AUTO_FD int fd = open(next, O_CREAT | O_TRUNC | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
    size_t len = strlen(allocs);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, allocs, len);
    int r = n < 0 ? -errno : (size_t)n < len ? -ENOSPC : 0;
    if (r == 0 && rename(next, path) < 0)
        r = -errno;
    if (r < 0)
        unlink(next);
    return r;
}

char *remember_read(const char *path) {
    char text[PATH_MAX + 1];
    ssize_t n = path ? read_file(path, text, sizeof(text) - 1) : -1;
    if (n <= 0 || text[0] != '/')
        return NULL;
    text[n] = '\0';
    return strlen(text) == (size_t)n ? strdup(text) : NULL;
}
