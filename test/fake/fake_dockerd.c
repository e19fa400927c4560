/* SPDX-License-Identifier: MPL-2.0 */
/* The server of the fake dockerd. It takes connections, answers each request by a rule, as a
 * control request or with the engine, and ends when its stdin does. fake.h describes the program;
 * fake_request.c reads requests, fake_reply.c writes answers.
 *
 * One thread serves all connections with poll(). A delayed answer, and a body that is sent line by
 * line, is a time in the connection. */
#include "fake/fake_conn.h"
#include "paddock/clock.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define CONN_MAX 8192
#define LOG_MAX 512

static struct {
    struct conn *conns[CONN_MAX];
    unsigned count, accepted;
    struct rules rules;
    struct engine *engine;
    json_t *requests, *log;
    char api[16];
    int *pids; /* until the engine takes them */
    unsigned n_pids;
    const char *root;
    int listen_fd;
} srv = {.api = "1.47"};

/* ---- One request ---- */

static bool control(struct conn *c, const struct request *rq) {
    if (strncmp(rq->path, "/_fake/", 7) != 0)
        return false;
    const char *what = rq->path + 7;
    if (strcmp(what, "rules") == 0) {
        bool ok = rules_add(&srv.rules, rq->body_text);
        conn_reply(c, ok ? 204 : 400, NULL);
    } else if (strcmp(what, "reset") == 0) {
        rules_clear(&srv.rules);
        conn_reply(c, 204, NULL);
    } else if (strcmp(what, "hear") == 0) {
        for (unsigned i = 0; i < srv.count; i++)
            conn_hear(srv.conns[i], true);
        conn_reply(c, 204, NULL);
    } else if (strcmp(what, "drop") == 0) {
        engine_drop_streams(srv.engine);
        conn_reply(c, 204, NULL);
    } else if (strcmp(what, "requests") == 0) {
        conn_reply(c, 200, json_incref(srv.requests));
    } else if (strcmp(what, "log") == 0) {
        conn_reply(c, 200, json_incref(srv.log));
    } else if (strcmp(what, "connections") == 0) {
        conn_reply(c, 200,
                   json_pack("{s:i,s:i}", "open", (int)srv.count, "accepted", (int)srv.accepted));
    } else {
        return false;
    }
    return true;
}

static void answer_really(struct conn *c, const struct request *rq) {
    if (strcmp(rq->path, "/_ping") == 0)
        conn_reply_text(c, 200, "text/plain; charset=utf-8", NULL, false, "OK", 2, SIZE_MAX);
    else if (!control(c, rq) && !engine_handle(srv.engine, c, rq))
        conn_error(c, 404, "page not found");
}

/* Sends the next line of a body that is sent line by line. After the last line it ends the
 * answer, or with "stall" sends nothing more. */
static void drip(struct conn *c) {
    if (c->drip.at < c->drip.len) {
        const char *from = c->drip.data + c->drip.at;
        size_t line = strcspn(from, "\n");
        line += from[line] == '\n';
        conn_chunk(c, from, line);
        c->drip.at += line;
        c->drip.at_us = clock_now_us() + c->drip.every_ms * US_PER_MS;
        return;
    }
    c->drip.at_us = 0;
    free(c->drip.data);
    c->drip.data = NULL;
    if (!c->drip.stall)
        conn_end_chunks(c);
}

static void drip_start(struct conn *c, const struct rule *r) {
    c->streaming = true;
    conn_head(c, r->status, r->type ? r->type : "application/json", r->header,
              conn_chunked_framing(c));
    c->drip.data = request_copy(r->body ? r->body : "", r->body_len);
    c->drip.len = r->body_len;
    c->drip.at = 0;
    c->drip.every_ms = r->every_ms;
    c->drip.stall = r->stall;
    drip(c);
}

static void answer_by(struct conn *c, const struct rule *r) {
    if (r->drip) {
        drip_start(c, r);
    } else if (r->raw) {
        size_t cut = r->cut >= 0 && (size_t)r->cut < r->body_len ? (size_t)r->cut : r->body_len;
        conn_write(c, r->body, cut);
    } else {
        const char *type = r->type ? r->type : r->body ? "application/json" : NULL;
        conn_reply_text(c, r->status, type, r->header, r->chunked, r->body ? r->body : "",
                        r->body_len, r->cut >= 0 ? (size_t)r->cut : SIZE_MAX);
    }
}

static void answer(struct conn *c, const struct request *rq, const struct rule *r) {
    if (r && r->drop) {
        c->dead = true;
        return;
    }
    if (r && r->hang) {
        c->hanging = true;
        return;
    }
    if (r && (r->status || r->raw)) {
        answer_by(c, r);
    } else {
        c->late_header = r ? r->header : NULL;
        answer_really(c, rq);
        c->late_header = NULL;
    }
    if (r && r->close)
        c->closing = true;
}

static void log_request(const char *key, const struct request *rq) {
    char body[4096];
    snprintf(body, sizeof(body), "%s", rq->body_text ? rq->body_text : "");
    json_t *row = json_pack("{s:s,s:s,s:s,s:s,s:b,s:I}", "request", key, "query", rq->query, "auth",
                            rq->auth ? rq->auth : "", "type", rq->type, "unframed", rq->unframed,
                            "bytes", (json_int_t)rq->body_len);
    json_t *text = json_string(body);
    json_object_set_new(row, "body", text ? text : json_string("not UTF-8"));
    json_array_append_new(srv.log, row);
    if (json_array_size(srv.log) > LOG_MAX)
        json_array_remove(srv.log, 0);
}

/* Takes ownership of @rq. */
static void handle(struct conn *c, struct request *rq) {
    char key[512];
    snprintf(key, sizeof(key), "%s %.400s", rq->method, rq->path);
    json_int_t n = json_integer_value(json_object_get(srv.requests, key));
    if (strncmp(rq->path, "/_fake/", 7) != 0) {
        json_object_set_new(srv.requests, key, json_integer(n + 1));
        log_request(key, rq);
    }
    struct rule *r =
        strncmp(rq->path, "/_fake/", 7) == 0 ? NULL : rules_match(&srv.rules, rq->method, rq->path);
    if (r && r->delay_ms) {
        c->at_us = clock_now_us() + r->delay_ms * US_PER_MS;
        c->late_rule = r;
        c->late = *rq;
        return;
    }
    answer(c, rq, r);
    request_done(rq);
}

static void answer_late(struct conn *c) {
    /* The rule may have been removed in the meantime. */
    struct rule *r = srv.rules.first;
    while (r && r != c->late_rule)
        r = r->next;
    c->at_us = 0;
    answer(c, &c->late, r);
    request_done(&c->late);
}

/* Handles the requests one after another. A delayed or streaming answer delays those that
 * follow. */
static void serve(struct conn *c) {
    while (!c->dead && !c->closing && !c->hijacked && !c->streaming && !c->hanging && !c->at_us) {
        struct request rq = {0};
        if (!request_take(c, &rq))
            return;
        handle(c, &rq);
    }
}

/* ---- Connections ---- */

static void conn_free(struct conn *c) {
    engine_conn_closed(srv.engine, c);
    request_done(&c->late);
    free(c->drip.data);
    buf_done(&c->in);
    buf_done(&c->out);
    fd_close(c->fd);
    free(c);
}

static void conn_accept(void) {
    int fd = accept4(srv.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct conn *c = calloc(1, sizeof(*c));
    if (!c || srv.count == CONN_MAX) {
        free(c);
        fd_close(fd);
        return;
    }
    c->fd = fd;
    c->api = srv.api;
    buf_init(&c->in, 1u << 30);
    buf_init(&c->out, 1u << 30);
    srv.conns[srv.count++] = c;
    srv.accepted++;
}

static void conn_read(struct conn *c) {
    char data[65536];
    ssize_t n = recv(c->fd, data, sizeof(data), 0);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            c->dead = true;
        return;
    }
    c->in_eof = n == 0;
    if (c->hijacked) {
        engine_input(srv.engine, c, data, (size_t)n, n == 0);
        return;
    }
    if (n == 0) {
        c->dead = true;
        return;
    }
    if (buf_append(&c->in, data, (size_t)n) < 0)
        c->dead = true;
    serve(c);
    if (c->hijacked && c->in.len > 0) {
        engine_input(srv.engine, c, c->in.data, c->in.len, false);
        buf_done(&c->in);
    }
}

static void conn_flush(struct conn *c) {
    if (c->out.len > 0) {
        ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);
        if (n > 0)
            buf_consume(&c->out, (size_t)n);
        else if (errno != EAGAIN && errno != EINTR)
            c->dead = true;
    }
    if (c->out.len == 0)
        buf_done(&c->out);
    if (c->closing && c->out.len == 0)
        c->dead = true;
}

static int next_ms(void) {
    uint64_t now = clock_now_us(), first = 0;
    for (unsigned i = 0; i < srv.count; i++)
        for (int k = 0; k < 2; k++) {
            uint64_t at = k ? srv.conns[i]->drip.at_us : srv.conns[i]->at_us;
            if (at && (!first || at < first))
                first = at;
        }
    if (!first)
        return -1;
    return first <= now ? 0 : (int)((first - now + 999) / 1000);
}

static void step(struct pollfd *p) {
    p[0] = (struct pollfd){.fd = srv.listen_fd, .events = POLLIN};
    p[1] = (struct pollfd){.fd = 0, .events = POLLIN};
    unsigned n = srv.count;
    for (unsigned i = 0; i < n; i++) {
        struct conn *c = srv.conns[i];
        p[i + 2] = (struct pollfd){.fd = c->fd,
                                   .events = (short)((c->in_eof || c->deaf ? 0 : POLLIN) |
                                                     (c->out.len || c->closing ? POLLOUT : 0))};
    }
    if (poll(p, n + 2, next_ms()) < 0)
        return;
    uint64_t now = clock_now_us();
    for (unsigned i = 0; i < n; i++) {
        struct conn *c = srv.conns[i];
        if (p[i + 2].revents & (POLLIN | POLLHUP | POLLERR))
            conn_read(c);
        if (c->at_us && c->at_us <= now) {
            answer_late(c);
            serve(c);
        }
        if (c->drip.at_us && c->drip.at_us <= now) {
            drip(c);
            serve(c);
        }
    }
    for (unsigned i = 0; i < n; i++)
        if (!srv.conns[i]->dead)
            conn_flush(srv.conns[i]);
    unsigned kept = 0;
    for (unsigned i = 0; i < n; i++) {
        if (srv.conns[i]->dead)
            conn_free(srv.conns[i]);
        else
            srv.conns[kept++] = srv.conns[i];
    }
    srv.count = kept;
    if (p[0].revents)
        conn_accept();
}

static int listen_at(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(a.sun_path))
        return -1;
    memcpy(a.sun_path, path, strlen(path) + 1);
    unlink(path);
    srv.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(srv.listen_fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        return -1;
    return listen(srv.listen_fd, 4096);
}

static bool load_rules(const char *file) {
    FILE *f = fopen(file, "re");
    char *text = NULL;
    size_t size = 0;
    bool ok = f && getdelim(&text, &size, '\0', f) >= 0 && rules_add(&srv.rules, text);
    free(text);
    if (f)
        fclose(f);
    return ok;
}

static int *load_pids(const char *path, unsigned *ret_n) {
    FILE *f = fopen(path, "re");
    int *pids = NULL, pid;
    unsigned n = 0;
    while (f && fscanf(f, "%d", &pid) == 1) {
        pids = realloc(pids, (n + 1) * sizeof(*pids));
        if (!pids)
            abort();
        pids[n++] = pid;
    }
    if (f)
        fclose(f);
    *ret_n = n;
    return pids;
}

static bool parse_args(int argc, char **argv, unsigned *ret_containers, int *ret_pid) {
    for (int i = 2; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--rules") == 0 && !load_rules(argv[i + 1]))
            return false;
        if (strcmp(argv[i], "--containers") == 0)
            *ret_containers = (unsigned)strtoul(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--pid") == 0)
            *ret_pid = (int)strtol(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--pids") == 0)
            srv.pids = load_pids(argv[i + 1], &srv.n_pids);
        if (strcmp(argv[i], "--root") == 0)
            srv.root = argv[i + 1];
        if (strcmp(argv[i], "--api") == 0)
            snprintf(srv.api, sizeof(srv.api), "%s", argv[i + 1]);
    }
    return argc % 2 == 0;
}

int main(int argc, char **argv) {
    unsigned containers = 0;
    int pid = 999999999; /* no process has this number */
    if (argc < 2 || !parse_args(argc, argv, &containers, &pid)) {
        fprintf(stderr, "usage: fake_dockerd SOCKET [--rules FILE] [--containers N] [--pid PID] "
                        "[--pids FILE] [--api 1.NN] [--root FOLDER]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    srv.requests = json_object();
    srv.log = json_array();
    srv.engine = engine_new(pid);
    engine_take_pids(srv.engine, srv.pids, srv.n_pids);
    engine_set_root(srv.engine, srv.root);
    engine_populate(srv.engine, containers);
    if (listen_at(argv[1]) < 0) {
        perror(argv[1]);
        return 1;
    }
    static struct pollfd polled[CONN_MAX + 2];
    puts("ready");
    fflush(stdout);
    char byte;
    do
        step(polled);
    while (!(polled[1].revents && read(0, &byte, 1) <= 0));
    while (srv.count > 0)
        conn_free(srv.conns[--srv.count]);
    rules_clear(&srv.rules);
    engine_free(srv.engine);
    json_decref(srv.requests);
    json_decref(srv.log);
    unlink(argv[1]);
    return 0;
}
