/* SPDX-License-Identifier: MPL-2.0 */
/* The plugin's end of a connection to the pump. logs_process.c (hello), logs_watch.c (watch),
 * logs_status.c (status) and logpump.c (all other requests) use it.
 *
 * No function blocks longer than its caller's deadline. While a request to finish a task is
 * unanswered, the pump sends PUMP_MOVES bytes before the answer; they are skipped here. */
#include "src/logs/logs_socket.h"

#include "paddock/buf.h"
#include "paddock/clock.h"

#include "src/pump/pump_proto.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ANSWER_MAX (4u << 20) /* bytes; `status` of some thousand tasks fits */

int logs_socket_connect(const char *run_dir, uint64_t limit_us) {
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", run_dir, PUMP_SOCKET);
    if (n < 0 || (size_t)n >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    /* A pump that does not accept must not block the caller. connect() obeys the send timeout. */
    struct timeval limit = {.tv_sec = (time_t)(limit_us / US_PER_SEC),
                            .tv_usec = (suseconds_t)(limit_us % US_PER_SEC)};
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
        connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return -errno;
    return TAKE_FD(fd);
}

pid_t logs_socket_pid(int fd) {
    struct ucred who;
    socklen_t len = sizeof(who);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 ? who.pid : 0;
}

static void attach_fd(struct msghdr *m, void *control, size_t size, int fd) {
    m->msg_control = control;
    m->msg_controllen = size;
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
}

int logs_socket_send(int fd, const json_t *rq, int pass_fd) {
    AUTO_FREE char *text = json_dumps(rq, JSON_COMPACT);
    size_t len = text ? strlen(text) : 0;
    if (!text)
        return -ENOMEM;
    text[len] = '\n';
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec line = {.iov_base = text, .iov_len = len + 1};
    struct msghdr m = {.msg_iov = &line, .msg_iovlen = 1};
    if (pass_fd >= 0)
        attach_fd(&m, control.bytes, sizeof(control.bytes), pass_fd);
    return sendmsg(fd, &m, MSG_NOSIGNAL) == (ssize_t)len + 1 ? 0 : -EPIPE;
}

void logs_socket_answer_init(struct logs_answer *a) {
    *a = (struct logs_answer){.moved = false};
    buf_init(&a->line, ANSWER_MAX);
}

void logs_socket_answer_done(struct logs_answer *a) {
    buf_done(&a->line);
}

/* Appends @n bytes to the answer, without the PUMP_MOVES before it. */
static int answer_take(struct logs_answer *a, const char *part, size_t n, struct err *err) {
    size_t moves = 0;
    a->moved = true;
    while (a->line.len == 0 && moves < n && part[moves] == PUMP_MOVES)
        moves++;
    return buf_append(&a->line, part + moves, n - moves) < 0
               ? err_set(err, ERR_PLAIN, EPROTO, "the log pump's answer is too long")
               : 0;
}

int logs_socket_answer_read(struct logs_answer *a, int fd, json_t **ret, struct err *err) {
    char part[4096];
    while (!memchr(buf_text(&a->line), '\n', a->line.len)) {
        ssize_t n = recv(fd, part, sizeof(part), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 1;
        if (n <= 0)
            return -EPIPE;
        int r = answer_take(a, part, (size_t)n, err);
        if (r < 0)
            return r;
    }
    *ret = json_loadb(a->line.data, a->line.len, 0, NULL);
    return *ret ? 0 : err_set(err, ERR_PLAIN, EPROTO, "the log pump's answer is not valid");
}

static void answer_donep(struct logs_answer *a) {
    logs_socket_answer_done(a);
}

int logs_socket_read(int fd, const struct call *call, uint64_t quiet_us, json_t **ret,
                     struct err *err) {
    __attribute__((cleanup(answer_donep))) struct logs_answer a;
    struct call within = quiet_us ? call_within(call, quiet_us) : *call;
    logs_socket_answer_init(&a);
    for (;;) {
        int r = call_wait_fd(&within, fd, POLLIN);
        if (r == -ETIMEDOUT)
            return err_set(err, ERR_DEADLINE, ETIMEDOUT, "the log pump did not answer in time");
        if (r < 0)
            return err_set(err, ERR_PLAIN, -r, "the log pump: %s", strerror(-r));
        a.moved = false;
        r = logs_socket_answer_read(&a, fd, ret, err);
        if (r <= 0)
            return r;
        if (quiet_us && a.moved)
            within = call_within(call, quiet_us);
    }
}
