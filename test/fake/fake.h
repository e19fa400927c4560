/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* A dockerd for tests: keeps containers in memory that "run" until somebody stops them, and does
 * what its rules say instead where one matches. One thread, one unix socket, HTTP/1.1 with
 * keep-alive.
 *
 *   fake_dockerd SOCKET [--rules FILE] [--containers N] [--pid PID] [--pids FILE]
 *                [--api 1.NN] [--root FOLDER]
 *
 * --pids: the processes of the first containers, one number a line.
 * --root: Docker's root folder, an existing one, below which containers have their log files, as
 * with the log driver json-file.
 *
 * It prints "ready" and a newline on stdout when it listens, and ends when its stdin ends, or by a
 * signal.
 *
 * Rules, one a line, the first that matches counts; METHOD and PATH (without /v1.xx and query) are
 * globs: METHOD PATH [times=N] [skip=N] [delay=MS] [status=N] [type=MIME] [header=Name:value]
 * [size=N] [chunked] [cut=N] [every=MS] [stall] [hang] [drop] [close] [raw] [body=REST OF THE LINE]
 * times: used up after so many requests; skip: lets so many pass first. delay: answers later.
 * Without status, body, size or raw the real answer follows (late, or with the header). size: a
 * body of so many "x". chunked: sent in chunks. cut: the connection ends after N bytes of the body.
 * hang: never answers. drop: closes without an answer. close: closes after the answer. raw: the
 * body is all that is sent, with \n \r \\ escapes. every: the body, with the same escapes, is sent
 * a line at a time. stall: it is, and then nothing: the answer has no end.
 *
 * Control, on the same socket: POST /_fake/rules (body: rules, put before those there are),
 * POST /_fake/reset (no rules), POST /_fake/exit/ID?code=N[&oom=1] (its process ends),
 * POST /_fake/print/ID[?stream=2] (body: one message of output), POST /_fake/damage/ID (what is no
 * frame, to the log streams that are open), POST
 * /_fake/lines/ID?count=N&max=BYTES (numbered lines on both streams), POST /_fake/clock/ID?ms=N
 * (the clock of its log is set so far before or behind the machine's), POST
 * /_fake/piece/ID?count=N (16 KiB pieces of a line without an end, on stdout), POST
 * /_fake/rotate/ID?keep=N (all but the last N messages are gone from its log), POST
 * /_fake/restart/ID[?lost=1] (`docker restart`: an end with 143 and another process; with lost=1
 * its die event is lost), POST /_fake/busy/PORT[?times=N] (the next N starts of containers that
 * publish PORT fail, and as with Docker 29 a second start of the same container runs it without
 * networks), POST /_fake/netless/N (the next N starts leave the networks out), POST /_fake/mute/on
 * and off (events are lost, as dockerd loses them for a slow listener), POST
 * /_fake/oom/ID (a child is killed for want of memory),
 * POST /_fake/drop (all streams cut), GET /_fake/requests
 * ({"METHOD PATH": count}), GET /_fake/log (the last requests: [{"request": "METHOD PATH", "query",
 * "auth": X-Registry-Auth, "type": Content-Type, "unframed": HTTP/1.0, "body", "bytes": of the
 * body}]), GET
 * /_fake/connections ({"open": n, "accepted": n}).
 *
 * A container's Cmd: ["exit", N] ends at once with N, ["print", TEXT] prints and runs; all others
 * run. Of signals SIGTERM and SIGKILL end it. An exec's Cmd: ["echo", TEXT], ["cat"] (stdin back,
 * until its end), ["exit", N], ["err", TEXT] (on stderr),
 * ["sleep"] (until the connection ends), ["big", N] (so many bytes), ["count"] (tells at the end
 * how much input came; ["count", "deaf"] reads none before POST /_fake/hear), ["leave"] (as
 * background, at its first input), ["background", TEXT] (ends with 5, but a child of it holds the
 * connection). */
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

/* ---- fake_dockerd.c: what the engine and the rules call ---- */
void conn_reply(struct conn *c, int status, json_t *body_taken);
void conn_error(struct conn *c, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);
void conn_reply_text(struct conn *c, int status, const char *type, const char *header, bool chunked,
                     const char *body, size_t len, size_t cut);
void conn_write(struct conn *c, const void *data, size_t len);
/** Starts a chunked 200 that stays open; conn_chunk adds to it. */
void conn_stream(struct conn *c, const char *type);
void conn_chunk(struct conn *c, const void *data, size_t len);
void conn_end_chunks(struct conn *c);
/** Answers 101: what comes from now on goes to engine_input. */
void conn_hijack(struct conn *c);
void conn_close_when_written(struct conn *c);
void conn_drop(struct conn *c);
/** Whether its input is read. */
void conn_hear(struct conn *c, bool hear);
/** The value of @key in the query, unescaped; NULL when absent. free(). */
char *request_param(const struct request *rq, const char *key);

/* ---- fake_log_files.c ---- */
#define LOG_FILE_PATH_MAX 512
void log_file_path(const char *root, const char *id, char ret[LOG_FILE_PATH_MAX]);
/** Makes an empty log file where none exists. */
void log_file_make(const char *root, const char *id);
/** Adds one message. @time: a JSON text. */
void log_file_append(const char *root, const char *id, const char *stream, const json_t *time,
                     const char *text, size_t len);

/* ---- fake_engine.c ---- */
struct engine *engine_new(int pid);
/** @pids is taken. */
void engine_take_pids(struct engine *e, int *pids, unsigned n);
/** @root must stay; see --root. */
void engine_set_root(struct engine *e, const char *root);
void engine_free(struct engine *e);
void engine_populate(struct engine *e, unsigned n);
/** False when it knows no such path. */
bool engine_handle(struct engine *e, struct conn *c, const struct request *rq);
void engine_input(struct engine *e, struct conn *c, const char *data, size_t len, bool eof);
void engine_conn_gone(struct engine *e, struct conn *c);
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
/** Puts the rules of @text before the others. False: a line is wrong (told on stderr). */
bool rules_add(struct rules *r, const char *text);
void rules_clear(struct rules *r);
/** The rule for this request, counted; NULL. Owner: @r, until the next change. */
struct rule *rules_match(struct rules *r, const char *method, const char *path);
