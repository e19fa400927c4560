#include "plugin/handshake.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define DIR_TEMPLATE "/paddock-XXXXXX"
#define SOCKET_NAME "/plugin.sock"

enum handshake_role handshake_role(int argc, char *const *argv, const char *cookie) {
    if (argc > 1 && strcmp(argv[1], "logpump") == 0)
        return ROLE_LOGPUMP;
    if (cookie)
        return strcmp(cookie, HANDSHAKE_COOKIE) == 0 ? ROLE_PLUGIN : ROLE_LOST;
    return argc > 1 ? ROLE_COMMAND : ROLE_LOST;
}

int handshake_driver_name(const char *argv0, char *ret, size_t size) {
    const char *slash = strrchr(argv0, '/');
    const char *name = slash ? slash + 1 : argv0;
    size_t len = strlen(name);
    if (len > 4 && strcmp(name + len - 4, ".exe") == 0)
        len -= 4;
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (len == 0 || len >= size || strspn(name, allowed) < len)
        return -EINVAL;
    memcpy(ret, name, len);
    ret[len] = '\0';
    return 0;
}

/* What a host can be told in a handshake line and a sockaddr_un. */
static int dir_check(const char *dir) {
    if (strpbrk(dir, "|\n"))
        return -EINVAL;
    size_t limit = sizeof(((struct handshake_socket *)0)->path);
    return strlen(dir) + strlen(DIR_TEMPLATE) + strlen(SOCKET_NAME) < limit ? 0 : -ENAMETOOLONG;
}

int handshake_socket_make(const char *wanted_dir, const char *tmp_dir, struct handshake_socket *ret,
                          struct err *err) {
    const char *parent = "/tmp";
    if (wanted_dir && wanted_dir[0]) {
        int r = dir_check(wanted_dir);
        if (r < 0)
            return err_set(err, ERR_PLAIN, -r, "PLUGIN_UNIX_SOCKET_DIR \"%s\": %s", wanted_dir,
                           strerror(-r));
        parent = wanted_dir;
    } else if (tmp_dir && tmp_dir[0] && dir_check(tmp_dir) == 0) {
        parent = tmp_dir;
    }
    struct handshake_socket s;
    AUTO_FREE char *absolute = realpath(parent, NULL);
    if (!absolute || dir_check(absolute) < 0) {
        int code = absolute ? ENAMETOOLONG : errno;
        return err_set(err, ERR_PLAIN, code, "folder for the socket, %s: %s", parent,
                       strerror(code));
    }
    snprintf(s.dir, sizeof(s.dir), "%s" DIR_TEMPLATE, strcmp(absolute, "/") == 0 ? "" : absolute);
    if (!mkdtemp(s.dir)) {
        int code = errno;
        return err_set(err, ERR_PLAIN, code, "cannot make a folder in %s: %s", parent,
                       strerror(code));
    }
    size_t len = strlen(s.dir);
    memcpy(s.path, s.dir, len);
    memcpy(s.path + len, SOCKET_NAME, sizeof(SOCKET_NAME));
    *ret = s;
    return 0;
}

void handshake_socket_remove(struct handshake_socket *s) {
    int keep = errno;
    if (s->dir[0]) {
        unlink(s->path); /* gRPC has done it already, in most cases */
        rmdir(s->dir);
        s->dir[0] = '\0';
    }
    errno = keep;
}

size_t handshake_line(const char *socket_path, char ret[static HANDSHAKE_LINE_MAX]) {
    /* core protocol 1, Nomad's protocol 2, no server certificate */
    int n = snprintf(ret, HANDSHAKE_LINE_MAX, "1|2|unix|%s|grpc|\n", socket_path);
    return n > 0 ? (size_t)n : 0;
}

int handshake_write(int out_fd, const char *socket_path) {
    char line[HANDSHAKE_LINE_MAX];
    size_t len = handshake_line(socket_path, line);
    ssize_t n = write(out_fd, line, len);
    if (n < 0)
        return -errno;
    return (size_t)n == len ? 0 : -EIO;
}

int handshake_leave_stdio(void) {
    AUTO_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return -errno;
    if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
        return -errno;
    return 0;
}
