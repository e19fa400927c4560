/* SPDX-License-Identifier: MPL-2.0 */
/* The one event stream: GET /events for all containers, opened again whenever it ends.
 *
 * Every user of this dockerd chooses labels and command lines, which are part of the events. A line
 * that is too long or cannot be parsed is therefore counted and reported to the owner, and the
 * stream continues.
 *
 * The back-off is 100 ms, doubled up to 5 s. It starts again at 100 ms when a stream was open for
 * 5 s. So a stream that ends immediately is not opened ten times a second: the owner checks all
 * containers each time. An answer that does not begin within 10 s counts as lost.
 *
 * A stream that is opened again asks for the events since the last one, so that dockerd repeats the
 * events that it has kept (256 events, none after its own restart). The owner inspects the
 * containers on connected() to find the rest. */
#include "src/docker/docker_priv.h"
#include "paddock/clock.h"
#include "paddock/docker_multi.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RETRY_FIRST_US (100 * US_PER_MS)
#define RETRY_MAX_US (5 * US_PER_SEC)
#define OPEN_US (10 * US_PER_SEC)
/* Limit of one event. It contains all labels of the container, and the command line of an exec. */
#define LINE_MAX_BYTES (1u << 20)
/* How much of a line's beginning is searched for the container's id. */
#define LINE_HEAD_BYTES 512
/* {"type":["container"]} */
#define EVENTS_PATH "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D"

struct docker_events {
    struct docker *docker;
    struct docker_multi *multi;
    struct docker_get *get;
    struct docker_events_ops ops;
    void *ctx;
    struct loop_timer *timer; /* the next attempt, or the limit of this one */
    uint64_t backoff_us;
    struct buf line; /* the part of a line that has arrived */
    int64_t last_ns; /* of the last event; 0 = none yet */
    char *last;      /* its text: dockerd repeats this event when asked since its time */
    bool open, told_lost;
    uint64_t opened_us;
    bool passing_over; /* skipping until the line's end */
};

static void connect_events(struct docker_events *e);

static void on_lost(struct docker_events *e, const char *why) {
    bool was_open = e->open;
    e->open = e->passing_over = false;
    if (was_open && clock_now_us() - e->opened_us >= RETRY_MAX_US)
        e->backoff_us = RETRY_FIRST_US;
    buf_consume(&e->line, e->line.len);
    loop_timer_at(e->timer, clock_now_us() + e->backoff_us);
    e->backoff_us = e->backoff_us * 2 > RETRY_MAX_US ? RETRY_MAX_US : e->backoff_us * 2;
    if ((was_open || !e->told_lost) && e->ops.disconnected) {
        e->told_lost = true;
        e->ops.disconnected(e->ctx, why);
    }
}

static int exit_code_of(const json_t *attributes) {
    const char *text = json_string_value(json_object_get(attributes, "exitCode"));
    char *end;
    if (!text || !text[0])
        return -1;
    errno = 0;
    long code = strtol(text, &end, 10);
    return *end || errno || code < 0 || code > INT32_MAX ? -1 : (int)code;
}

/* "exec_create: /bin/sh -c x" is the action "exec_create". */
static void copy_action(const char *from, char *out, size_t size) {
    size_t n = strcspn(from, ":");
    if (n >= size)
        n = size - 1;
    memcpy(out, from, n);
    out[n] = '\0';
}

static void deliver_event(struct docker_events *e, const json_t *j, const char *text) {
    const json_t *actor = json_object_get(j, "Actor");
    const char *id = json_value_text(actor, "ID");
    int64_t ns = json_value_int(j, "timeNano");
    if (!ns && __builtin_mul_overflow(json_value_int(j, "time"), INT64_C(1000000000), &ns))
        ns = 0;
    if (ns && ns == e->last_ns && e->last && strcmp(text, e->last) == 0)
        return; /* the last event, repeated */
    if (ns >= e->last_ns) {
        char *copy = strdup(text);
        free(e->last);
        e->last = copy; /* NULL: the event may be reported twice, which does no harm */
        e->last_ns = ns;
    }
    char action[64];
    copy_action(json_value_text(j, "Action"), action, sizeof(action));
    if (!action[0] || !id[0])
        return;
    const json_t *attributes = json_object_get(actor, "Attributes");
    struct docker_event event = {.action = action,
                                 .container_id = id,
                                 .exit_code = exit_code_of(attributes),
                                 .time_ns = ns,
                                 .attributes = attributes};
    e->ops.event(e->ctx, &event);
}

/* Copies the first "id" or "ID" of @line to @out; "" when its first bytes contain none. dockerd
 * writes the container's id before everything that the container's owner can choose, except an
 * exec's command line, in which quotes are escaped. */
static void find_id(const char *line, size_t len, char out[65]) {
    size_t head = len < LINE_HEAD_BYTES ? len : LINE_HEAD_BYTES;
    out[0] = '\0';
    for (size_t i = 0; i + 6 <= head && !out[0]; i++) {
        if (memcmp(line + i, "\"id\":\"", 6) != 0 && memcmp(line + i, "\"ID\":\"", 6) != 0)
            continue;
        size_t n = 0;
        while (i + 6 + n < head && n < 64 && isalnum((unsigned char)line[i + 6 + n]))
            n++;
        memcpy(out, line + i + 6, n);
        out[n] = '\0';
    }
}

static void skip_line(struct docker_events *e, const char *line, size_t len, const char *why) {
    char id[65];
    atomic_fetch_add(&e->docker->skipped_events, 1);
    find_id(line, len, id);
    if (e->ops.skipped)
        e->ops.skipped(e->ctx, id, why);
}

/* Handles one line; skips a record separator (application/json-seq) before it. */
static void take_line(struct docker_events *e, char *line, size_t len) {
    while (len > 0 && (line[0] == 0x1e || line[0] == ' ')) {
        line++;
        len--;
    }
    if (len == 0 || line[0] == '\r')
        return;
    char why[JSON_ERROR_TEXT_LENGTH];
    line[len] = '\0'; /* overwrites the newline */
    AUTO_JSON json_t *j = json_value_parse(line, len, why, sizeof(why));
    if (json_is_object(j))
        deliver_event(e, j, line);
    else
        skip_line(e, line, len, j ? "it is no object" : why);
}

static int on_data(void *ctx, const char *data, size_t len) {
    struct docker_events *e = ctx;
    if (e->line.len + len > LINE_MAX_BYTES) {
        skip_line(e, buf_text(&e->line), e->line.len, "it is longer than 1 MiB");
        buf_done(&e->line);
        e->passing_over = true;
    }
    if (e->passing_over) {
        const char *end = memchr(data, '\n', len);
        if (!end)
            return 0;
        e->passing_over = false;
        len -= (size_t)(end + 1 - data);
        data = end + 1;
    }
    int r = buf_append(&e->line, data, len);
    size_t from = 0;
    while (r == 0 && e->line.len > from) {
        char *end = memchr(e->line.data + from, '\n', e->line.len - from);
        if (!end)
            break;
        take_line(e, e->line.data + from, (size_t)(end - (e->line.data + from)));
        from = (size_t)(end - e->line.data) + 1;
    }
    buf_consume(&e->line, from);
    if (e->line.len == 0)
        buf_done(&e->line); /* bursts are rare: keep no memory between them */
    return r;
}

static void on_open(void *ctx, int status) {
    struct docker_events *e = ctx;
    (void)status;
    loop_timer_at(e->timer, 0);
    e->open = true;
    e->told_lost = false;
    e->opened_us = clock_now_us();
    atomic_fetch_add(&e->docker->counts.event_streams, 1);
    if (e->ops.connected)
        e->ops.connected(e->ctx);
}

static void on_done(void *ctx, int r, int status, const struct err *err) {
    struct docker_events *e = ctx;
    (void)status;
    e->get = NULL;
    on_lost(e, r < 0 && err ? err->text : "Docker has ended the event stream");
}

static const struct docker_get_ops get_ops = {
    .on_open = on_open, .on_data = on_data, .on_done = on_done};

static void connect_events(struct docker_events *e) {
    char path[256];
    int n = snprintf(path, sizeof(path), "%s", EVENTS_PATH);
    if (e->last_ns > 0)
        snprintf(path + n, sizeof(path) - (size_t)n, "&since=%" PRId64 ".%09" PRId64,
                 e->last_ns / 1000000000, e->last_ns % 1000000000);
    if (docker_multi_get(e->multi, path, &get_ops, e, &e->get) < 0)
        on_lost(e, "out of memory");
    else
        loop_timer_at(e->timer, clock_now_us() + OPEN_US);
}

static void on_timer(void *ctx) {
    struct docker_events *e = ctx;
    if (e->get) {
        docker_multi_get_cancel(TAKE_PTR(e->get));
        on_lost(e, "Docker does not answer GET /events");
    } else {
        connect_events(e);
    }
}

int docker_events_new(struct docker *d, struct loop *loop, const struct docker_events_ops *ops,
                      void *ctx, struct docker_events **ret) {
    struct docker_events *e = calloc(1, sizeof(*e));
    if (!e)
        return -ENOMEM;
    *e = (struct docker_events){.docker = d, .ops = *ops, .ctx = ctx, .backoff_us = RETRY_FIRST_US};
    buf_init(&e->line, LINE_MAX_BYTES);
    int r = docker_multi_new(d, loop, &e->multi);
    if (r == 0)
        r = loop_timer_new(loop, on_timer, e, &e->timer);
    if (r < 0) {
        docker_events_free(e);
        return r;
    }
    connect_events(e);
    *ret = e;
    return 0;
}

void docker_events_free(struct docker_events *e) {
    if (!e)
        return;
    docker_multi_free(e->multi); /* ends the stream */
    loop_timer_del(e->timer);
    buf_done(&e->line);
    free(e->last);
    free(e);
}
