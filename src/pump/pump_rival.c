/* SPDX-License-Identifier: MPL-2.0 */
/* Finds the FIFOs that the built-in driver's log processes have open, by a scan of /proc.
 *
 * pump_entry.c calls it after pump_rival_watch.c has noticed that a FIFO was opened, and then drops
 * the tasks that the built-in driver carries. A FIFO is identified by its device and inode number,
 * not by its path. task_recover.c uses pump_rival_is_docker_logger(). */
#include "src/pump/pump_rival.h"

#include "src/pump/pump_fifo.h"

#include "paddock/logpump.h"
#include "paddock/parse.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static DIR *dir_at(int fd, const char *path) {
    int dir_fd = openat(fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = dir_fd < 0 ? NULL : fdopendir(dir_fd);
    if (!d)
        fd_close(dir_fd);
    return d;
}

bool pump_rival_is_docker_logger(int proc_fd, pid_t pid) {
    char path[64], text[4096];
    snprintf(path, sizeof(path), "%d/cmdline", (int)pid);
    AUTO_FD int fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (n <= 0)
        return false;
    text[n] = '\0';
    for (const char *arg = text; arg < text + n; arg += strlen(arg) + 1)
        if (strcmp(arg, "docker_logger") == 0)
            return true;
    return false;
}

static int add_fifo(struct pump_rivals *r, const struct stat *st) {
    void *more = reallocarray(r->fifos, r->n + 1, sizeof(*r->fifos));
    if (!more)
        return -ENOMEM;
    r->fifos = more;
    r->fifos[r->n++] = (struct pump_rival_fifo){.dev = st->st_dev, .ino = st->st_ino};
    return 0;
}

static int add_fifos_of(int proc_fd, pid_t pid, struct pump_rivals *r) {
    char path[64];
    snprintf(path, sizeof(path), "%d/fd", (int)pid);
    DIR *d = dir_at(proc_fd, path);
    int failed = 0;
    struct stat st;
    for (const struct dirent *e; d && failed == 0 && (e = readdir(d));)
        if (fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISFIFO(st.st_mode))
            failed = add_fifo(r, &st);
    if (d)
        closedir(d);
    return failed;
}

int pump_rivals_find(int proc_fd, struct pump_rivals *ret) {
    struct pump_rivals r = {0};
    DIR *d = dir_at(proc_fd, ".");
    if (!d)
        return -errno;
    int failed = 0;
    for (const struct dirent *e; failed == 0 && (e = readdir(d));) {
        uint64_t pid;
        if (parse_u64(e->d_name, INT_MAX, &pid) == 0 &&
            pump_rival_is_docker_logger(proc_fd, (pid_t)pid))
            failed = add_fifos_of(proc_fd, (pid_t)pid, &r);
    }
    closedir(d);
    if (failed < 0)
        pump_rivals_done(&r);
    else
        *ret = r;
    return failed;
}

void pump_rivals_done(struct pump_rivals *r) {
    free(r->fifos);
    *r = (struct pump_rivals){0};
}

bool pump_rivals_have(const struct pump_rivals *r, const char *fifo) {
    struct stat st;
    AUTO_FD int fd = -EBADF;
    if (r->n == 0 || pump_fifo_find(fifo, &fd) < 0 || fd < 0 || fstat(fd, &st) < 0)
        return false;
    for (size_t i = 0; i < r->n; i++)
        if (r->fifos[i].dev == st.st_dev && r->fifos[i].ino == st.st_ino)
            return true;
    return false;
}
