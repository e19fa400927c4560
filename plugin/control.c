#include "plugin/control.h"

#include "paddock/clock.h"
#include "paddock/parse.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define CONNS_MAX 16u
#define REQUEST_MAX 4096u
#define CONN_LIMIT_US (5 * US_PER_SEC)
#define ACCEPT_REST_US US_PER_SEC /* when no fd was free */

struct listener {
    struct control *control;
    int fd;
    bool http;
    struct loop_watch *watch;
    struct loop_timer *rest;
    unsigned conns_n;
};

struct conn {
    struct listener *from;
    int fd;
    struct loop_watch *watch;
    struct loop_timer *limit;
    char in[REQUEST_MAX];
    size_t in_len;
    char *out;
    size_t out_len, out_at;
    struct conn *next;
};

struct control {
    struct loop *loop;
    struct control_options o;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    bool bound;
    unsigned port;
    struct listener local, http;
    struct conn *conns;
};

/* ---- accepting or not: a client that cannot be taken now would be told again and again ---- */

static void listener_go_on(void *ctx) {
    struct listener *l = ctx;
    if (loop_watch_set(l->watch, EPOLLIN) < 0)
        loop_timer_at(l->rest, clock_now_us() + ACCEPT_REST_US);
}

/* @us 0: until a connection has gone. */
static void listener_rest(struct listener *l, uint64_t us) {
    if (loop_watch_set(l->watch, 0) == 0 && us > 0)
        loop_timer_at(l->rest, clock_now_us() + us);
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

/* Takes @text. */
static void conn_answer(struct conn *c, char *text) {
    if (!text) {
        conn_free(c);
        return;
    }
    c->out = text;
    c->out_len = strlen(text);
    conn_write(c);
}

static char *answer_local(const struct control *k, const char *what) {
    json_t *doc = NULL;
    if (what[0] == '\0' || strcmp(what, "status") == 0) {
        doc = k->o.status(k->o.ctx);
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

static char *http_reply(const char *status, const char *body) {
    char *out = NULL;
    if (asprintf(&out,
                 "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                 "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                 status, strlen(body), body) < 0)
        return NULL;
    return out;
}

static char *answer_http(const struct control *k, const char *request) {
    if (strncmp(request, "GET ", 4) != 0)
        return http_reply("405 Method Not Allowed", "GET /metrics\n");
    if (strncmp(request + 4, "/metrics ", 9) != 0)
        return http_reply("404 Not Found", "GET /metrics\n");
    AUTO_FREE char *text = k->o.metrics(k->o.ctx);
    return text ? http_reply("200 OK", text) : NULL;
}

/* The request is whole: a line, the blank line of HTTP, or the end of the client's side. */
static bool is_whole(const struct conn *c, bool ended) {
    return ended || strstr(c->in, c->from->http ? "\r\n\r\n" : "\n");
}

static void on_conn(void *ctx, uint32_t events) {
    struct conn *c = ctx;
    if (c->out) {
        conn_write(c);
        return;
    }
    (void)events;
    ssize_t n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - 1 - c->in_len, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n < 0) {
        conn_free(c);
        return;
    }
    c->in_len += (size_t)n;
    c->in[c->in_len] = '\0';
    if (is_whole(c, n == 0)) {
        const struct control *k = c->from->control;
        if (!c->from->http)
            c->in[strcspn(c->in, "\r\n")] = '\0';
        conn_answer(c, c->from->http ? answer_http(k, c->in) : answer_local(k, c->in));
    } else if (c->in_len == sizeof(c->in) - 1) {
        conn_free(c);
    }
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

/* ---- the unix socket ---- */

static bool is_alive(const struct sockaddr_un *a) {
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return true; /* not known: leave it */
    return connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 || errno == EAGAIN;
}

static int set_path(const char *dir, const char *file, struct sockaddr_un *ret) {
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/%s", dir, file);
    return n < 0 || (size_t)n >= sizeof(ret->sun_path) ? -ENAMETOOLONG : 0;
}

/* What plugins left that were killed. */
static void remove_dead(const char *dir, const char *name) {
    char prefix[256];
    int len = snprintf(prefix, sizeof(prefix), "control-%s", name);
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && len > 0 && (e = readdir(d))) {
        struct sockaddr_un a;
        const char *rest = e->d_name + len;
        if (strncmp(e->d_name, prefix, (size_t)len) == 0 && (*rest == '.' || *rest == '-') &&
            set_path(dir, e->d_name, &a) == 0 && !is_alive(&a))
            unlink(a.sun_path);
    }
    if (d)
        closedir(d);
}

static int bind_to(int fd, const char *dir, const char *file, struct sockaddr_un *ret) {
    int r = set_path(dir, file, ret);
    if (r < 0)
        return r;
    /* On the fd: between bind and a chmod of the path others could connect. */
    if (fchmod(fd, 0600) < 0)
        return -errno;
    return bind(fd, (const struct sockaddr *)ret, sizeof(*ret)) < 0 ? -errno : 0;
}

static int open_local(struct control *c) {
    char file[128];
    struct sockaddr_un a;
    const char *dir = c->o.dir, *name = c->o.name;
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return -errno;
    remove_dead(dir, name);
    c->local.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->local.fd < 0)
        return -errno;
    snprintf(file, sizeof(file), "control-%s.sock", name);
    int r = bind_to(c->local.fd, dir, file, &a);
    if (r == -EADDRINUSE) {
        snprintf(file, sizeof(file), "control-%s-%d.sock", name, (int)getpid());
        r = bind_to(c->local.fd, dir, file, &a);
    }
    if (r < 0)
        return r;
    snprintf(c->path, sizeof(c->path), "%s", a.sun_path);
    c->bound = true;
    return chmod(c->path, 0600) < 0 || listen(c->local.fd, CONNS_MAX) < 0 ? -errno : 0;
}

/* ---- the port ---- */

static int parse_listen(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len) {
    char host[64];
    uint64_t port;
    const char *colon = strrchr(text, ':');
    if (!colon || parse_u64(colon + 1, 65535, &port) < 0)
        return -EINVAL;
    bool v6 = text[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof(host), "%.*s", (int)(colon - text) - (v6 ? 2 : 0), text + v6);
    if (strcmp(host, "localhost") == 0)
        snprintf(host, sizeof(host), "127.0.0.1");
    *ret = (struct sockaddr_storage){0};
    struct sockaddr_in *in = (void *)ret;
    struct sockaddr_in6 *in6 = (void *)ret;
    if (v6) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        *ret_len = sizeof(*in6);
        return inet_pton(AF_INET6, host, &in6->sin6_addr) == 1 ? 0 : -EINVAL;
    }
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)port);
    *ret_len = sizeof(*in);
    return inet_pton(AF_INET, host, &in->sin_addr) == 1 ? 0 : -EINVAL;
}

static int open_http(struct control *c) {
    struct sockaddr_storage a;
    socklen_t len;
    int one = 1, r = parse_listen(c->o.listen, &a, &len);
    if (r < 0)
        return r;
    c->http.fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->http.fd < 0)
        return -errno;
    if (setsockopt(c->http.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(c->http.fd, (const struct sockaddr *)&a, len) < 0 ||
        listen(c->http.fd, CONNS_MAX) < 0 ||
        getsockname(c->http.fd, (struct sockaddr *)&a, &len) < 0)
        return -errno;
    c->port = ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                            : ((struct sockaddr_in *)&a)->sin_port);
    return 0;
}

/* ---- life ---- */

static int watch_listener(struct control *c, struct listener *l) {
    int r = loop_timer_new(c->loop, listener_go_on, l, &l->rest);
    return r < 0 ? r : loop_watch_add(c->loop, l->fd, EPOLLIN, on_listener, l, &l->watch);
}

int control_new(struct loop *l, const struct control_options *o, struct control **ret) {
    struct control *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->loop = l;
    c->o = *o;
    c->local = (struct listener){.control = c, .fd = -EBADF};
    c->http = (struct listener){.control = c, .fd = -EBADF, .http = true};
    int r = open_local(c);
    if (r == 0)
        r = watch_listener(c, &c->local);
    if (r == 0 && o->listen && o->listen[0]) {
        r = open_http(c);
        if (r == 0)
            r = watch_listener(c, &c->http);
    }
    c->o.dir = c->o.name = c->o.listen = NULL; /* the caller's, for this call */
    if (r < 0) {
        control_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

const char *control_path(const struct control *c) {
    return c->path;
}

unsigned control_port(const struct control *c) {
    return c->port;
}

void control_unlink(const struct control *c) {
    int keep = errno;
    if (c && c->bound)
        unlink(c->path);
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
    loop_timer_del(c->local.rest);
    loop_timer_del(c->http.rest);
    fd_close(c->local.fd);
    fd_close(c->http.fd);
    free(c);
}
