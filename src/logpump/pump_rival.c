#include "pump_rival.h"

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

bool logpump_is_docker_logger(int proc_fd, pid_t pid) {
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

static bool has_open(int proc_fd, pid_t pid, const struct stat *fifo) {
    char path[64];
    snprintf(path, sizeof(path), "%d/fd", (int)pid);
    DIR *d = dir_at(proc_fd, path);
    bool found = false;
    struct stat st;
    for (const struct dirent *e; d && !found && (e = readdir(d));)
        found = fstatat(dirfd(d), e->d_name, &st, 0) == 0 && st.st_dev == fifo->st_dev &&
                st.st_ino == fifo->st_ino;
    if (d)
        closedir(d);
    return found;
}

bool pump_rival_has(int proc_fd, const char *fifo) {
    struct stat st;
    if (stat(fifo, &st) < 0 || !S_ISFIFO(st.st_mode))
        return false;
    DIR *d = dir_at(proc_fd, ".");
    bool found = false;
    for (const struct dirent *e; d && !found && (e = readdir(d));) {
        uint64_t pid;
        found = parse_u64(e->d_name, INT_MAX, &pid) == 0 &&
                logpump_is_docker_logger(proc_fd, (pid_t)pid) && has_open(proc_fd, (pid_t)pid, &st);
    }
    if (d)
        closedir(d);
    return found;
}
