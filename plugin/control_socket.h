/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The listening sockets of control.c. No function here blocks. */
#include "paddock/cleanup.h"
#include <sys/socket.h>
#include <sys/un.h>

/** Makes @dir (mode 0700) when it does not exist, removes sockets that killed plugins of this name
 * left there, and listens on control-NAME.sock. While another plugin of that name answers on it,
 * listens on control-NAME-PID.sock instead. Returns 0 with the address and the fd; -EWOULDBLOCK
 * when another plugin does the same in @dir at this moment; -ENAMETOOLONG; other -errno. */
int control_socket_local(const char *dir, const char *name, struct sockaddr_un *ret,
                         int *ret_fd) MUST_CHECK;

/** Parses "127.0.0.1:9103", "localhost:9103" or "[::1]:9103". Pure. Returns 0 or -EINVAL. */
int control_socket_parse(const char *text, struct sockaddr_storage *ret,
                         socklen_t *ret_len) MUST_CHECK;

/** Listens on the address in @text (see control_socket_parse()). Returns 0 with the port and the
 * fd; -EINVAL; -EADDRINUSE; other -errno. */
int control_socket_port(const char *text, unsigned *ret_port, int *ret_fd) MUST_CHECK;
