#pragma once
/* What every request that may wait carries with it: until when, and a way to end it early. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stdint.h>

/* An eventfd that becomes readable, for good, when the request's client has gone or the plugin
 * ends. */
struct cancel {
    int fd; /* -EBADF: cannot be cancelled */
};

struct call {
    uint64_t deadline_us;        /* clock_now_us() time; 0 = none (only for streams) */
    const struct cancel *cancel; /* borrowed; NULL = cannot be cancelled */
};

/** Returns 0 or -errno (no more fds). */
int cancel_init(struct cancel *c) MUST_CHECK;
void cancel_done(struct cancel *c);

/** Fires it. Any thread, any number of times. */
void cancel_fire(const struct cancel *c);
bool cancel_fired(const struct cancel *c);

/** A call with a deadline @timeout_us from now, but never later than @outer's (NULL allowed). */
struct call call_within(const struct call *outer, uint64_t timeout_us);

/** Milliseconds until @at_us (clock_now_us() time) for poll(): -1 = @at_us is 0, 0 = past, rounded
 * up. */
int call_ms_until(uint64_t at_us);

/** Milliseconds until the deadline for poll(): -1 = none, 0 = over, rounded up. */
int call_remaining_ms(const struct call *c);

/** Waits until @fd is ready for @events (poll's).
 *  Returns 0, also when a signal came first: what is tried then may have to wait again; -ETIMEDOUT;
 * -ECANCELED, which counts more than a ready fd; other -errno. */
int call_wait_fd(const struct call *c, int fd, short events) MUST_CHECK;

/** Waits at most @us, less when the deadline or the cancel comes first.
 *  Returns 0 when the time has passed; -ETIMEDOUT; -ECANCELED. */
int call_sleep(const struct call *c, uint64_t us) MUST_CHECK;
