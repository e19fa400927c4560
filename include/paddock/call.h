/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The deadline of a request that may block, and a way to cancel it. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stdint.h>

/* An eventfd that becomes readable, and stays so, when the client of the request has disconnected
 * or the plugin ends. */
struct cancel {
    int fd; /* -EBADF: cannot be cancelled */
};

struct call {
    uint64_t deadline_us;        /* clock_now_us() time; 0 = none (only for streams) */
    const struct cancel *cancel; /* borrowed; NULL = cannot be cancelled */
};

/** Returns 0, or -errno when no fd is free. */
int cancel_init(struct cancel *c) MUST_CHECK;
/** Closes the fd. May be called twice. */
void cancel_done(struct cancel *c);

/** Cancels. Any thread, any number of times. */
void cancel_fire(const struct cancel *c);
/** True after cancel_fire(). False for NULL and for one that cannot be cancelled. Any thread. */
bool cancel_fired(const struct cancel *c);

/** Returns a call with a deadline @timeout_us from now, but never later than that of
 * @outer (may be NULL). */
struct call call_within(const struct call *outer, uint64_t timeout_us);

/** Milliseconds until @at_us (clock_now_us() time), rounded up, for poll(). Returns -1 when @at_us
 * is 0, and 0 when it has passed. */
int call_ms_until(uint64_t at_us);

/** Milliseconds until the deadline, rounded up, for poll(). Returns -1 without a deadline, and 0
 * when it has passed. */
int call_remaining_ms(const struct call *c);

/** Waits until @fd is ready for @events (poll's).
 *  Returns 0; -ETIMEDOUT; -ECANCELED, also when @fd is ready at the same time; other -errno.
 *  It also returns 0 when a signal interrupted the wait, so the caller's next attempt may
 *  have to wait again. */
int call_wait_fd(const struct call *c, int fd, short events) MUST_CHECK;

/** Waits for @us, or less when the deadline or the cancel comes first.
 *  Returns 0 when the time has passed; -ETIMEDOUT; -ECANCELED. */
int call_sleep(const struct call *c, uint64_t us) MUST_CHECK;
