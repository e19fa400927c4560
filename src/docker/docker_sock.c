/* SPDX-License-Identifier: MPL-2.0 */
/* A connection's socket on the loop, for docker_multi.c (curl's sockets) and docker_tail.c.
 *
 * dockerd sends each line of output separately. Reading each line when it arrives costs three
 * system calls per line. A busy socket therefore rests between two reads, and one read gets all
 * lines that have arrived. */
#include "src/docker/docker_sock.h"
#include "src/docker/docker_priv.h"
#include "paddock/clock.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>

struct docker_sock {
    struct docker_socks *all;
    int fd;
    void (*on)(void *ctx, int fd, uint32_t events);
    void *ctx;
    struct loop_watch *watch; /* NULL while the socket rests */
    uint32_t events;
    uint64_t read_us; /* time of the last read */
    struct docker_sock *next_resting;
    bool rests;
};

static bool sock_rest(struct docker_sock *s, uint32_t events) {
    struct docker_socks *a = s->all;
    uint64_t now = clock_now_us();
    int waiting = 0;
    if (!a->gather_us || events != EPOLLIN || now >= s->read_us + a->gather_us ||
        /* enough data for a whole read has arrived */
        ioctl(s->fd, FIONREAD, &waiting) < 0 || waiting >= DOCKER_RECEIVE_BYTES) {
        s->read_us = now;
        return false;
    }
    s->watch = loop_watch_del(s->watch);
    s->rests = true;
    s->next_resting = a->resting;
    a->resting = s;
    loop_timer_at(a->rest, now + a->gather_us); /* one for all: some rest a little longer */
    return true;
}

static void on_ready(void *arg, uint32_t events) {
    struct docker_sock *s = arg; /* may be freed when on() returns */
    if (!sock_rest(s, events))
        s->on(s->ctx, s->fd, events);
}

static int sock_watch(struct docker_sock *s) {
    return loop_watch_add(s->all->loop, s->fd, s->events, on_ready, s, &s->watch);
}

static void on_rested(void *arg) {
    struct docker_socks *a = arg;
    struct docker_sock *s;
    while ((s = a->resting)) {
        a->resting = s->next_resting;
        s->rests = false;
        s->read_us = 0;
        if (sock_watch(s) < 0) { /* out of memory: try again later */
            s->rests = true;
            s->next_resting = a->resting;
            a->resting = s;
            loop_timer_at(a->rest, clock_now_us() + 100 * US_PER_MS);
            return;
        }
    }
}

int docker_socks_init(struct docker_socks *a, struct loop *loop) {
    *a = (struct docker_socks){.loop = loop};
    return loop_timer_new(loop, on_rested, a, &a->rest);
}

void docker_socks_done(struct docker_socks *a) {
    a->rest = loop_timer_del(a->rest);
}

int docker_sock_new(struct docker_socks *a, int fd, uint32_t events,
                    void (*on)(void *ctx, int fd, uint32_t events), void *ctx,
                    struct docker_sock **ret) {
    struct docker_sock *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    *s = (struct docker_sock){.all = a, .fd = fd, .on = on, .ctx = ctx, .events = events};
    int r = sock_watch(s);
    if (r < 0) {
        free(s);
        return r;
    }
    *ret = s;
    return 0;
}

int docker_sock_set(struct docker_sock *s, uint32_t events) {
    s->events = events;
    return s->rests ? 0 : loop_watch_set(s->watch, events);
}

void docker_sock_free(struct docker_sock *s) {
    if (!s)
        return;
    for (struct docker_sock **at = &s->all->resting; s->rests && *at; at = &(*at)->next_resting) {
        if (*at == s) {
            *at = s->next_resting;
            break;
        }
    }
    loop_watch_del(s->watch);
    free(s);
}
