/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* A dockerd for tests. It keeps containers in memory, which "run" until a request stops them. When
 * one of its rules matches a request, it does what the rule says instead. One thread, one unix
 * socket, HTTP/1.1 with keep-alive.
 *
 *   fake_dockerd SOCKET [--rules FILE] [--containers N] [--pid PID] [--pids FILE]
 *                [--api 1.NN] [--root FOLDER]
 *
 * --pids: the processes of the first containers, one number per line.
 * --root: Docker's root folder, which must exist. Containers have their log files below it, as with
 * the log driver json-file.
 *
 * It prints "ready" and a newline on stdout when it listens. It ends when its stdin ends, or by a
 * signal.
 *
 * Rules, one per line; the first that matches is used. METHOD and PATH (without /v1.xx and query)
 * are globs:
 *
 *   METHOD PATH [times=N] [skip=N] [delay=MS] [status=N] [type=MIME] [header=Name:value]
 *   [size=N] [chunked] [cut=N] [every=MS] [stall] [hang] [drop] [close] [raw]
 *   [body=REST OF THE LINE]
 *
 *   times    the rule is used up after N requests
 *   skip     the first N requests pass without the rule
 *   delay    the answer comes later
 *   status   without status, body, size or raw the real answer follows, late or with the header
 *   size     a body of N times "x"
 *   chunked  the body is sent in chunks
 *   cut      the connection ends after N bytes of the body
 *   hang     no answer
 *   drop     closes without an answer
 *   close    closes after the answer
 *   raw      the body is all that is sent, with \n \r \\ escapes
 *   every    the body, with the same escapes, is sent line by line
 *   stall    after the body nothing follows: the answer has no end
 *
 * Control requests, on the same socket:
 *
 *   POST /_fake/rules                  the body: rules, put before the existing ones
 *   POST /_fake/reset                  removes all rules
 *   POST /_fake/exit/ID?code=N[&oom=1] the container's process ends
 *   POST /_fake/print/ID[?stream=2]    the body: one message of output
 *   POST /_fake/damage/ID              sends the open log streams bytes that are no frame
 *   POST /_fake/lines/ID?count=N&max=BYTES  numbered lines on both streams
 *   POST /_fake/clock/ID?ms=N          sets the clock of its log N ms before or after the machine's
 *   POST /_fake/piece/ID?count=N       16 KiB pieces of a line without an end, on stdout
 *   POST /_fake/rotate/ID?keep=N       all but the last N messages are removed from its log
 *   POST /_fake/restart/ID[?lost=1]    `docker restart`: it ends with 143 and gets another process;
 *                                      with lost=1 its die event is lost
 *   POST /_fake/busy/PORT[?times=N]    the next N starts of containers that publish PORT fail. As
 *                                      with Docker 29, a second start of the same container runs
 *                                      it without networks
 *   POST /_fake/netless/N              the next N starts leave out the networks
 *   POST /_fake/mute/on, /off          events are lost, as dockerd loses them for a slow listener
 *   POST /_fake/oom/ID                 the kernel kills a child of it for want of memory
 *   POST /_fake/drop                   cuts all streams
 *   GET /_fake/requests                {"METHOD PATH": count}
 *   GET /_fake/log                     the last requests: [{"request": "METHOD PATH", "query",
 *                                      "auth": X-Registry-Auth, "type": Content-Type, "unframed":
 *                                      HTTP/1.0, "body", "bytes": of the body}]
 *   GET /_fake/connections             {"open": n, "accepted": n}
 *
 * A container's Cmd: ["exit", N] ends immediately with N, ["print", TEXT] prints and runs, all
 * others run. SIGTERM and SIGKILL end it, other signals do not.
 *
 * An exec's Cmd:
 *   ["echo", TEXT]
 *   ["cat"]               sends stdin back until its end
 *   ["exit", N]
 *   ["err", TEXT]         prints on stderr
 *   ["sleep"]             runs until the connection ends
 *   ["big", N]            prints N bytes
 *   ["count"]             prints at the end how much input came; ["count", "deaf"] reads none
 * before POST /_fake/hear
 *   ["background", TEXT]  ends with 5, but a child of it keeps the connection open
 *   ["leave"]             like background, at its first input */
#include "paddock/buf.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct conn;
struct engine;

struct request {
    char method[16];
    char *path;  /* without version and query */
    char *query; /* "" when none */
    char *auth;  /* X-Registry-Auth; NULL */
    char *type;  /* Content-Type; "" */
    bool unframed;
    char *body_text;
    size_t body_len;
};

/* ---- fake_reply.c, fake_request.c: functions for the engine and the rules ---- */
void conn_reply(struct conn *c, int status, json_t *body_taken);
void conn_error(struct conn *c, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);
void conn_reply_text(struct conn *c, int status, const char *type, const char *header, bool chunked,
                     const char *body, size_t len, size_t cut);
void conn_write(struct conn *c, const void *data, size_t len);
/** Starts a chunked 200 that stays open; conn_chunk adds to it. */
void conn_stream(struct conn *c, const char *type);
void conn_chunk(struct conn *c, const void *data, size_t len);
void conn_end_chunks(struct conn *c);
/** Answers 101. All later input goes to engine_input(). */
void conn_hijack(struct conn *c);
void conn_close_when_written(struct conn *c);
void conn_drop(struct conn *c);
/** @hear: whether the input of @c is read. */
void conn_hear(struct conn *c, bool hear);
/** The value of @key in the query, unescaped, or NULL when it is absent. free() it. */
char *request_param(const struct request *rq, const char *key);

/* ---- fake_log_files.c ---- */
#define LOG_FILE_PATH_MAX 512
void log_file_path(const char *root, const char *id, char ret[LOG_FILE_PATH_MAX]);
/** Makes an empty log file where none exists. */
void log_file_make(const char *root, const char *id);
/** Adds one message. @time: a JSON text. */
void log_file_append(const char *root, const char *id, const char *stream, const json_t *time,
                     const char *text, size_t len);

/* ---- fake_engine.c, fake_exec.c, fake_streams.c ---- */
struct engine *engine_new(int pid);
/** Takes ownership of @pids. */
void engine_take_pids(struct engine *e, int *pids, unsigned n);
/** @root must stay valid; see --root. */
void engine_set_root(struct engine *e, const char *root);
void engine_free(struct engine *e);
void engine_populate(struct engine *e, unsigned n);
/** Returns false when the path is unknown. */
bool engine_handle(struct engine *e, struct conn *c, const struct request *rq);
void engine_input(struct engine *e, struct conn *c, const char *data, size_t len, bool eof);
void engine_conn_closed(struct engine *e, struct conn *c);
void engine_drop_streams(struct engine *e);

/* ---- fake_rules.c ---- */
struct rule {
    char *method, *path;
    long times; /* -1 = always */
    unsigned skip, delay_ms;
    int status; /* 0 = the real answer */
    char *type, *header;
    bool chunked, hang, drop, close, raw, stall, drip;
    unsigned every_ms;
    long cut; /* -1 = not */
    char *body;
    size_t body_len;
    struct rule *next;
};
struct rules {
    struct rule *first;
};
/** Puts the rules of @text before the existing ones. Returns false when a line is wrong, and
 * reports that on stderr. */
bool rules_add(struct rules *r, const char *text);
void rules_clear(struct rules *r);
/** Finds the rule for this request and counts the use. Returns NULL when none matches. Owner:
 * @r, until the next change. */
struct rule *rules_match(struct rules *r, const char *method, const char *path);
