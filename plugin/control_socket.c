/* SPDX-License-Identifier: MPL-2.0 */
/* Opens the two listening sockets of control.c: the Unix socket of the command line and the port
 * for Prometheus. control.c opens them at start, and again by timer when one could not be opened.
 *
 * Several plugins share the folder of the Unix sockets, and each removes sockets that killed
 * plugins left. A socket that is bound but does not listen yet looks dead. The folder is therefore
 * locked from this removal until the new socket listens. */
#include "plugin/control_socket.h"

#include "paddock/parse.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define BACKLOG 128 /* a client that finds it full waits a second, or is refused */

/* ---- the Unix socket ---- */

static bool is_alive(const struct sockaddr_un *a) {
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return true; /* unknown: keep it */
    return connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 || errno == EAGAIN;
}

static int set_path(const char *dir, const char *file, struct sockaddr_un *ret) {
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/%s", dir, file);
    return n < 0 || (size_t)n >= sizeof(ret->sun_path) ? -ENAMETOOLONG : 0;
}

/* Removes sockets that killed plugins left. */
static void remove_dead(const char *dir, const char *name) {
    char prefix[256];
    int len = snprintf(prefix, sizeof(prefix), "control-%s", name);
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && len > 0 && (e = readdir(d))) {
        struct sockaddr_un a;
        const char *rest = e->d_name + len;
        if (strncmp(e->d_name, prefix, (size_t)len) == 0 && (*rest == '.' || *rest == '-') &&
            set_path(dir, e->d_name, &a) == 0 && !is_alive(&a))
            unlink(a.sun_path);
    }
    if (d)
        closedir(d);
}

static int bind_to(int fd, const char *dir, const char *file, struct sockaddr_un *ret) {
    int r = set_path(dir, file, ret);
    if (r < 0)
        return r;
    /* On the fd: between bind() and a chmod() of the path, other users could connect. */
    if (fchmod(fd, 0600) < 0)
        return -errno;
    return bind(fd, (const struct sockaddr *)ret, sizeof(*ret)) < 0 ? -errno : 0;
}

/* Opens the Unix socket while the folder is locked. */
static int open_locked(const char *dir, const char *name, struct sockaddr_un *ret, int *ret_fd) {
    char file[128];
    remove_dead(dir, name);
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    snprintf(file, sizeof(file), "control-%s.sock", name);
    int r = bind_to(fd, dir, file, ret);
    if (r == -EADDRINUSE) {
        snprintf(file, sizeof(file), "control-%s-%d.sock", name, (int)getpid());
        r = bind_to(fd, dir, file, ret);
    }
    if (r < 0)
        return r;
    if (chmod(ret->sun_path, 0600) < 0 || listen(fd, BACKLOG) < 0) {
        r = -errno;
        unlink(ret->sun_path);
        return r;
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int control_socket_local(const char *dir, const char *name, struct sockaddr_un *ret, int *ret_fd) {
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return -errno;
    AUTO_FD int lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)
        return -errno;
    return open_locked(dir, name, ret, ret_fd);
}

/* ---- the port ---- */

int control_socket_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len) {
    char host[64];
    uint64_t port;
    const char *colon = strrchr(text, ':');
    if (!colon || parse_u64(colon + 1, 65535, &port) < 0)
        return -EINVAL;
    bool v6 = text[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof(host), "%.*s", (int)(colon - text) - (v6 ? 2 : 0), text + v6);
    if (strcmp(host, "localhost") == 0)
        snprintf(host, sizeof(host), "127.0.0.1");
    *ret = (struct sockaddr_storage){0};
    struct sockaddr_in *in = (void *)ret;
    struct sockaddr_in6 *in6 = (void *)ret;
    if (v6) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        *ret_len = sizeof(*in6);
        return inet_pton(AF_INET6, host, &in6->sin6_addr) == 1 ? 0 : -EINVAL;
    }
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)port);
    *ret_len = sizeof(*in);
    return inet_pton(AF_INET, host, &in->sin_addr) == 1 ? 0 : -EINVAL;
}

int control_socket_port(const char *text, unsigned *ret_port, int *ret_fd) {
    struct sockaddr_storage a;
    socklen_t len;
    int one = 1, r = control_socket_parse(text, &a, &len);
    if (r < 0)
        return r;
    AUTO_FD int fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(fd, (const struct sockaddr *)&a, len) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        return -errno;
    *ret_port = ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                              : ((struct sockaddr_in *)&a)->sin_port);
    *ret_fd = TAKE_FD(fd);
    return 0;
}
