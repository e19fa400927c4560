/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* What the parts of the fake engine share: its containers, execs, streams and events. fake.h has
 * what the server calls. */
#include "fake/fake.h"

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

/* ---- fake_engine.c ---- */
/** Makes an id that begins with @kind, four letters. */
void engine_make_id(struct engine *e, const char *kind, char out[65]);
/** The time as a JSON text. */
json_t *engine_rfc3339(int64_t ns);
/** The container with this name, or with an id that begins like this; NULL when none exists. */
struct container *engine_find(struct engine *e, const char *id_or_name);
/** A member of the create request; NULL when it is absent. Owner: @c. */
json_t *container_get(const struct container *c, const char *key);
/** Starts its process, or another one. */
void container_start(struct engine *e, struct container *c);
/** Its process ends with @code. Nothing happens when it does not run. */
void container_finish(struct engine *e, struct container *c, int code);
/** The kernel kills a child of it for want of memory. */
void container_oom(struct engine *e, struct container *c);

/* ---- fake_streams.c ---- */
/** Keeps a stream open. Returns NULL when there are too many; the connection is closed then. */
struct stream *streams_add(struct engine *e, struct conn *c, enum stream_kind kind,
                           struct container *of);
/** Removes the stream from the list. The last one takes its place. */
void streams_remove(struct engine *e, unsigned i);
/** Sends an event to all event streams. @extra: more attributes, or NULL. Takes ownership of it. */
void events_emit(struct engine *e, const struct container *c, const char *action, json_t *extra);
/** "12.000000034" as nanoseconds. */
int64_t events_since(const char *text);
/** Answers GET /events. */
void events_follow(struct engine *e, struct conn *c, const struct request *rq);

/* ---- fake_output.c ---- */
/** Appends one frame of output. */
void output_frame(struct buf *out, int channel, const char *data, size_t len);
/** Prints one message, at the time of its log's clock. */
void output_print(struct engine *e, struct container *c, int channel, const char *text, size_t len);
/** Prints @count numbered lines of up to @max bytes. */
void output_print_lines(struct engine *e, struct container *c, unsigned count, unsigned max);
/** Prints @count more pieces of a line without an end. */
void output_print_pieces(struct engine *e, struct container *c, unsigned count);
/** Rotates the log's files: only the last @keep messages stay. */
void output_rotate(struct container *c, size_t keep);
/** Sends the open log streams bytes that are no frame. */
void output_damage(struct engine *e, const struct container *c);
/** Answers GET /containers/ID/logs. */
void output_send_logs(struct engine *e, struct container *c, struct conn *conn,
                      const struct request *rq);

/* ---- fake_exec.c ---- */
/** The @i th word of @argv, or "". */
const char *exec_arg(const json_t *argv, size_t i);
/** Answers POST /containers/ID/exec. */
void exec_create(struct engine *e, struct conn *conn, struct container *c,
                 const struct request *rq);
/** Answers requests below /exec. Returns false when it knows no such path. */
bool exec_handle(struct engine *e, struct conn *conn, const struct request *rq);
void exec_free(struct exec *x);

/* ---- fake_control.c ---- */
/** Answers control requests. Returns false when it knows no such path. */
bool control_handle(struct engine *e, struct conn *conn, const struct request *rq);
