/* SPDX-License-Identifier: MPL-2.0 */
/* Answers `paddock status` and Prometheus on two listeners, which use the driver's loop.
 *
 * serve.c makes it when the driver is activated. The two listeners do not depend on each other: a
 * port that is in use does not affect the Unix socket. A listener that cannot be opened is tried
 * again every 2 s. The status document contains the port and the reason why it is not open, so that
 * `paddock status` and `paddock check` can report it. */
#include "plugin/control.h"
#include "plugin/control_socket.h"
#include "plugin/http.h"
#include "plugin/web.h"

#include "paddock/buf.h"
#include "paddock/clock.h"
#include "paddock/log.h"
#include "paddock/strv.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define CONNS_MAX 64u
#define REQUEST_MAX 4096u /* of the command line */
#define READ_SIZE 4096u
#define CONN_LIMIT_US (5 * US_PER_SEC)
#define ACCEPT_REST_US US_PER_SEC /* when no fd is free */
#define OPEN_RETRY_US (2 * US_PER_SEC)
#define LOCK_RETRY_US (20 * US_PER_MS) /* while another plugin opens its socket */

struct listener {
    struct control *control;
    int fd;    /* < 0: not open */
    int error; /* the reason, as -errno */
    bool http;
    struct loop_watch *watch;
    struct loop_timer *timer; /* accepts again, or opens again */
    unsigned conns_n;
};

struct conn {
    struct listener *from;
    int fd;
    struct loop_watch *watch;
    struct loop_timer *limit;
    struct buf in;
    char *out;
    size_t out_len, out_at;
    struct conn *next;
};

struct control {
    struct loop *loop;
    struct control_options o;   /* its strings are owned */
    struct sockaddr_un address; /* the Unix socket's, valid once `bound` */
    atomic_bool bound;
    unsigned port;
    struct listener local, http;
    struct conn *conns;
};

/* ---- accepting: a client that we cannot accept would make epoll report it again and again ---- */

static void listener_go_on(struct listener *l) {
    if (loop_watch_set(l->watch, EPOLLIN) < 0)
        loop_timer_at(l->timer, clock_now_us() + ACCEPT_REST_US);
}

/* Stops accepting for @us. With 0, until a connection has ended. */
static void listener_rest(struct listener *l, uint64_t us) {
    if (loop_watch_set(l->watch, 0) == 0 && us > 0)
        loop_timer_at(l->timer, clock_now_us() + us);
}

/* ---- connections ---- */

static void conn_free(struct conn *c) {
    for (struct conn **at = &c->from->control->conns; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    if (c->from->conns_n-- == CONNS_MAX)
        listener_go_on(c->from);
    loop_watch_del(c->watch);
    loop_timer_del(c->limit);
    fd_close(c->fd);
    buf_done(&c->in);
    free(c->out);
    free(c);
}

static void conn_write(struct conn *c) {
    while (c->out_at < c->out_len) {
        ssize_t n =
            send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN && loop_watch_set(c->watch, EPOLLOUT) == 0)
            return;
        if (n <= 0)
            break;
        c->out_at += (size_t)n;
    }
    conn_free(c);
}

/* Sends @text and takes ownership of it. NULL closes the connection. */
static void conn_answer(struct conn *c, char *text) {
    if (!text) {
        conn_free(c);
        return;
    }
    c->out = text;
    c->out_len = strlen(text);
    conn_write(c);
}

/* Adds the state of the port to the status. Adds nothing when no port is configured. */
static int add_metrics(const struct control *k, json_t *doc) {
    const char *error = k->http.error < 0 ? strerror(-k->http.error) : "";
    if (!k->o.listen[0])
        return 0;
    return json_object_set_new(doc, "metrics",
                               json_pack("{s:s,s:s}", "listen", k->o.listen, "error", error));
}

static char *answer_local(const struct control *k, const char *what) {
    json_t *doc = NULL;
    if (what[0] == '\0' || strcmp(what, "status") == 0) {
        doc = k->o.status(k->o.ctx);
        if (doc && add_metrics(k, doc) < 0) {
            json_decref(doc);
            doc = NULL;
        }
    } else if (strcmp(what, "metrics") == 0) {
        AUTO_FREE char *text = k->o.metrics(k->o.ctx);
        doc = text ? json_pack("{s:s}", "metrics", text) : NULL;
    } else {
        doc = json_pack("{s:s}", "error", "unknown request: it is \"status\" or \"metrics\"");
    }
    char *out = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
    json_decref(doc);
    return out;
}

/* Returns 0 with the answer to the bytes received so far; -EAGAIN when more must be received;
 * -ENOMEM; another -errno when the connection is to be closed. */
static int answer_received(struct conn *c, bool ended, char **ret) {
    const struct control *k = c->from->control;
    const struct web_sources web = {
        .status = k->o.status, .metrics = k->o.metrics, .check = k->o.check, .ctx = k->o.ctx};
    char *in = c->in.data;
    if (!in)
        return ended && c->from->http ? -ENODATA : -EAGAIN;
    if (c->from->http)
        return web_answer(in, c->in.len, &web, ret);
    if (!ended && !strchr(in, '\n'))
        return c->in.len < REQUEST_MAX ? -EAGAIN : -EMSGSIZE;
    in[strcspn(in, "\r\n")] = '\0';
    *ret = answer_local(k, in);
    return *ret ? 0 : -ENOMEM;
}

static void on_conn(void *ctx, uint32_t events) {
    struct conn *c = ctx;
    char chunk[READ_SIZE], *text = NULL;
    (void)events;
    if (c->out) {
        conn_write(c);
        return;
    }
    ssize_t n = recv(c->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    int r = n < 0 ? -errno : buf_append(&c->in, chunk, (size_t)n);
    if (r == 0)
        r = answer_received(c, n == 0, &text);
    if (r == 0)
        conn_answer(c, text);
    else if (r != -EAGAIN || n == 0)
        conn_free(c);
}

static void on_limit(void *ctx) {
    conn_free(ctx);
}

static int conn_new(struct listener *from, int *take_fd) {
    struct conn *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->from = from;
    c->fd = TAKE_FD(*take_fd);
    buf_init(&c->in, HTTP_HEAD_MAX + READ_SIZE);
    c->next = from->control->conns;
    from->control->conns = c;
    from->conns_n++;
    int r = loop_watch_add(from->control->loop, c->fd, EPOLLIN, on_conn, c, &c->watch);
    if (r == 0)
        r = loop_timer_new(from->control->loop, on_limit, c, &c->limit);
    if (r < 0)
        conn_free(c);
    else
        loop_timer_at(c->limit, clock_now_us() + CONN_LIMIT_US);
    return r;
}

static void on_listener(void *ctx, uint32_t events) {
    struct listener *l = ctx;
    (void)events;
    if (l->conns_n == CONNS_MAX) {
        listener_rest(l, 0);
        return;
    }
    AUTO_FD int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 ? errno != EAGAIN && errno != ECONNABORTED : conn_new(l, &fd) < 0)
        listener_rest(l, ACCEPT_REST_US);
}

/* ---- opening ---- */

static int open_listener(struct listener *l) {
    struct control *c = l->control;
    if (l->http)
        return control_socket_port(c->o.listen, &c->port, &l->fd);
    int r = control_socket_local(c->o.dir, c->o.name, &c->address, &l->fd);
    if (r == 0)
        atomic_store(&c->bound, true);
    return r;
}

/* Logs each reason once. */
static void log_opening(const struct listener *l, int r) {
    const char *what = l->http ? "the metrics listener" : "the socket for `paddock status`";
    const char *where = l->http ? l->control->o.listen : l->control->o.dir;
    if (r < 0 && r != l->error && r != -EWOULDBLOCK)
        log_warn("control", LOG_KV("where", where, "errno", strerror(-r)),
                 "%s cannot be opened, retrying", what);
    else if (r == 0 && l->error < 0 && l->error != -EWOULDBLOCK)
        log_info("control", LOG_KV("where", where), "%s is open now", what);
}

static void listener_open(struct listener *l) {
    struct control *c = l->control;
    int r = open_listener(l);
    if (r == 0)
        r = loop_watch_add(c->loop, l->fd, EPOLLIN, on_listener, l, &l->watch);
    if (r < 0) {
        if (!l->http)
            control_unlink(c);
        l->fd = fd_close(l->fd);
        loop_timer_at(l->timer,
                      clock_now_us() + (r == -EWOULDBLOCK ? LOCK_RETRY_US : OPEN_RETRY_US));
    }
    log_opening(l, r);
    l->error = r;
}

static void on_timer(void *ctx) {
    struct listener *l = ctx;
    if (l->fd < 0)
        listener_open(l);
    else
        listener_go_on(l);
}

/* ---- creation and removal ---- */

static int copy_options(struct control *c, const struct control_options *o) {
    int r = 0;
    c->o = *o;
    c->o.dir = str_dup(o->dir, &r);
    c->o.name = str_dup(o->name, &r);
    c->o.listen = str_dup(o->listen ? o->listen : "", &r);
    return r;
}

int control_new(struct loop *l, const struct control_options *o, struct control **ret) {
    struct sockaddr_storage a;
    socklen_t len;
    if (o->listen && o->listen[0] && control_socket_parse(o->listen, &a, &len) < 0)
        return -EINVAL;
    struct control *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->loop = l;
    c->local = (struct listener){.control = c, .fd = -EBADF};
    c->http = (struct listener){.control = c, .fd = -EBADF, .http = true};
    int r = copy_options(c, o);
    if (r == 0)
        r = loop_timer_new(l, on_timer, &c->local, &c->local.timer);
    if (r == 0)
        r = loop_timer_new(l, on_timer, &c->http, &c->http.timer);
    if (r < 0) {
        control_free(c);
        return r;
    }
    listener_open(&c->local);
    if (c->o.listen[0])
        listener_open(&c->http);
    *ret = c;
    return 0;
}

const char *control_path(const struct control *c) {
    return c->address.sun_path;
}

unsigned control_port(const struct control *c) {
    return c->port;
}

void control_unlink(struct control *c) {
    int keep = errno;
    if (c && atomic_exchange(&c->bound, false))
        unlink(c->address.sun_path);
    errno = keep;
}

void control_free(struct control *c) {
    if (!c)
        return;
    control_unlink(c);
    while (c->conns)
        conn_free(c->conns);
    loop_watch_del(c->local.watch);
    loop_watch_del(c->http.watch);
    loop_timer_del(c->local.timer);
    loop_timer_del(c->http.timer);
    fd_close(c->local.fd);
    fd_close(c->http.fd);
    free((char *)c->o.dir);
    free((char *)c->o.name);
    free((char *)c->o.listen);
    free(c);
}
