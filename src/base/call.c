/* SPDX-License-Identifier: MPL-2.0 */
/* The deadline of a request, and the waits that end with it or with the request's cancel.
 *
 * All code that waits for Docker, a socket or another process waits here. The cancel
 * itself is in cancel.c. */
#include "paddock/call.h"
#include "paddock/clock.h"
#include <assert.h>

#include <limits.h>
#include <poll.h>

struct call call_within(const struct call *outer, uint64_t timeout_us) {
    struct call c = {.deadline_us = clock_now_us() + timeout_us};
    if (outer) {
        c.cancel = outer->cancel;
        if (outer->deadline_us && outer->deadline_us < c.deadline_us)
            c.deadline_us = outer->deadline_us;
    }
    return c;
}

int call_ms_until(uint64_t at_us) {
    if (at_us == 0)
        return -1;
    uint64_t now = clock_now_us();
    if (now >= at_us)
        return 0;
    uint64_t ms = (at_us - now + US_PER_MS - 1) / US_PER_MS;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

int call_remaining_ms(const struct call *c) {
    return call_ms_until(c ? c->deadline_us : 0);
}

int call_wait_fd(const struct call *c, int fd, short events) {
    assert(c && fd >= 0);
    struct pollfd p[2] = {{.fd = fd, .events = events},
                          {.fd = c->cancel ? c->cancel->fd : -1, .events = POLLIN}};
    int n = poll(p, ARRAY_LEN(p), call_remaining_ms(c));
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    if (p[1].revents)
        return -ECANCELED;
    return n == 0 ? -ETIMEDOUT : 0;
}

int call_sleep(const struct call *c, uint64_t us) {
    struct call within = call_within(c, us);
    bool cut_short = c && c->deadline_us && c->deadline_us <= within.deadline_us;
    struct pollfd p = {.fd = within.cancel ? within.cancel->fd : -1, .events = POLLIN};
    for (int ms; (ms = call_remaining_ms(&within)) > 0;) {
        if (poll(&p, 1, ms) > 0)
            return -ECANCELED;
    }
    return cut_short ? -ETIMEDOUT : 0;
}
