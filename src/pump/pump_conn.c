/* SPDX-License-Identifier: MPL-2.0 */
/* Reads the plugin's requests and answers them. pump_main.c creates it.
 *
 * The answer to a request about a task comes from pump_entry.c, possibly later. A `watch`
 * connection stays open and carries reports. Nothing here blocks: bytes that a socket does not take
 * wait in the connection's buffer. */
#include "src/pump/pump_conn.h"

#include "paddock/buf.h"
#include "paddock/clock.h"
#include "paddock/log.h"

#include "src/pump/pump_proto.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ACCEPT_REST_US (100 * US_PER_MS) /* pause of the listener when no descriptor was free */
#define REPORTS_MAX 64
#define OUT_MAX (4u << 20)

struct conn {
    struct pump_conns *all;
    struct pump_waiter waiter;
    int fd;
    int passed_fd; /* the descriptor that came with the request; -EBADF: none */
    struct loop_watch *watch;
    char line[PUMP_LINE_MAX];
    size_t len;
    struct buf out; /* bytes that the socket did not take */
    bool asked, watches, answered;
    struct conn *next;
};

struct pump_conns {
    struct pump_conns_options o;
    int fd;
    struct loop_watch *watch;
    struct loop_timer *accept_again;
    struct conn *first;
    json_t *reports; /* reports that no plugin has received */
};

/* Closes the connection @c and releases it. */
static void conn_free(struct conn *c) {
    struct pump_conns *s = c->all;
    struct conn **at = &s->first;
    while (*at && *at != c)
        at = &(*at)->next;
    if (*at)
        *at = c->next;
    pump_entry_waiter_leave(&c->waiter);
    loop_watch_del(c->watch);
    fd_close(c->fd);
    fd_close(c->passed_fd);
    buf_done(&c->out);
    free(c);
    s->o.changed(s->o.ctx);
}

/* ---- answers ---- */

/* Sends the buffered bytes. Closes the connection when it is answered and all is sent. May
 * free @c. */
static void conn_flush(struct conn *c) {
    while (c->out.len > 0) {
        ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN && loop_watch_set(c->watch, EPOLLIN | EPOLLOUT) == 0)
            return;
        if (n <= 0)
            break;
        buf_consume(&c->out, (size_t)n);
    }
    if (c->answered || c->out.len > 0)
        conn_free(c);
    else if (loop_watch_set(c->watch, EPOLLIN) < 0)
        log_debug("logpump", NULL, "a connection is still watched for writing");
}

/* Appends @doc to the connection's buffer. Takes ownership of @doc. Returns false when out of
 * memory, or when the plugin does not read and the buffer is full. */
static bool conn_put(struct conn *c, json_t *doc) {
    AUTO_FREE char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
    json_decref(doc);
    return text && buf_printf(&c->out, "%s\n", text) == 0;
}

/* Sends the answer @doc and ends the connection. Takes ownership of @doc. May free @c. */
static void conn_answer(struct conn *c, json_t *doc) {
    c->answered = true;
    if (conn_put(c, doc))
        conn_flush(c);
    else
        conn_free(c);
}

static void send_answer(struct conn *c, int r, const char *text) {
    conn_answer(c, r < 0  ? json_pack("{s:i,s:s}", "errno", -r, "error", text)
                   : text ? json_pack("{s:b,s:s}", "ok", true, "note", text)
                          : json_pack("{s:b}", "ok", true));
}

static struct conn *conn_of(struct pump_waiter *w) {
    return (struct conn *)(void *)((char *)w - offsetof(struct conn, waiter));
}

static void on_answer(struct pump_waiter *w, int r, const char *text) {
    send_answer(conn_of(w), r, text);
}

static void on_moves(struct pump_waiter *w) {
    if (send(conn_of(w)->fd, &(char){PUMP_MOVES}, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_debug("logpump", LOG_KV("errno", strerror(errno)), "no client waits any more");
}

/* ---- reports ---- */

/* Uses @fd as our stderr, so that this plugin passes our log lines on. */
static void take_stderr(int fd) {
    if (fd >= 0 && (dup2(fd, STDERR_FILENO) < 0 || log_never_wait() < 0))
        log_debug("logpump", LOG_KV("errno", strerror(errno)), "log lines may not arrive");
}

static void do_watch(struct conn *c) {
    struct pump_conns *s = c->all;
    size_t i;
    json_t *report;
    c->watches = true;
    take_stderr(c->passed_fd);
    c->passed_fd = fd_close(c->passed_fd);
    json_array_foreach(s->reports, i, report) if (!conn_put(c, json_incref(report)))
        log_debug("logpump", NULL, "out of memory: a report is lost");
    json_array_clear(s->reports);
    conn_flush(c);
}

void pump_conns_report(struct pump_conns *s, const char *task_id, const char *text) {
    json_t *report = json_pack("{s:s,s:s}", "task", task_id, "text", text);
    bool heard = false;
    for (struct conn *c = s->first, *next; c; c = next) {
        next = c->next;
        if (!c->watches)
            continue;
        heard = true;
        if (conn_put(c, json_incref(report)))
            conn_flush(c);
        else
            conn_free(c);
    }
    if (!heard && json_array_size(s->reports) >= REPORTS_MAX)
        json_array_remove(s->reports, 0);
    if (!heard)
        json_array_append(s->reports, report);
    json_decref(report);
}

/* ---- requests ---- */

static json_t *status_json(const struct pump_conns *s) {
    json_t *doc = json_copy((json_t *)s->o.hello);
    json_object_set_new(doc, "tasks", pump_entries_status(s->o.entries));
    return doc;
}

static void serve_request(struct conn *c) {
    struct pump_entries *entries = c->all->o.entries;
    AUTO_JSON json_t *rq = json_loadb(c->line, c->len, 0, NULL);
    const char *op = json_string_value(json_object_get(rq, "op"));
    const char *task = json_string_value(json_object_get(rq, "task"));
    c->asked = true;
    if (!op) {
        send_answer(c, -EINVAL, "no request");
    } else if (strcmp(op, "hello") == 0) {
        conn_answer(c, json_incref((json_t *)c->all->o.hello));
    } else if (strcmp(op, "status") == 0) {
        conn_answer(c, status_json(c->all));
    } else if (strcmp(op, "watch") == 0) {
        do_watch(c);
    } else if (!task) {
        send_answer(c, -EINVAL, "unknown op, or no task");
    } else if (strcmp(op, "carry") == 0) {
        pump_entries_carry(entries, rq, &c->waiter);
    } else if (strcmp(op, "finish") == 0) {
        pump_entries_finish(entries, task, &c->waiter);
    } else if (strcmp(op, "close") == 0) {
        pump_entries_close(entries, task);
        send_answer(c, 0, NULL);
    } else {
        send_answer(c, -EINVAL, "unknown op");
    }
}

static ssize_t receive_request(struct conn *c) {
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = c->line + c->len, .iov_len = sizeof(c->line) - c->len};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *passed = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (passed && passed->cmsg_level == SOL_SOCKET && passed->cmsg_type == SCM_RIGHTS) {
        fd_close(c->passed_fd);
        memcpy(&c->passed_fd, CMSG_DATA(passed), sizeof(c->passed_fd));
    }
    return n;
}

static void on_conn(void *arg, uint32_t events) {
    struct conn *c = arg;
    if (events & EPOLLOUT) {
        conn_flush(c);
        return;
    }
    ssize_t n = receive_request(c);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || c->asked) {
        conn_free(c);
        return;
    }
    c->len += (size_t)n;
    if (memchr(c->line, '\n', c->len))
        serve_request(c);
    else if (c->len == sizeof(c->line))
        send_answer(c, -EMSGSIZE, "request too long");
}

/* ---- listening ---- */

/* A descriptor may be free now: listens again. */
static void on_accept_again(void *arg) {
    struct pump_conns *s = arg;
    if (loop_watch_set(s->watch, EPOLLIN) < 0)
        loop_timer_at(s->accept_again, clock_now_us() + ACCEPT_REST_US);
}

static void on_listen(void *arg, uint32_t events) {
    struct pump_conns *s = arg;
    (void)events;
    AUTO_FD int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    /* A connection that cannot be accepted now stays pending, and epoll would report it over and
     * over. So the listener is disabled for ACCEPT_REST_US. */
    if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED && loop_watch_set(s->watch, 0) == 0)
        loop_timer_at(s->accept_again, clock_now_us() + ACCEPT_REST_US);
    struct conn *c = fd < 0 ? NULL : calloc(1, sizeof(*c));
    if (!c)
        return;
    *c = (struct conn){.all = s,
                       .fd = fd,
                       .passed_fd = -EBADF,
                       .waiter = {.answer = on_answer, .moves = on_moves}};
    buf_init(&c->out, OUT_MAX);
    if (loop_watch_add(s->o.loop, fd, EPOLLIN, on_conn, c, &c->watch) < 0) {
        free(c);
        return;
    }
    fd = -EBADF;
    c->next = s->first;
    s->first = c;
    s->o.changed(s->o.ctx);
}

/* Binds the socket under another name, listens, and then renames it. So a plugin that can connect
 * finds a pump that listens. */
static int bind_at(const char *dir, int fd) {
    struct sockaddr_un addr = {.sun_family = AF_UNIX}, place = {.sun_family = AF_UNIX};
    int n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s.new", dir, PUMP_SOCKET);
    if (n < 0 || (size_t)n >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    snprintf(place.sun_path, sizeof(place.sun_path), "%s/%s", dir, PUMP_SOCKET);
    unlink(addr.sun_path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 128) < 0 ||
        rename(addr.sun_path, place.sun_path) < 0)
        return -errno;
    return 0;
}

int pump_conns_listen(struct pump_conns *s) {
    struct loop_watch *watch = NULL;
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r = bind_at(s->o.dir, fd);
    if (r == 0)
        r = loop_watch_add(s->o.loop, fd, EPOLLIN, on_listen, s, &watch);
    if (r < 0)
        return r;
    loop_watch_del(s->watch);
    fd_close(s->fd);
    s->watch = watch;
    s->fd = TAKE_FD(fd);
    return 0;
}

bool pump_conns_any(const struct pump_conns *s) {
    return s->first != NULL;
}

int pump_conns_new(const struct pump_conns_options *o, struct pump_conns **ret) {
    struct pump_conns *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    *s = (struct pump_conns){.o = *o, .fd = -EBADF, .reports = json_array()};
    int r = s->reports ? loop_timer_new(o->loop, on_accept_again, s, &s->accept_again) : -ENOMEM;
    if (r == 0)
        r = pump_conns_listen(s);
    if (r < 0)
        pump_conns_free(TAKE_PTR(s));
    *ret = s;
    return r;
}

void pump_conns_free(struct pump_conns *s) {
    if (!s)
        return;
    while (s->first)
        conn_free(s->first);
    loop_watch_del(s->watch);
    loop_timer_del(s->accept_again);
    fd_close(s->fd);
    json_decref(s->reports);
    free(s);
}
