/* SPDX-License-Identifier: MPL-2.0 */
/* The fake dockerd's containers, execs, events and logs. */
#include "fake/fake.h"
#include "paddock/clock.h"
#include "paddock/docker.h"

#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define EVENTS_KEPT 256
#define STREAMS_MAX 8192

struct message {
    int64_t ns;
    size_t at;
};

struct container {
    char id[65], name[256];
    json_t *create;  /* the body */
    unsigned number; /* the first one is 1 */
    bool running, oom;
    bool spoiled; /* a start has failed; as with Docker 29, the next one leaves out the networks */
    bool netless; /* runs without networks */
    int exit_code;
    int64_t started_ns, finished_ns;
    struct buf log;           /* frames */
    struct message *messages; /* where each begins */
    size_t n_messages;
    unsigned next_line[2]; /* for /_fake/lines */
    int64_t log_clock_ns;  /* the offset of its log's clock, from /_fake/clock */
    bool clock_set;        /* true until the next line */
    int64_t line_ns;       /* for /_fake/piece: the time of the line without an end; 0 = none */
    unsigned next_word;    /* for /_fake/piece */
    struct container *next;
};

struct exec {
    char id[65];
    struct container *of;
    json_t *argv;
    bool tty, running;
    int exit_code;
    size_t counted; /* bytes of input */
    struct conn *conn;
    struct exec *next;
};

enum stream_kind { STREAM_EVENTS, STREAM_LOGS, STREAM_WAIT };

struct stream {
    struct conn *conn;
    enum stream_kind kind;
    struct container *of;
};

struct event {
    int64_t ns;
    char *line;
};

struct engine {
    struct container *containers;
    struct exec *execs;
    struct stream streams[STREAMS_MAX];
    unsigned stream_count;
    struct event events[EVENTS_KEPT];
    unsigned event_count; /* ever */
    unsigned next_id;
    int pid;
    int *pids; /* for the first containers; all others have `pid` */
    unsigned n_pids;
    char busy_port[16];  /* another process of the host uses it */
    unsigned busy_times; /* how many starts fail */
    unsigned netless_times;
    bool mute;        /* events are lost */
    const char *root; /* the folder of the log files; NULL = no log files */
};

/* ---- Helpers ---- */

static void make_id(struct engine *e, const char *kind, char out[65]) {
    snprintf(out, 65, "%s%08x%052x", kind, ++e->next_id, 0xfeed);
}

static json_t *rfc3339(int64_t ns) {
    char text[64], date[32];
    time_t s = (time_t)(ns / 1000000000);
    struct tm tm;
    if (ns == 0)
        return json_string("0001-01-01T00:00:00Z");
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", gmtime_r(&s, &tm));
    snprintf(text, sizeof(text), "%s.%09dZ", date, (int)(ns % 1000000000));
    return json_string(text);
}

static struct container *find(struct engine *e, const char *id_or_name) {
    for (struct container *c = e->containers; c; c = c->next)
        if (strcmp(c->name, id_or_name) == 0 ||
            (strlen(id_or_name) >= 12 && strncmp(c->id, id_or_name, strlen(id_or_name)) == 0))
            return c;
    return NULL;
}

static json_t *get(const struct container *c, const char *key) {
    return json_object_get(c->create, key);
}

static const char *first_arg(const json_t *argv, size_t i) {
    const char *text = json_string_value(json_array_get(argv, i));
    return text ? text : "";
}

/* ---- Streams ---- */

static struct stream *stream_add(struct engine *e, struct conn *c, enum stream_kind kind,
                                 struct container *of) {
    if (e->stream_count == STREAMS_MAX) {
        conn_drop(c);
        return NULL;
    }
    struct stream *s = &e->streams[e->stream_count++];
    *s = (struct stream){.conn = c, .kind = kind, .of = of};
    return s;
}

static void stream_del(struct engine *e, unsigned i) {
    e->streams[i] = e->streams[--e->stream_count];
}

void engine_drop_streams(struct engine *e) {
    while (e->stream_count > 0) {
        conn_drop(e->streams[0].conn);
        stream_del(e, 0);
    }
}

void engine_conn_closed(struct engine *e, struct conn *c) {
    for (unsigned i = e->stream_count; i-- > 0;)
        if (e->streams[i].conn == c)
            stream_del(e, i);
    for (struct exec *x = e->execs; x; x = x->next)
        if (x->conn == c) {
            x->conn = NULL;
            x->running = false;
        }
}

/* ---- Events ---- */

/* @extra: more attributes, or NULL. Takes ownership. */
static void emit(struct engine *e, const struct container *c, const char *action, json_t *extra) {
    json_t *attributes = extra ? extra : json_object();
    json_object_update(attributes, get(c, "Labels")); /* as in dockerd, labels win */
    json_object_set_new(attributes, "name", json_string(c->name));
    json_object_set(attributes, "image", get(c, "Image"));
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
static int64_t parse_since(const char *text) {
    char *end;
    int64_t ns = strtoll(text, &end, 10) * INT64_C(1000000000);
    return *end == '.' ? ns + strtoll(end + 1, NULL, 10) : ns;
}

static void follow_events(struct engine *e, struct conn *c, const struct request *rq) {
    AUTO_FREE char *since = request_param(rq, "since");
    conn_stream(c, "application/json");
    if (!stream_add(e, c, STREAM_EVENTS, NULL) || !since)
        return;
    int64_t from = parse_since(since);
    unsigned first = e->event_count > EVENTS_KEPT ? e->event_count - EVENTS_KEPT : 0;
    for (unsigned i = first; i < e->event_count; i++) {
        const struct event *ev = &e->events[i % EVENTS_KEPT];
        if (ev->ns >= from)
            conn_chunk(c, ev->line, strlen(ev->line));
    }
}

/* ---- Output ---- */

static void frame(struct buf *out, int channel, const char *data, size_t len) {
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
    AUTO_JSON json_t *now = rfc3339(ns);
    note_message(c, ns);
    if (buf_printf(&line, "%s ", json_string_value(now)) < 0 || buf_append(&line, text, len) < 0)
        abort();
    bool tty = json_is_true(get(c, "Tty"));
    if (tty) {
        if (buf_append(&framed, line.data, line.len) < 0)
            abort();
    } else {
        frame(&framed, channel, line.data, line.len);
    }
    if (buf_append(&c->log, framed.data, framed.len) < 0)
        abort();
    if (e->root)
        log_file_append(e->root, c->id, channel == 2 ? "stderr" : "stdout", now, text, len);
    for (unsigned i = 0; i < e->stream_count; i++)
        if (e->streams[i].kind == STREAM_LOGS && e->streams[i].of == c)
            conn_chunk(e->streams[i].conn, framed.data, framed.len);
}

static void damage(struct engine *e, const struct container *c) {
    for (unsigned i = 0; i < e->stream_count; i++)
        if (e->streams[i].kind == STREAM_LOGS && e->streams[i].of == c)
            conn_chunk(e->streams[i].conn, "no frame", 8);
}

static void print(struct engine *e, struct container *c, int channel, const char *text,
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
static void print_lines(struct engine *e, struct container *c, unsigned count, unsigned max) {
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
static void print_pieces(struct engine *e, struct container *c, unsigned count) {
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
static void rotate(struct container *c, size_t keep) {
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
        size_t behind = end < c->n_messages ? c->messages[end].at : c->log.len;
        if (end > i)
            conn_chunk(conn, c->log.data + at, behind - at);
        else
            end++;
    }
}

static void send_logs(struct engine *e, struct container *c, struct conn *conn,
                      const struct request *rq) {
    AUTO_FREE char *follow = request_param(rq, "follow"), *since = request_param(rq, "since");
    int64_t from = since ? parse_since(since) : 0;
    conn_stream(conn, "application/vnd.docker.raw-stream");
    send_since(c, conn, from);
    if (!c->running || !follow || strcmp(follow, "0") == 0)
        conn_end_chunks(conn);
    else
        stream_add(e, conn, STREAM_LOGS, c);
}

/* ---- life ---- */

static void finish(struct engine *e, struct container *c, int code) {
    char text[16];
    if (!c->running)
        return;
    c->running = false;
    c->exit_code = code;
    c->finished_ns = clock_wall_ns();
    for (unsigned i = e->stream_count; i-- > 0;)
        if (e->streams[i].kind == STREAM_LOGS && e->streams[i].of == c) {
            conn_end_chunks(e->streams[i].conn);
            stream_del(e, i);
        }
    for (unsigned i = e->stream_count; i-- > 0;)
        if (e->streams[i].kind == STREAM_WAIT && e->streams[i].of == c) {
            conn_reply(e->streams[i].conn, 200, json_pack("{s:i}", "StatusCode", code));
            stream_del(e, i);
        }
    for (struct exec *x = e->execs; x; x = x->next)
        if (x->of == c && x->conn) {
            conn_close_when_written(x->conn);
            x->running = false;
        }
    snprintf(text, sizeof(text), "%d", code);
    emit(e, c, "die", json_pack("{s:s}", "exitCode", text));
}

/* Docker keeps this until the next start. */
static void oom(struct engine *e, struct container *c) {
    c->oom = true;
    emit(e, c, "oom", NULL);
}

static void start(struct engine *e, struct container *c) {
    c->running = true;
    c->oom = false;
    c->exit_code = 0;
    c->started_ns = clock_wall_ns();
    c->finished_ns = 0;
    if (e->root)
        log_file_make(e->root, c->id);
    emit(e, c, "start", NULL);
    const json_t *argv = get(c, "Cmd");
    if (strcmp(first_arg(argv, 0), "print") == 0)
        print(e, c, 1, first_arg(argv, 1), strlen(first_arg(argv, 1)));
    if (strcmp(first_arg(argv, 0), "exit") == 0)
        finish(e, c, (int)strtol(first_arg(argv, 1), NULL, 10));
}

static struct container *create(struct engine *e, const char *name, json_t *body) {
    struct container *c = calloc(1, sizeof(*c));
    if (!c)
        abort();
    make_id(e, "c0de", c->id);
    c->number = e->next_id;
    snprintf(c->name, sizeof(c->name), "%s", name && name[0] ? name : c->id);
    c->create = body;
    buf_init(&c->log, 1u << 26);
    c->next = e->containers;
    e->containers = c;
    emit(e, c, "create", NULL);
    return c;
}

static void container_free(struct container *c) {
    json_decref(c->create);
    buf_done(&c->log);
    free(c->messages);
    free(c);
}

static void remove_container(struct engine *e, struct container *c) {
    finish(e, c, 137);
    emit(e, c, "destroy", NULL);
    for (struct exec *x = e->execs; x; x = x->next)
        if (x->of == c)
            x->of = NULL;
    for (struct container **p = &e->containers; *p; p = &(*p)->next)
        if (*p == c) {
            *p = c->next;
            break;
        }
    container_free(c);
}

static void exec_free(struct exec *x) {
    json_decref(x->argv);
    free(x);
}

void engine_populate(struct engine *e, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof(name), "task-%u", i);
        start(e, create(e, name, json_pack("{s:s}", "Image", "busybox")));
    }
}

/* ---- Answers ---- */

static int pid_of(const struct engine *e, const struct container *c) {
    if (!c->running)
        return 0;
    return c->number <= e->n_pids ? e->pids[c->number - 1] : e->pid;
}

static json_t *state_json(struct engine *e, const struct container *c) {
    return json_pack("{s:s,s:b,s:b,s:b,s:b,s:b,s:i,s:i,s:s,s:o,s:o}", "Status",
                     c->running      ? "running"
                     : c->started_ns ? "exited"
                                     : "created",
                     "Running", c->running, "Paused", 0, "Restarting", 0, "OOMKilled", c->oom,
                     "Dead", 0, "Pid", pid_of(e, c), "ExitCode", c->exit_code, "Error", "",
                     "StartedAt", rfc3339(c->started_ns), "FinishedAt", rfc3339(c->finished_ns));
}

static json_t *inspect_json(struct engine *e, const struct container *c) {
    json_t *host = json_deep_copy(get(c, "HostConfig"));
    json_t *networks = json_object(), *ports = NULL;
    if (!host)
        host = json_object();
    if (!c->netless) {
        json_object_set_new(networks, "bridge",
                            json_pack("{s:s,s:s,s:s}", "EndpointID", c->running ? "e9d" : "",
                                      "IPAddress", c->running ? "172.17.0.2" : "",
                                      "GlobalIPv6Address", ""));
        ports = c->running ? json_deep_copy(json_object_get(host, "PortBindings")) : NULL;
    }
    if (!json_object_get(host, "LogConfig"))
        json_object_set_new(host, "LogConfig", json_pack("{s:s}", "Type", "json-file"));
    char log_path[LOG_FILE_PATH_MAX];
    if (e->root)
        log_file_path(e->root, c->id, log_path);
    return json_pack("{s:s*,s:s,s:s+,s:s,s:o,s:o,s:O,s:{s:s,s:o,s:o}}", "LogPath",
                     e->root ? log_path : NULL, "Id", c->id, "Name", "/", c->name, "Image",
                     "sha256:5ca1ab1e", "State", state_json(e, c), "HostConfig", host, "Config",
                     c->create, "NetworkSettings", "SandboxKey", "/var/run/docker/netns/fake",
                     "Networks", networks, "Ports", ports ? ports : json_object());
}

static bool binds(const struct container *c, const char *port) {
    const char *key;
    json_t *list;
    json_object_foreach(json_object_get(get(c, "HostConfig"), "PortBindings"), key, list) {
        const char *text = json_string_value(json_object_get(json_array_get(list, 0), "HostPort"));
        if (text && strcmp(text, port) == 0)
            return true;
    }
    return false;
}

/* Returns the container whose network it must join when that one does not run, or NULL. */
static const char *stopped_host(struct engine *e, const struct container *c) {
    const char *mode = json_string_value(json_object_get(get(c, "HostConfig"), "NetworkMode"));
    if (!mode || strncmp(mode, "container:", 10) != 0)
        return NULL;
    const struct container *host = find(e, mode + 10);
    return host && host->running ? NULL : mode + 10;
}

static void answer_start(struct engine *e, struct conn *conn, struct container *c) {
    const char *host = stopped_host(e, c);
    if (c->running) {
        conn_reply(conn, 304, NULL);
    } else if (host) {
        conn_error(conn, 409, "cannot join network of a non running container: %s", host);
    } else if (e->busy_times > 0 && binds(c, e->busy_port)) {
        e->busy_times--;
        c->spoiled = true;
        conn_error(conn, 500,
                   "driver failed programming external connectivity on endpoint %s: Bind for "
                   "0.0.0.0:%s failed: port is already allocated",
                   c->name, e->busy_port);
    } else {
        c->netless = c->spoiled || e->netless_times > 0;
        e->netless_times -= e->netless_times > 0;
        start(e, c);
        conn_reply(conn, 204, NULL);
    }
}

/* Docker's names start with a slash. A name in a filter is a regular expression. */
static bool has_name(const struct container *c, const char *pattern) {
    char name[256];
    regex_t regex;
    if (!pattern || regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    snprintf(name, sizeof(name), "/%s", c->name);
    bool is = regexec(&regex, name, 0, NULL, 0) == 0;
    regfree(&regex);
    return is;
}

/* {"label": ["k=v", "k"], "name": ["REGEX"]}: all must match. */
static bool matches(const struct container *c, const json_t *filters) {
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(filters, "label"), i, v) {
        const char *want = json_string_value(v), *eq = want ? strchr(want, '=') : NULL;
        char key[256];
        snprintf(key, sizeof(key), "%.*s", (int)(eq ? eq - want : 255), want ? want : "");
        const char *have = json_string_value(json_object_get(get(c, "Labels"), key));
        if (!have || (eq && strcmp(have, eq + 1) != 0))
            return false;
    }
    json_array_foreach(json_object_get(filters, "name"), i, v) {
        if (!has_name(c, json_string_value(v)))
            return false;
    }
    return true;
}

/* Binds and bind mounts of the create request, as Docker lists them. */
static json_t *mounts_of(struct container *c) {
    json_t *out = json_array(), *host = get(c, "HostConfig"), *item;
    size_t i;
    json_array_foreach(json_object_get(host, "Binds"), i, item) {
        const char *bind = json_string_value(item);
        json_array_append_new(
            out, json_pack("{s:s,s:s%}", "Type", "bind", "Source", bind, strcspn(bind, ":")));
    }
    json_array_foreach(json_object_get(host, "Mounts"), i, item)
        json_array_append_new(out, json_pack("{s:O?,s:O?}", "Type", json_object_get(item, "Type"),
                                             "Source", json_object_get(item, "Source")));
    return out;
}

static void list(struct engine *e, struct conn *conn, const struct request *rq) {
    AUTO_FREE char *all = request_param(rq, "all"), *text = request_param(rq, "filters");
    AUTO_JSON json_t *filters = json_loads(text ? text : "{}", 0, NULL);
    json_t *out = json_array();
    for (struct container *c = e->containers; c; c = c->next) {
        if ((!c->running && (!all || strcmp(all, "0") == 0)) || !matches(c, filters))
            continue;
        json_t *labels = get(c, "Labels");
        json_t *row =
            json_pack("{s:s,s:[s+],s:O?,s:I,s:s,s:o}", "Id", c->id, "Names", "/", c->name, "Image",
                      get(c, "Image"), "Created", (json_int_t)(c->started_ns / 1000000000), "State",
                      c->running ? "running" : "exited", "Mounts", mounts_of(c));
        json_object_set_new(row, "Labels", labels ? json_incref(labels) : json_object());
        json_array_append_new(out, row);
    }
    conn_reply(conn, 200, out);
}

static void stop(struct engine *e, struct conn *conn, struct container *c) {
    if (!c->running) {
        conn_reply(conn, 304, NULL);
        return;
    }
    emit(e, c, "kill", json_pack("{s:s}", "signal", "15"));
    finish(e, c, 143);
    emit(e, c, "stop", NULL);
    conn_reply(conn, 204, NULL);
}

static void kill_it(struct engine *e, struct conn *conn, struct container *c,
                    const struct request *rq) {
    AUTO_FREE char *signal = request_param(rq, "signal");
    if (!c->running) {
        conn_error(conn, 409, "Cannot kill container: %s: Container %s is not running", c->id,
                   c->id);
        return;
    }
    emit(e, c, "kill", json_pack("{s:s}", "signal", signal ? signal : "SIGKILL"));
    if (!signal || strcmp(signal, "SIGKILL") == 0 || strcmp(signal, "9") == 0)
        finish(e, c, 137);
    else if (strcmp(signal, "SIGTERM") == 0)
        finish(e, c, 143);
    conn_reply(conn, 204, NULL);
}

static void exec_create(struct engine *e, struct conn *conn, struct container *c,
                        const struct request *rq) {
    if (!c->running) {
        conn_error(conn, 409, "Container %s is not running", c->id);
        return;
    }
    AUTO_JSON json_t *body = json_loads(rq->body_text, 0, NULL);
    struct exec *x = calloc(1, sizeof(*x));
    if (!x)
        abort();
    make_id(e, "e0ec", x->id);
    x->of = c;
    x->argv = json_incref(json_object_get(body, "Cmd"));
    x->tty = json_is_true(json_object_get(body, "Tty"));
    x->next = e->execs;
    e->execs = x;
    conn_reply(conn, 201, json_pack("{s:s}", "Id", x->id));
}

static void exec_output(struct exec *x, int channel, const char *data, size_t len) {
    AUTO_BUF struct buf out;
    buf_init(&out, 1u << 26);
    if (x->tty) {
        conn_write(x->conn, data, len);
        return;
    }
    frame(&out, channel, data, len);
    conn_write(x->conn, out.data, out.len);
}

static void exec_end(struct engine *e, struct exec *x, int code) {
    char text[16];
    snprintf(text, sizeof(text), "%d", code);
    x->running = false;
    x->exit_code = code;
    conn_close_when_written(x->conn);
    if (x->of)
        emit(e, x->of, "exec_die", json_pack("{s:s,s:s}", "execID", x->id, "exitCode", text));
}

/* The exec has ended, but a child of it keeps the connection open. */
static void exec_leave(struct engine *e, struct exec *x) {
    x->running = false;
    x->exit_code = 5;
    if (x->of)
        emit(e, x->of, "exec_die", json_pack("{s:s,s:s}", "execID", x->id, "exitCode", "5"));
}

static void exec_start(struct engine *e, struct conn *conn, struct exec *x) {
    const char *what = first_arg(x->argv, 0), *arg = first_arg(x->argv, 1);
    conn_hijack(conn);
    x->conn = conn;
    x->running = true;
    if (strcmp(what, "echo") == 0 || strcmp(what, "err") == 0) {
        exec_output(x, what[1] == 'c' ? 1 : 2, arg, strlen(arg));
        exec_end(e, x, 0);
    } else if (strcmp(what, "exit") == 0) {
        exec_end(e, x, (int)strtol(arg, NULL, 10));
    } else if (strcmp(what, "big") == 0) {
        size_t n = strtoul(arg, NULL, 10);
        AUTO_FREE char *text = malloc(n + 1);
        if (!text)
            abort();
        for (size_t i = 0; i < n; i++)
            text[i] = (char)('a' + i % 23);
        for (size_t at = 0; at < n; at += 32768)
            exec_output(x, 1, text + at, n - at < 32768 ? n - at : 32768);
        exec_end(e, x, 0);
    } else if (strcmp(what, "background") == 0) {
        exec_output(x, 1, arg, strlen(arg));
        exec_leave(e, x);
    } else if (strcmp(what, "count") == 0 && strcmp(arg, "deaf") == 0) {
        conn_hear(conn, false);
    }
}

static void count_input(struct engine *e, struct exec *x, size_t len, bool eof) {
    char text[32];
    x->counted += len;
    if (!eof || !x->running)
        return;
    exec_output(x, 1, text, (size_t)snprintf(text, sizeof(text), "%zu\n", x->counted));
    exec_end(e, x, 0);
}

void engine_input(struct engine *e, struct conn *c, const char *data, size_t len, bool eof) {
    struct exec *x = e->execs;
    while (x && x->conn != c)
        x = x->next;
    if (!x)
        return;
    if (strcmp(first_arg(x->argv, 0), "leave") == 0 && x->running)
        exec_leave(e, x);
    if (strcmp(first_arg(x->argv, 0), "count") == 0)
        count_input(e, x, len, eof);
    if (len > 0 && strcmp(first_arg(x->argv, 0), "cat") == 0)
        exec_output(x, 1, data, len);
    if (eof && x->running && strcmp(first_arg(x->argv, 0), "cat") == 0)
        exec_end(e, x, 0);
}

/* ---- Paths ---- */

static bool handle_exec(struct engine *e, struct conn *conn, const struct request *rq) {
    char id[128], what[32];
    if (sscanf(rq->path, "/exec/%127[^/]/%31s", id, what) != 2)
        return false;
    struct exec *x = e->execs;
    while (x && strcmp(x->id, id) != 0)
        x = x->next;
    if (!x)
        conn_error(conn, 404, "No such exec instance: %s", id);
    else if (strcmp(what, "json") == 0)
        conn_reply(conn, 200,
                   json_pack("{s:s,s:b,s:i,s:i}", "ID", x->id, "Running", x->running, "ExitCode",
                             x->exit_code, "Pid", x->running ? e->pid : 0));
    else if (strcmp(what, "start") == 0)
        exec_start(e, conn, x);
    else if (strcmp(what, "resize") == 0)
        conn_reply(conn, 201, NULL);
    else
        return false;
    return true;
}

static void update(struct conn *conn, const struct container *c, const struct request *rq) {
    AUTO_JSON json_t *body = json_loads(rq->body_text, 0, NULL);
    json_object_update(json_object_get(c->create, "HostConfig"), body);
    conn_reply(conn, 200, json_pack("{s:[]}", "Warnings"));
}

static bool handle_container(struct engine *e, struct conn *conn, const struct request *rq) {
    char id[300], what[32] = "";
    if (sscanf(rq->path, "/containers/%299[^/]/%31s", id, what) < 1)
        return false;
    struct container *c = find(e, id);
    if (!c) {
        conn_error(conn, 404, "No such container: %s", id);
        return true;
    }
    bool is_get = strcmp(rq->method, "GET") == 0;
    if (strcmp(what, "json") == 0 && is_get) {
        conn_reply(conn, 200, inspect_json(e, c));
    } else if (strcmp(what, "start") == 0) {
        answer_start(e, conn, c);
    } else if (strcmp(what, "stop") == 0) {
        stop(e, conn, c);
    } else if (strcmp(what, "update") == 0) {
        update(conn, c, rq);
    } else if (strcmp(what, "kill") == 0) {
        kill_it(e, conn, c, rq);
    } else if (strcmp(what, "logs") == 0) {
        send_logs(e, c, conn, rq);
    } else if (strcmp(what, "exec") == 0) {
        exec_create(e, conn, c, rq);
    } else if (strcmp(what, "wait") == 0) {
        if (c->running)
            stream_add(e, conn, STREAM_WAIT, c);
        else
            conn_reply(conn, 200, json_pack("{s:i}", "StatusCode", c->exit_code));
    } else if (strcmp(what, "stats") == 0) {
        /* pids_stats.limit beyond int64, as Docker sends it without a limit */
        static const char text[] =
            "{\"memory_stats\":{\"usage\":4096},\"cpu_stats\":{\"cpu_usage\":"
            "{\"total_usage\":1000000}},\"pids_stats\":{\"current\":1,"
            "\"limit\":18446744073709551615}}";
        conn_reply_text(conn, 200, "application/json", NULL, false, text, sizeof(text) - 1,
                        SIZE_MAX);
    } else if (what[0] == '\0' && strcmp(rq->method, "DELETE") == 0) {
        AUTO_FREE char *force = request_param(rq, "force");
        if (c->running && !force) {
            conn_error(conn, 409, "You cannot remove a running container %s", c->id);
            return true;
        }
        remove_container(e, c);
        conn_reply(conn, 204, NULL);
    } else {
        return false;
    }
    return true;
}

static void handle_create(struct engine *e, struct conn *conn, const struct request *rq) {
    AUTO_FREE char *name = request_param(rq, "name");
    json_t *body = json_loads(rq->body_text, 0, NULL);
    struct container *old = name && name[0] ? find(e, name) : NULL;
    if (!json_is_object(body)) {
        conn_error(conn, 400, "invalid JSON");
        json_decref(body);
    } else if (old) {
        conn_error(
            conn, 409,
            "Conflict. The container name \"/%s\" is already in use by container \"%s\". You have "
            "to remove (or rename) that container to be able to reuse that name.",
            name, old->id);
        json_decref(body);
    } else {
        struct container *c = create(e, name, body);
        conn_reply(conn, 201, json_pack("{s:s,s:[]}", "Id", c->id, "Warnings"));
    }
}

static bool handle_system(struct engine *e, struct conn *conn, const char *path) {
    if (strcmp(path, "/version") == 0)
        conn_reply(conn, 200,
                   json_pack("{s:s,s:s,s:s,s:s,s:s}", "Version", "27.0.0-fake", "ApiVersion",
                             "1.47", "MinAPIVersion", "1.24", "Os", "linux", "Arch", "amd64"));
    else if (strcmp(path, "/info") == 0)
        conn_reply(conn, 200,
                   json_pack("{s:s,s:s,s:s,s:{s:{s:s}},s:s,s:s*}", "OSType", "linux",
                             "CgroupDriver", "systemd", "CgroupVersion", "2", "Runtimes", "runc",
                             "path", "runc", "ServerVersion", "27.0.0-fake", "DockerRootDir",
                             e->root));
    else if (strcmp(path, "/networks/bridge") == 0)
        conn_reply(conn, 200,
                   json_pack("{s:s,s:{s:[{s:s}]}}", "Name", "bridge", "IPAM", "Config", "Gateway",
                             "172.17.0.1"));
    else if (strncmp(path, "/images/", 8) == 0 && strlen(path) > 13 &&
             strcmp(path + strlen(path) - 5, "/json") == 0)
        conn_reply(conn, 200,
                   json_pack("{s:s,s:{s:s}}", "Id", "sha256:5ca1ab1e", "Config", "User", ""));
    else
        return false;
    return true;
}

/* Control requests for a container. */
static bool handle_fake(struct engine *e, struct conn *conn, const struct request *rq) {
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
    struct container *c = find(e, id);
    if (!c) {
        conn_error(conn, 404, "No such container: %s", id);
    } else if (strcmp(what, "exit") == 0) {
        AUTO_FREE char *code = request_param(rq, "code"), *killed = request_param(rq, "oom");
        if (killed)
            oom(e, c);
        finish(e, c, code ? (int)strtol(code, NULL, 10) : 0);
        conn_reply(conn, 204, NULL);
    } else if (strcmp(what, "lines") == 0) {
        AUTO_FREE char *count = request_param(rq, "count"), *max = request_param(rq, "max");
        print_lines(e, c, count ? (unsigned)strtoul(count, NULL, 10) : 1,
                    max ? (unsigned)strtoul(max, NULL, 10) : 80);
        conn_reply(conn, 204, NULL);
    } else if (strcmp(what, "clock") == 0) {
        AUTO_FREE char *ms = request_param(rq, "ms");
        c->log_clock_ns = ms ? strtoll(ms, NULL, 10) * 1000000 : 0;
        c->clock_set = true;
        conn_reply(conn, 204, NULL);
    } else if (strcmp(what, "piece") == 0) {
        AUTO_FREE char *count = request_param(rq, "count");
        print_pieces(e, c, count ? (unsigned)strtoul(count, NULL, 10) : 1);
        conn_reply(conn, 204, NULL);
    } else if (strcmp(what, "rotate") == 0) {
        AUTO_FREE char *keep = request_param(rq, "keep");
        rotate(c, keep ? strtoul(keep, NULL, 10) : 0);
        conn_reply(conn, 204, NULL);
    } else if (strcmp(what, "oom") == 0) {
        oom(e, c);
        conn_reply(conn, 204, NULL);
    } else if (strcmp(what, "restart") == 0) {
        AUTO_FREE char *lost = request_param(rq, "lost");
        bool muted = e->mute;
        e->mute |= lost != NULL;
        finish(e, c, 143);
        e->mute = muted;
        e->pid++;
        start(e, c);
        conn_reply(conn, 204, NULL);
    } else if (strcmp(what, "damage") == 0) {
        damage(e, c);
        conn_reply(conn, 204, NULL);
    } else if (strcmp(what, "print") == 0) {
        AUTO_FREE char *stream = request_param(rq, "stream");
        print(e, c, stream && strcmp(stream, "2") == 0 ? 2 : 1, rq->body_text, rq->body_len);
        conn_reply(conn, 204, NULL);
    } else {
        return false;
    }
    return true;
}

bool engine_handle(struct engine *e, struct conn *conn, const struct request *rq) {
    if (strncmp(rq->path, "/_fake/", 7) == 0)
        return handle_fake(e, conn, rq);
    if (strcmp(rq->path, "/events") == 0)
        follow_events(e, conn, rq);
    else if (strcmp(rq->path, "/containers/json") == 0)
        list(e, conn, rq);
    else if (strcmp(rq->path, "/containers/create") == 0)
        handle_create(e, conn, rq);
    else
        return handle_container(e, conn, rq) || handle_exec(e, conn, rq) ||
               handle_system(e, conn, rq->path);
    return true;
}

struct engine *engine_new(int pid) {
    struct engine *e = calloc(1, sizeof(*e));
    if (!e)
        abort();
    e->pid = pid;
    return e;
}

void engine_take_pids(struct engine *e, int *pids, unsigned n) {
    e->pids = pids;
    e->n_pids = n;
}

void engine_set_root(struct engine *e, const char *root) {
    e->root = root;
}

void engine_free(struct engine *e) {
    free(e->pids);
    while (e->stream_count > 0)
        stream_del(e, 0);
    while (e->containers) {
        struct container *c = e->containers;
        e->containers = c->next;
        container_free(c);
    }
    while (e->execs) {
        struct exec *x = e->execs;
        e->execs = x->next;
        exec_free(x);
    }
    for (unsigned i = 0; i < EVENTS_KEPT; i++)
        free(e->events[i].line);
    free(e);
}
