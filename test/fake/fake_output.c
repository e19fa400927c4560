/* SPDX-License-Identifier: MPL-2.0 */
/* The output of the fake's containers: messages with a time, in frames, sent to the log streams and
 * kept for later requests. As with dockerd, long lines are several messages of one time. */
#include "fake/fake_engine_priv.h"
#include "paddock/clock.h"
#include "paddock/docker.h"

#include <stdio.h>
#include <string.h>

void output_frame(struct buf *out, int channel, const char *data, size_t len) {
    unsigned char head[8] = {(unsigned char)channel,
                             0,
                             0,
                             0,
                             (unsigned char)(len >> 24),
                             (unsigned char)(len >> 16),
                             (unsigned char)(len >> 8),
                             (unsigned char)len};
    if (buf_append(out, head, 8) < 0 || buf_append(out, data, len) < 0)
        abort();
}

static void note_message(struct container *c, int64_t ns) {
    if (c->n_messages % 1024 == 0) {
        c->messages = realloc(c->messages, (c->n_messages + 1024) * sizeof(*c->messages));
        if (!c->messages)
            abort();
    }
    c->messages[c->n_messages++] = (struct message){.ns = ns, .at = c->log.len};
}

static int64_t log_clock(const struct container *c) {
    return clock_wall_ns() + c->log_clock_ns;
}

/* Prints one message. It contains its time, as with timestamps=1, which all our requests have. */
static void print_at(struct engine *e, struct container *c, int channel, int64_t ns,
                     const char *text, size_t len) {
    AUTO_BUF struct buf line, framed;
    buf_init(&line, 1u << 26);
    buf_init(&framed, 1u << 26);
    AUTO_JSON json_t *now = engine_rfc3339(ns);
    note_message(c, ns);
    if (buf_printf(&line, "%s ", json_string_value(now)) < 0 || buf_append(&line, text, len) < 0)
        abort();
    bool tty = json_is_true(container_get(c, "Tty"));
    if (tty) {
        if (buf_append(&framed, line.data, line.len) < 0)
            abort();
    } else {
        output_frame(&framed, channel, line.data, line.len);
    }
    if (buf_append(&c->log, framed.data, framed.len) < 0)
        abort();
    if (e->root)
        log_file_append(e->root, c->id, channel == 2 ? "stderr" : "stdout", now, text, len);
    for (unsigned i = 0; i < e->stream_count; i++)
        if (e->streams[i].kind == STREAM_LOGS && e->streams[i].of == c)
            conn_chunk(e->streams[i].conn, framed.data, framed.len);
}

void output_damage(struct engine *e, const struct container *c) {
    for (unsigned i = 0; i < e->stream_count; i++)
        if (e->streams[i].kind == STREAM_LOGS && e->streams[i].of == c)
            conn_chunk(e->streams[i].conn, "no frame", 8);
}

void output_print(struct engine *e, struct container *c, int channel, const char *text,
                  size_t len) {
    int64_t ns = log_clock(c);
    if (c->n_messages && ns < c->messages[c->n_messages - 1].ns && !c->log_clock_ns)
        ns = c->messages[c->n_messages - 1].ns;
    print_at(e, c, channel, ns, text, len);
}

#define LINE_STEP_NS 10000000
#define LINES_AGO_NS INT64_C(3600000000000)

/* The first lines get times one hour ago, and each later line gets a later time. Like those of a
 * real task, the times rise. */
static int64_t lines_begin(struct container *c) {
    bool set = c->clock_set;
    c->clock_set = false;
    if (set)
        return log_clock(c);
    return c->n_messages ? c->messages[c->n_messages - 1].ns : clock_wall_ns() - LINES_AGO_NS;
}

/* Prints @count numbered lines of up to @max bytes, every fourth on stderr. Some have the same
 * time as the line before. A line of more than 16 KiB is several messages with one time, as
 * dockerd cuts them. */
void output_print_lines(struct engine *e, struct container *c, unsigned count, unsigned max) {
    AUTO_FREE char *line = malloc(max + 16);
    int64_t ns = lines_begin(c);
    if (!line)
        abort();
    for (unsigned i = 0; i < count; i++) {
        int channel = i % 4 == 3 ? 2 : 1;
        unsigned number = c->next_line[channel - 1]++;
        size_t len = (size_t)snprintf(line, max + 16, "%08u ", number);
        size_t want = 9 + (number * 2654435761u >> 8) % max;
        memset(line + len, 'a' + (int)(number % 26), want > len ? want - len : 0);
        len = want > len ? want : len;
        line[len++] = '\n';
        if (number % 5 != 4)
            ns += LINE_STEP_NS;
        for (size_t at = 0; at < len; at += 16384)
            print_at(e, c, channel, ns, line + at, len - at < 16384 ? len - at : 16384);
    }
}

/* Prints @count more pieces of a line without an end. The pieces are numbered words. dockerd
 * gives each one the time of the line's first piece. */
void output_print_pieces(struct engine *e, struct container *c, unsigned count) {
    char piece[16384 + 1];
    if (!c->line_ns)
        c->line_ns = log_clock(c);
    for (; count > 0; count--) {
        for (size_t at = 0; at < 16384; at += 8)
            snprintf(piece + at, 9, "%08u", c->next_word++);
        print_at(e, c, 1, c->line_ns, piece, 16384);
    }
}

/* Rotates the log's files: only the last @keep messages stay. */
void output_rotate(struct container *c, size_t keep) {
    size_t removed = c->n_messages > keep ? c->n_messages - keep : 0;
    size_t bytes = removed < c->n_messages ? c->messages[removed].at : c->log.len;
    buf_consume(&c->log, bytes);
    c->n_messages -= removed;
    memmove(c->messages, c->messages + removed, c->n_messages * sizeof(*c->messages));
    for (size_t i = 0; i < c->n_messages; i++)
        c->messages[i].at -= bytes;
}

/* Docker up to 22 compares each message with `since`. From 23 on it skips messages only up to
 * the first one that is not older, which makes a difference when the times fall. The fake does
 * what Docker 22 does, because that leaves out more. */
static void send_since(const struct container *c, struct conn *conn, int64_t from) {
    for (size_t i = 0, end; i < c->n_messages; i = end) {
        for (end = i; end < c->n_messages && c->messages[end].ns >= from; end++) {
        }
        size_t at = c->messages[i].at;
        size_t after = end < c->n_messages ? c->messages[end].at : c->log.len;
        if (end > i)
            conn_chunk(conn, c->log.data + at, after - at);
        else
            end++;
    }
}

void output_send_logs(struct engine *e, struct container *c, struct conn *conn,
                      const struct request *rq) {
    AUTO_FREE char *follow = request_param(rq, "follow"), *since = request_param(rq, "since");
    int64_t from = since ? events_since(since) : 0;
    conn_stream(conn, "application/vnd.docker.raw-stream");
    send_since(c, conn, from);
    if (!c->running || !follow || strcmp(follow, "0") == 0)
        conn_end_chunks(conn);
    else
        streams_add(e, conn, STREAM_LOGS, c);
}
