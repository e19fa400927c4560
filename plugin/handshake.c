/* SPDX-License-Identifier: MPL-2.0 */
/* The parts of go-plugin's handshake except the socket (handshake_socket.c): the role that the
 * environment gives the process, the driver's name, and the one line on stdout.
 *
 * main.c asks for the role, serve.c for the rest. Nothing may be written to stdout before the line:
 * the host reads it as the plugin's address. */
#include "plugin/handshake.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

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

size_t handshake_line(const char *socket_path, char ret[static HANDSHAKE_LINE_MAX]) {
    /* Core protocol 1, Nomad's plugin protocol 2, no server certificate. */
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
