/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* A connection's socket on the loop. A busy one rests between two reads. */
#include "paddock/loop.h"

struct docker_sock;

/* The sockets of one docker_multi. */
struct docker_socks {
    struct loop *loop;
    uint64_t gather_us;      /* how long a busy socket rests; 0 = not */
    struct loop_timer *rest; /* reads the resting sockets again */
    struct docker_sock *resting;
};

/** Returns 0; -ENOMEM. */
int docker_socks_init(struct docker_socks *a, struct loop *loop) MUST_CHECK;
/** All sockets must be freed before. */
void docker_socks_done(struct docker_socks *a);

/** Calls @on on the loop's thread when @fd (borrowed) has one of the EPOLL @events. @on may free
 * the socket. Returns 0; -errno of loop_watch_add(). Owner of @ret: caller, docker_sock_free(). */
int docker_sock_new(struct docker_socks *a, int fd, uint32_t events,
                    void (*on)(void *ctx, int fd, uint32_t events), void *ctx,
                    struct docker_sock **ret) MUST_CHECK;
/** Changes the events. Returns 0; -errno of loop_watch_set(). */
int docker_sock_set(struct docker_sock *s, uint32_t events) MUST_CHECK;
/** Call before closing the fd. NULL allowed. */
void docker_sock_free(struct docker_sock *s);
