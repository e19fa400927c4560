/* The pump's socket: a connection carries one request, then waits for its answer or its end. */
#include "pump_priv.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include "pump_proto.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ACCEPT_REST_US (100 * US_PER_MS) /* when no fd was free */
#define BEAT_US (1 * US_PER_SEC)         /* well below the patience of who waits for a task's end */

/* A connection: its request, then waiting for its answer or its end. */
struct conn {
    struct pump *pump;
    int fd;
    struct loop_watch *watch;
    char line[PUMP_LINE_MAX];
    size_t len;
    bool asked;
    struct entry *waits_open, *waits_drained;
    struct conn *next;
};

void pump_conn_free(struct conn *c) {
    for (struct conn **at = &c->pump->conns; *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    loop_watch_del(c->watch);
    fd_close(c->fd);
    pump_idle_check(c->pump);
    free(c);
}

/* Answers and ends the connection. @text: the error's; of a success a note, or NULL. */
static void answer(struct conn *c, int r, const char *text) {
    char line[512];
    int n = r < 0  ? snprintf(line, sizeof(line), "{\"errno\":%d,\"error\":\"%s\"}\n", -r, text)
            : text ? snprintf(line, sizeof(line), "{\"ok\":true,\"note\":\"%s\"}\n", text)
                   : snprintf(line, sizeof(line), "{\"ok\":true}\n");
    /* A few bytes into an empty socket: taken, or nobody is there. */
    if (send(c->fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_debug("logpump", LOG_KV("errno", strerror(errno)), "nobody reads the answer");
    pump_conn_free(c);
}

static void answer_opened(struct conn *c, const struct entry *e) {
    int r = e->open_r;
    answer(c, r,
           r == -ENOSYS ? "the container's log driver cannot be read"
           : r < 0      ? strerror(-r)
                        : e->note);
}

void pump_conn_answer(struct entry *e) {
    for (struct conn *c = e->pump->conns, *next; c; c = next) {
        next = c->next;
        if (c->waits_open == e && e->opened)
            answer_opened(c, e);
        else if (c->waits_drained == e && e->drained)
            answer(c, 0, NULL);
    }
}

void pump_conn_answer_gone(struct entry *e) {
    struct pump *p = e->pump;
    for (struct conn *c = p->conns, *next; c; c = next) {
        next = c->next;
        if (c->waits_open == e || c->waits_drained == e)
            answer(c, 0, NULL);
    }
}

/* ---- requests ---- */

static void do_follow(struct conn *c, const json_t *rq, bool prepare) {
    struct pump *p = c->pump;
    const char *task = json_string_value(json_object_get(rq, "task"));
    const char *id = json_string_value(json_object_get(rq, "container"));
    if (!task || !pump_entry_is_id(id)) {
        answer(c, -EINVAL, "task or container is not valid");
        return;
    }
    struct entry *e = pump_entry_find(p, task);
    if (e && strcmp(pump_task_record(e->task)->container_id, id) != 0) {
        pump_entry_forget(e, false); /* the task's earlier container: it was replaced */
        e = NULL;
    }
    int r = e ? pump_task_reopen(e->task) : pump_entry_prepare(p, id, rq, &e);
    if (r == 0 && !prepare)
        pump_task_begin(e->task);
    if (r < 0)
        answer(c, r, strerror(-r));
    else if (prepare || e->opened)
        answer_opened(c, e);
    else
        c->waits_open = e;
}

void pump_conn_beat(void *arg) {
    struct pump *p = arg;
    bool any = false;
    for (struct entry *e = p->entries; e; e = e->next)
        e->moves = !e->drained && pump_task_moves(e->task);
    for (const struct conn *c = p->conns; c; c = c->next) {
        any = any || c->waits_drained;
        if (c->waits_drained && c->waits_drained->moves &&
            send(c->fd, &(char){PUMP_MOVES}, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            log_debug("logpump", LOG_KV("errno", strerror(errno)), "nobody waits any more");
    }
    if (any)
        loop_timer_at(p->beat, clock_now_us() + BEAT_US);
}

static void do_task(struct conn *c, const char *op, const json_t *rq) {
    const char *task = json_string_value(json_object_get(rq, "task"));
    struct entry *e = task ? pump_entry_find(c->pump, task) : NULL;
    if (e && strcmp(op, "begin") == 0)
        pump_task_begin(e->task);
    if (!e || strcmp(op, "begin") == 0) {
        answer(c, 0, NULL);
    } else if (strcmp(op, "close") == 0) {
        c->waits_drained = e;
        pump_entry_forget(e, true); /* answers too */
    } else {
        c->waits_drained = e;
        loop_timer_at(c->pump->beat, clock_now_us() + BEAT_US);
        pump_task_finish(e->task);
    }
}

static void serve(struct conn *c) {
    c->asked = true;
    json_t *rq = json_loadb(c->line, c->len, 0, NULL);
    const char *op = json_string_value(json_object_get(rq, "op"));
    if (!op)
        answer(c, -EINVAL, "no request");
    else if (strcmp(op, "follow") == 0 || strcmp(op, "prepare") == 0)
        do_follow(c, rq, op[0] == 'p');
    else if (strcmp(op, "begin") == 0 || strcmp(op, "finish") == 0 || strcmp(op, "close") == 0)
        do_task(c, op, rq);
    else if (strcmp(op, "watch") != 0)
        answer(c, -EINVAL, "unknown op");
    json_decref(rq);
}

static void on_conn(void *arg, uint32_t events) {
    struct conn *c = arg;
    (void)events;
    ssize_t n = recv(c->fd, c->line + c->len, sizeof(c->line) - c->len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || c->asked) {
        pump_conn_free(c);
        return;
    }
    c->len += (size_t)n;
    if (memchr(c->line, '\n', c->len))
        serve(c);
    else if (c->len == sizeof(c->line))
        answer(c, -EMSGSIZE, "request too long");
}

void pump_conn_go_on(void *arg) {
    struct pump *p = arg;
    if (loop_watch_set(p->listen_watch, EPOLLIN) < 0)
        loop_timer_at(p->accept_again, clock_now_us() + ACCEPT_REST_US);
}

static void on_listen(void *arg, uint32_t events) {
    struct pump *p = arg;
    (void)events;
    AUTO_FD int fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    /* One that cannot be taken now stays pending, and would be told again and again. */
    if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED &&
        loop_watch_set(p->listen_watch, 0) == 0)
        loop_timer_at(p->accept_again, clock_now_us() + ACCEPT_REST_US);
    struct conn *c = fd < 0 ? NULL : calloc(1, sizeof(*c));
    if (!c)
        return;
    *c = (struct conn){.pump = p, .fd = fd};
    if (loop_watch_add(p->loop, fd, EPOLLIN, on_conn, c, &c->watch) < 0) {
        free(c);
        return;
    }
    fd = -EBADF;
    c->next = p->conns;
    p->conns = c;
    pump_idle_check(p);
}

/* Bound beside its place and moved there: a plugin that connects finds a pump that listens. */
int pump_conn_listen(struct pump *p) {
    const char *dir = p->dir.path;
    struct sockaddr_un addr = {.sun_family = AF_UNIX}, place = {.sun_family = AF_UNIX};
    int n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s.new", dir, PUMP_SOCKET);
    if (n < 0 || (size_t)n >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    snprintf(place.sun_path, sizeof(place.sun_path), "%s/%s", dir, PUMP_SOCKET);
    unlink(addr.sun_path);
    p->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->listen_fd < 0 || bind(p->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        listen(p->listen_fd, 128) < 0 || rename(addr.sun_path, place.sun_path) < 0)
        return -errno;
    return loop_watch_add(p->loop, p->listen_fd, EPOLLIN, on_listen, p, &p->listen_watch);
}
