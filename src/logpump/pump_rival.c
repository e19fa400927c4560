#include "pump_rival.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
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

static bool is_docker_logger(int proc_fd, const char *pid) {
    char path[64], text[4096];
    snprintf(path, sizeof(path), "%.20s/cmdline", pid);
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

static bool has_open(int proc_fd, const char *pid, const struct stat *fifo) {
    char path[64];
    snprintf(path, sizeof(path), "%.20s/fd", pid);
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
    for (const struct dirent *e; d && !found && (e = readdir(d));)
        found = isdigit((unsigned char)e->d_name[0]) && is_docker_logger(proc_fd, e->d_name) &&
                has_open(proc_fd, e->d_name, &st);
    if (d)
        closedir(d);
    return found;
}
