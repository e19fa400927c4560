/* SPDX-License-Identifier: MPL-2.0 */
/* Reads the rest of a body whose end is the end of the connection.
 *
 * docker_multi.c hands a log stream over to it when curl has read the head of the answer. Nothing
 * in such a body needs curl, and curl's memory for a connection is 27 KiB (7.88). A tail needs less
 * than 1 KiB, and reads into a buffer on the stack. */
#include "src/docker/docker_tail.h"
#include "src/docker/docker_priv.h"
#include "paddock/docker_multi.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct docker_tail {
    struct docker_socks *socks;
    struct docker_sock *sock; /* NULL while a piece is refused: epoll would report a hang-up again
                                 and again */
    int fd;
    const struct docker_tail_ops *ops;
    void *ctx;
    struct buf refused;
};

/* Keeps a refused piece. @t may be freed when it returns. */
static void tail_keep(struct docker_tail *t, const char *data, size_t len) {
    docker_sock_free(TAKE_PTR(t->sock));
    if (buf_append(&t->refused, data, len) < 0)
        t->ops->end(t->ctx, -ENOMEM);
}

static void on_ready(void *ctx, int fd, uint32_t events) {
    struct docker_tail *t = ctx;
    char piece[DOCKER_RECEIVE_BYTES];
    (void)events;
    ssize_t n;
    do
        n = recv(fd, piece, sizeof(piece), MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        t->ops->end(t->ctx, n < 0 ? -errno : 0);
    else if (t->ops->data(t->ctx, piece, (size_t)n) == DOCKER_GET_PAUSE)
        tail_keep(t, piece, (size_t)n);
}

static int tail_watch(struct docker_tail *t) {
    return docker_sock_new(t->socks, t->fd, EPOLLIN, on_ready, t, &t->sock);
}

void docker_tail_resume(struct docker_tail *t) {
    if (t->refused.len == 0)
        return;
    struct buf piece = t->refused; /* data() may free the tail */
    buf_init(&t->refused, (size_t)DOCKER_RECEIVE_BYTES);
    int r = t->ops->data(t->ctx, piece.data, piece.len);
    if (r == DOCKER_GET_PAUSE) {
        t->refused = piece;
        return;
    }
    buf_done(&piece);
    if (r == 0 && (r = tail_watch(t)) < 0)
        t->ops->end(t->ctx, r);
}

int docker_tail_new(struct docker_socks *socks, int fd, const struct docker_tail_ops *ops,
                    void *ctx, struct docker_tail **ret) {
    struct docker_tail *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    *t = (struct docker_tail){.socks = socks, .ops = ops, .ctx = ctx};
    buf_init(&t->refused, (size_t)DOCKER_RECEIVE_BYTES);
    t->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    int r = t->fd < 0 ? -errno : tail_watch(t);
    if (r < 0) {
        docker_tail_free(t);
        return r;
    }
    *ret = t;
    return 0;
}

void docker_tail_free(struct docker_tail *t) {
    if (!t)
        return;
    docker_sock_free(t->sock);
    if (t->fd >= 0)
        close(t->fd);
    buf_done(&t->refused);
    free(t);
}
