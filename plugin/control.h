#pragma once
/* The two ways to ask a running plugin how its tasks are: a unix socket for the command line, and -
 * when it is switched on - a loopback port for Prometheus. Both live on a loop that is somebody
 * else's.
 *
 * Control socket: mode 0600. The client says "status" or "metrics" and a newline (or ends its side:
 * status), gets one JSON document, and the connection ends. Metrics are {"metrics": "text"}.
 * Listener: HTTP/1, /metrics and a page at / (web.h).
 * Limits: 64 connections at a time each, the next ones wait; 5 s for each, and 4 KiB of request for
 * a command, 64 KiB for the head of an HTTP request. */
#include "paddock/loop.h"
#include <jansson.h>

struct control;

struct control_options {
    const char *dir;    /* "/run/paddock"; made when it is not there, mode 0700 */
    const char *name;   /* the driver's: the socket is control-NAME.sock, or control-NAME-PID.sock
                         * while another plugin of that name answers on the first */
    const char *listen; /* "127.0.0.1:9103", "[::1]:9103"; "" or NULL = off */
    json_t *(*status)(void *ctx); /* called on the loop's thread; NULL = out of memory */
    char *(*metrics)(void *ctx);  /* the same; free() */
    json_t *(*check)(void *ctx);  /* the same; see web.h; NULL allowed */
    void *ctx;
};

/** Opens both. One that cannot be opened is tried again every 2 s, without an error here: the log
 * and the status document's "metrics" ({"listen": ..., "error": ...}) report it. @o is copied. Call
 * before the loop runs or in its thread. Returns 0; -EINVAL when @o->listen is no address; -ENOMEM.
 */
int control_new(struct loop *l, const struct control_options *o, struct control **ret) MUST_CHECK;

/** The control socket's path, "" while it is not open. Owner: @c. */
const char *control_path(const struct control *c);
/** The port that the listener got, 0 = none. */
unsigned control_port(const struct control *c);

/** Removes the socket's file; for the end of a process whose loop has been freed already. NULL
 * allowed. */
void control_unlink(struct control *c);
/** Closes all. The loop lives still and is not running, or this is its thread. NULL allowed. */
void control_free(struct control *c);
