/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The two ways to ask a running plugin about its tasks: a Unix socket for the command
 * line and, when it is configured, a loopback port for Prometheus. Both use a loop that
 * belongs to the caller.
 *
 * Control socket: mode 0600. The client sends "status" or "metrics" and a newline. A client that
 * ends its side without a request gets the status. The answer is one JSON document, then the
 * connection ends. Metrics are {"metrics": "text"}.
 * Listener: HTTP/1, /metrics and a page at / (web.h).
 * Limits for each of the two: 64 connections at a time, further ones wait. For each connection:
 * 5 s; 4 KiB for the request of a command; 64 KiB for the head of an HTTP request. */
#include "paddock/loop.h"
#include <jansson.h>

struct control;

struct control_options {
    const char *dir;    /* "/run/paddock"; made when it does not exist, mode 0700 */
    const char *name;   /* the driver's: the socket is control-NAME.sock, or control-NAME-PID.sock
                         * while another plugin of that name answers on the first */
    const char *listen; /* "127.0.0.1:9103", "[::1]:9103"; "" or NULL = off */
    json_t *(*status)(void *ctx); /* called on the loop's thread; NULL = out of memory */
    char *(*metrics)(void *ctx);  /* the same; free() */
    json_t *(*check)(void *ctx);  /* the same; see web.h; NULL allowed */
    void *ctx;
};

/** Opens both. A socket that cannot be opened is tried again every 2 s and is no error here: the
 * log and the status document's "metrics" ({"listen": ..., "error": ...}) report it. @o is
 * copied. Call it before the loop runs or on its thread. Returns 0; -EINVAL when @o->listen is
 * not an address; -ENOMEM. */
int control_new(struct loop *l, const struct control_options *o, struct control **ret) MUST_CHECK;

/** Returns the path of the control socket, "" while it is not open. Owner: @c. */
const char *control_path(const struct control *c);
/** Returns the port of the listener, 0 = none. */
unsigned control_port(const struct control *c);

/** Removes the file of the control socket. For the end of a process whose loop has been freed
 * already. NULL allowed. */
void control_unlink(struct control *c);
/** Closes both sockets and all connections. Call it before the loop is freed: on its thread, or
 * when the loop is not running. NULL allowed. */
void control_free(struct control *c);
