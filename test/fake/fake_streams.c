/* SPDX-License-Identifier: MPL-2.0 */
/* The streams that the fake dockerd keeps open, and its events. Events are kept for clients that
 * ask for those since a time. */
#include "fake/fake_engine_priv.h"
#include "paddock/clock.h"

#include <stdio.h>
#include <string.h>

/* ---- Streams ---- */

struct stream *streams_add(struct engine *e, struct conn *c, enum stream_kind kind,
                           struct container *of) {
    if (e->stream_count == STREAMS_MAX) {
        conn_drop(c);
        return NULL;
    }
    struct stream *s = &e->streams[e->stream_count++];
    *s = (struct stream){.conn = c, .kind = kind, .of = of};
    return s;
}

void streams_remove(struct engine *e, unsigned i) {
    e->streams[i] = e->streams[--e->stream_count];
}

void engine_drop_streams(struct engine *e) {
    while (e->stream_count > 0) {
        conn_drop(e->streams[0].conn);
        streams_remove(e, 0);
    }
}

void engine_conn_closed(struct engine *e, struct conn *c) {
    for (unsigned i = e->stream_count; i-- > 0;)
        if (e->streams[i].conn == c)
            streams_remove(e, i);
    for (struct exec *x = e->execs; x; x = x->next)
        if (x->conn == c) {
            x->conn = NULL;
            x->running = false;
        }
}

/* ---- Events ---- */

/* @extra: more attributes, or NULL. Takes ownership. */
void events_emit(struct engine *e, const struct container *c, const char *action, json_t *extra) {
    json_t *attributes = extra ? extra : json_object();
    json_object_update(attributes, container_get(c, "Labels")); /* as in dockerd, labels win */
    json_object_set_new(attributes, "name", json_string(c->name));
    json_object_set(attributes, "image", container_get(c, "Image"));
    if (e->mute) {
        json_decref(attributes);
        return;
    }
    int64_t ns = clock_wall_ns();
    json_t *j =
        json_pack("{s:s,s:s,s:s,s:{s:s,s:o},s:s,s:I,s:I}", "status", action, "id", c->id, "Type",
                  "container", "Actor", "ID", c->id, "Attributes", attributes, "Action", action,
                  "time", (json_int_t)(ns / 1000000000), "timeNano", (json_int_t)ns);
    AUTO_FREE char *text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    struct event *slot = &e->events[e->event_count++ % EVENTS_KEPT];
    free(slot->line);
    *slot = (struct event){.ns = ns};
    if (asprintf(&slot->line, "%s\n", text) < 0)
        abort();
    for (unsigned i = 0; i < e->stream_count; i++)
        if (e->streams[i].kind == STREAM_EVENTS)
            conn_chunk(e->streams[i].conn, slot->line, strlen(slot->line));
}

/* "12.000000034" as nanoseconds. */
int64_t events_since(const char *text) {
    char *end;
    int64_t ns = strtoll(text, &end, 10) * INT64_C(1000000000);
    return *end == '.' ? ns + strtoll(end + 1, NULL, 10) : ns;
}

void events_follow(struct engine *e, struct conn *c, const struct request *rq) {
    AUTO_FREE char *since = request_param(rq, "since");
    conn_stream(c, "application/json");
    if (!streams_add(e, c, STREAM_EVENTS, NULL) || !since)
        return;
    int64_t from = events_since(since);
    unsigned first = e->event_count > EVENTS_KEPT ? e->event_count - EVENTS_KEPT : 0;
    for (unsigned i = first; i < e->event_count; i++) {
        const struct event *ev = &e->events[i % EVENTS_KEPT];
        if (ev->ns >= from)
            conn_chunk(c, ev->line, strlen(ev->line));
    }
}
