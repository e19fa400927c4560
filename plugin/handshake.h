#pragma once
/* How a go-plugin host starts us and finds our socket. Facts: plugin-protocol 1. Its order matters:
 * the socket listens, then one line goes out on stdout and not a byte before it, then stdout is
 * given up. */
#include "paddock/err.h"
#include <stdbool.h>
#include <sys/un.h>

#define HANDSHAKE_COOKIE_NAME "NOMAD_PLUGIN_MAGIC_COOKIE"
#define HANDSHAKE_COOKIE "e4327c2e01eabfd75a8a67adb114fb34a757d57eee7728d857a8cec6e91a7255"
#define HANDSHAKE_LINE_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) + 32)

#define HANDSHAKE_NAME_MAX                                                                         \
    64 /* so that attributes and socket paths have room for it; with the NUL */

enum handshake_role {
    ROLE_PLUGIN,  /* Nomad started us */
    ROLE_LOGPUMP, /* we did */
    ROLE_COMMAND, /* a person, with a command */
    ROLE_LOST,    /* neither cookie nor command */
};

/** @cookie: the environment's, NULL = not set. argv[1] "logpump" counts more than the cookie, for
 * the pump inherits the agent's environment. Pure. */
enum handshake_role handshake_role(int argc, char *const *argv, const char *cookie);

/** The driver's name: the file's own, without folder and ".exe"; at most @size - 1 bytes. It
 * becomes part of attributes, labels, socket paths and Prometheus text: letters, digits, '.', '_'
 * and '-' only. Pure. Returns 0; -EINVAL empty, too long, other characters. */
int handshake_driver_name(const char *argv0, char *ret, size_t size) MUST_CHECK;

struct handshake_socket {
    char dir[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* ours alone, 0700; "" = none */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    int lock_fd; /* held as long as we live: the folder is in use */
};
/** Makes the private folder in @wanted_dir (PLUGIN_UNIX_SOCKET_DIR), else @tmp_dir (TMPDIR), else
 * /tmp; NULL and "" are not given. Removes there the folders that killed plugins of the same user
 * left. The socket is made by whoever listens. Returns 0; -ENAMETOOLONG
 * or -EINVAL ('|' or a newline in it) for @wanted_dir, while a @tmp_dir like that is passed over;
 * -errno of mkdtemp. */
int handshake_socket_make(const char *wanted_dir, const char *tmp_dir, struct handshake_socket *ret,
                          struct err *err) MUST_CHECK;
/** Removes socket and folder. Twice is allowed. */
void handshake_socket_remove(struct handshake_socket *s);

/** "1|2|unix|PATH|grpc|\n". Pure. Returns its length. */
size_t handshake_line(const char *socket_path, char ret[static HANDSHAKE_LINE_MAX]);

/** Writes the line to @out_fd in one piece. Returns 0, -errno (-EIO when it was cut). */
int handshake_write(int out_fd, const char *socket_path) MUST_CHECK;

/** Puts /dev/null in the place of stdin and stdout. Returns 0, -errno. */
int handshake_leave_stdio(void) MUST_CHECK;
