/* SPDX-License-Identifier: MPL-2.0 */
/* Delivery to one FIFO of a task: gathers output, writes what the FIFO is sure to take, and stores
 * the position before each write. Both log readers (pump_file.c and pump_api.c) call it.
 *
 * The pump is the FIFO's only writer. So room that was seen cannot disappear before the write. */
#include "src/pump/pump_out.h"

#include "paddock/logpump.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

void pump_out_init(struct pump_out *o, struct loop *loop, struct pump_record *record, int stream,
                   loop_cb on_room, void *ctx) {
    *o = (struct pump_out){.loop = loop,
                           .record = record,
                           .stream = stream,
                           .on_room = on_room,
                           .ctx = ctx,
                           .fd = -EBADF};
}

void pump_out_done(struct pump_out *o) {
    o->watch = loop_watch_del(o->watch);
    o->fd = fd_close(o->fd);
    pump_out_drop(o);
}

void pump_out_drop(struct pump_out *o) {
    cleanup_free(&o->chunk);
    o->chunk = NULL;
    o->len = 0;
}

static bool is_same_file(int a, int b) {
    struct stat x, y;
    return a >= 0 && b >= 0 && fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino == y.st_ino &&
           x.st_dev == y.st_dev;
}

int pump_out_open(struct pump_out *o) {
    AUTO_FD int fd = -EBADF;
    int r = pump_fifo_open(o->record->path[o->stream], &fd);
    if (r < 0 || fd < 0 || is_same_file(fd, o->fd))
        return r;
    o->watch = loop_watch_del(o->watch);
    o->blocked = false;
    fd_close(o->fd);
    o->fd = TAKE_FD(fd);
    return 0;
}

/* ---- gathering ---- */

size_t pump_out_room(const struct pump_out *o) {
    return o->len == PUMP_OUT_MAX ? 0 : PUMP_OUT_BLOCK - o->len % PUMP_OUT_BLOCK;
}

int pump_out_add(struct pump_out *o, const char *data, size_t len,
                 const struct pump_position *after) {
    if (!o->chunk && !(o->chunk = malloc(PUMP_OUT_MAX)))
        return -ENOMEM;
    o->after[o->len / PUMP_OUT_BLOCK] = *after; /* no piece crosses a block's end */
    memcpy(o->chunk + o->len, data, len);
    o->len += len;
    return 0;
}

/* ---- writing ---- */

static void on_writable(void *arg, uint32_t events) {
    struct pump_out *o = arg;
    (void)events;
    o->blocked = false;
    o->watch = loop_watch_del(o->watch);
    o->on_room(o->ctx);
}

static void set_blocked(struct pump_out *o) {
    o->blocked = true;
    if (!o->watch && loop_watch_add(o->loop, o->fd, EPOLLOUT, on_writable, o, &o->watch) < 0)
        o->watch = NULL; /* out of memory: the owner's timer tries again */
}

/* Returns how many bytes a write is sure to take now; 0 when the FIFO is full. */
static size_t sure_bytes(const struct pump_out *o) {
    int unread = 1;
    if (o->len > PUMP_OUT_BLOCK && ioctl(o->fd, FIONREAD, &unread) == 0 && unread == 0 &&
        fcntl(o->fd, F_GETPIPE_SZ) >= (int)PUMP_OUT_MAX)
        return o->len;
    struct pollfd p = {.fd = o->fd, .events = POLLOUT};
    if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLOUT))
        return 0;
    return o->len < PUMP_OUT_BLOCK ? o->len : PUMP_OUT_BLOCK;
}

/* Removes the first @n bytes (whole blocks, or all), which are written. */
static void drop_written(struct pump_out *o, size_t n) {
    size_t blocks = (n + PUMP_OUT_BLOCK - 1) / PUMP_OUT_BLOCK;
    o->len -= n;
    memmove(o->chunk, o->chunk + n, o->len);
    memmove(o->after, o->after + blocks, (PUMP_OUT_BLOCKS - blocks) * sizeof(o->after[0]));
}

bool pump_out_flush(struct pump_out *o) {
    while (o->len > 0) {
        size_t n = o->len;
        if (o->fd >= 0)
            n = o->blocked ? 0 : sure_bytes(o);
        if (n == 0) {
            set_blocked(o);
            return false;
        }
        pump_record_begin(o->record, o->stream, &o->after[(n - 1) / PUMP_OUT_BLOCK]);
        if (o->fd >= 0 && write(o->fd, o->chunk, n) != (ssize_t)n) {
            pump_record_abort(o->record, o->stream);
            set_blocked(o);
            return false;
        }
        pump_record_commit(o->record, o->stream);
        o->moved = true;
        drop_written(o, n);
    }
    pump_out_drop(o);
    return true;
}
