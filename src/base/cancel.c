/* SPDX-License-Identifier: MPL-2.0 */
/* The cancel of a request: an eventfd that is written and never read. It stays readable, so every
 * later wait ends immediately, too.
 *
 * The gRPC side fires it when the client has disconnected. call.c waits on it, and curl's waits
 * include it. */
#include "paddock/call.h"

#include <poll.h>
#include <sys/eventfd.h>

int cancel_init(struct cancel *c) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    c->fd = fd;
    return 0;
}

void cancel_done(struct cancel *c) {
    c->fd = fd_close(c->fd);
}

void cancel_fire(const struct cancel *c) {
    uint64_t one = 1;
    int keep = errno;
    /* A full counter is readable as well. */
    if (c->fd >= 0 && write(c->fd, &one, sizeof(one)) < 0)
        errno = keep;
}

bool cancel_fired(const struct cancel *c) {
    if (!c || c->fd < 0)
        return false;
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}
