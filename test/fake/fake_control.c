/* SPDX-License-Identifier: MPL-2.0 */
/* The control requests of the tests (fake.h): what happens to a container, and which faults the
 * fake has. */
#include "fake/fake_engine_priv.h"

#include <stdio.h>
#include <string.h>

bool control_handle(struct engine *e, struct conn *conn, const struct request *rq) {
    char what[16], id[300];
    if (sscanf(rq->path, "/_fake/%15[^/]/%299s", what, id) != 2)
        return false;
    if (strcmp(what, "busy") == 0) {
        AUTO_FREE char *times = request_param(rq, "times");
        snprintf(e->busy_port, sizeof(e->busy_port), "%s", id);
        e->busy_times = times ? (unsigned)strtoul(times, NULL, 10) : UINT32_MAX;
        conn_reply(conn, 204, NULL);
        return true;
    }
    if (strcmp(what, "mute") == 0) {
        e->mute = strcmp(id, "on") == 0;
        conn_reply(conn, 204, NULL);
        return true;
    }
    if (strcmp(what, "netless") == 0) {
        e->netless_times = (unsigned)strtoul(id, NULL, 10);
        conn_reply(conn, 204, NULL);
        return true;
    }
    struct container *c = engine_find(e, id);
    if (!c) {
        conn_error(conn, 404, "No such container: %s", id);
    } else if (strcmp(what, "exit") == 0) {
        AUTO_FREE char *code = request_param(rq, "code"), *killed = request_param(rq, "oom");
        if (killed)
            container_oom(e, c);
        container_finish(e, c, code ? (int)strtol(code, NULL, 10) : 0);
        conn_reply(conn, 204, NULL);
    } else if (strcmp(what, "lines") == 0) {
        AUTO_FREE char *count = request_param(rq, "count"), *max = request_param(rq, "max");
        output_print_lines(e, c, count ? (unsigned)strtoul(count, NULL, 10) : 1,
                           max ? (unsigned)strtoul(max, NULL, 10) : 80);
        conn_reply(conn, 204, NULL);
    } else if (strcmp(what, "clock") == 0) {
        AUTO_FREE char *ms = request_param(rq, "ms");
        c->log_clock_ns = ms ? strtoll(ms, NULL, 10) * 1000000 : 0;
        c->clock_set = true;
        conn_reply(conn, 204, NULL);
    } else if (strcmp(what, "piece") == 0) {
        AUTO_FREE char *count = request_param(rq, "count");
        output_print_pieces(e, c, count ? (unsigned)strtoul(count, NULL, 10) : 1);
        conn_reply(conn, 204, NULL);
    } else if (strcmp(what, "rotate") == 0) {
        AUTO_FREE char *keep = request_param(rq, "keep");
        output_rotate(c, keep ? strtoul(keep, NULL, 10) : 0);
        conn_reply(conn, 204, NULL);
    } else if (strcmp(what, "oom") == 0) {
        container_oom(e, c);
        conn_reply(conn, 204, NULL);
    } else if (strcmp(what, "restart") == 0) {
        AUTO_FREE char *lost = request_param(rq, "lost");
        bool muted = e->mute;
        e->mute |= lost != NULL;
        container_finish(e, c, 143);
        e->mute = muted;
        e->pid++;
        container_start(e, c);
        conn_reply(conn, 204, NULL);
    } else if (strcmp(what, "damage") == 0) {
        output_damage(e, c);
        conn_reply(conn, 204, NULL);
    } else if (strcmp(what, "print") == 0) {
        AUTO_FREE char *stream = request_param(rq, "stream");
        output_print(e, c, stream && strcmp(stream, "2") == 0 ? 2 : 1, rq->body_text, rq->body_len);
        conn_reply(conn, 204, NULL);
    } else {
        return false;
    }
    return true;
}
