/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* How a go-plugin host starts the plugin and finds its socket (docs/internals/nomad-host.md). The
 * order matters: the socket listens, then one line is written to stdout and not a byte before it,
 * then stdout is replaced by /dev/null. */
#include "paddock/err.h"
#include <stdbool.h>
#include <sys/un.h>

#define HANDSHAKE_COOKIE_NAME "NOMAD_PLUGIN_MAGIC_COOKIE"
#define HANDSHAKE_COOKIE "e4327c2e01eabfd75a8a67adb114fb34a757d57eee7728d857a8cec6e91a7255"
#define HANDSHAKE_LINE_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) + 32)

#define HANDSHAKE_NAME_MAX                                                                         \
    64 /* so that attributes and socket paths have room for it; includes the NUL */

enum handshake_role {
    ROLE_PLUGIN,  /* Nomad started this process */
    ROLE_LOGPUMP, /* the plugin started this process */
    ROLE_COMMAND, /* a person started it with a command */
    ROLE_LOST,    /* neither cookie nor command */
};

/** The role of this process. @cookie: from the environment, NULL = not set. argv[1] "logpump" takes
 * precedence over the cookie, because the pump inherits the agent's environment. Pure. */
enum handshake_role handshake_role(int argc, char *const *argv, const char *cookie);

/** The driver's name: the name of the program file without folder and ".exe", at most @size - 1
 * bytes. The name becomes part of attributes, labels, socket paths and Prometheus text, so only
 * letters, digits, '.', '_' and '-' are allowed. Pure. Returns 0, or -EINVAL when it is empty, too
 * long or has other characters. */
int handshake_driver_name(const char *argv0, char *ret, size_t size) MUST_CHECK;

struct handshake_socket {
    char dir[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* private, 0700; "" = none */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    int lock_fd; /* held until the process ends: marks the folder as in use */
};
/** Makes the private folder in @wanted_dir (PLUGIN_UNIX_SOCKET_DIR), else in @tmp_dir (TMPDIR),
 * else in /tmp. NULL and "" count as not set. Removes folders that killed plugins of the same user
 * left there. The code that listens makes the socket itself.
 *  Returns 0; -ENAMETOOLONG or -EINVAL ('|' or a newline in it) for @wanted_dir, while such a
 *  @tmp_dir is skipped; -errno of mkdtemp(). */
int handshake_socket_make(const char *wanted_dir, const char *tmp_dir, struct handshake_socket *ret,
                          struct err *err) MUST_CHECK;
/** Removes the socket and the folder. May be called twice. */
void handshake_socket_remove(struct handshake_socket *s);

/** Writes "1|2|unix|PATH|grpc|\n". Pure. Returns its length. */
size_t handshake_line(const char *socket_path, char ret[static HANDSHAKE_LINE_MAX]);

/** Writes the line to @out_fd in one write. Returns 0 or -errno (-EIO when it was cut). */
int handshake_write(int out_fd, const char *socket_path) MUST_CHECK;

/** Replaces stdin and stdout by /dev/null. Returns 0 or -errno. */
int handshake_leave_stdio(void) MUST_CHECK;
