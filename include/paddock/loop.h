#pragma once
/* An event loop for one thread: fds (epoll), timers, and work handed in from other threads.
 *
 * 1. loop_new, then add watches and timers - from the loop's own thread or before it runs;
 * 2. loop_run in the thread that owns the loop; it returns after loop_stop;
 * 3. loop_post is the one call that other threads may make (with loop_stop).
 *
 * A callback may remove any watch or timer, its own too: what was removed is not called again, and
 * its memory is released when the round is over. Timers are CLOCK_MONOTONIC. */
#include "paddock/cleanup.h"
#include <stdint.h>

struct loop;
struct loop_watch;
struct loop_timer;

typedef void (*loop_fd_cb)(void *ctx, uint32_t events);
typedef void (*loop_cb)(void *ctx);

/** Returns 0; -ENOMEM; -EMFILE and other -errno of its two fds. */
int loop_new(struct loop **ret) MUST_CHECK;
/** When loop_run has returned: runs what was posted, releases timers that are left; watches are
 * their owners' to delete before. NULL allowed. */
void loop_free(struct loop *l);

/** Runs what was posted and has not run yet, on the caller's thread: when loop_run has returned and
 * what it uses is about to go. */
void loop_run_posted(struct loop *l);
/** Runs callbacks until loop_stop. Returns 0 or -errno of epoll itself. */
int loop_run(struct loop *l) MUST_CHECK;
/** Any thread; also before loop_run. */
void loop_stop(struct loop *l);

/** Watches @fd (borrowed) for EPOLLIN/EPOLLOUT... . Returns 0, -errno. */
int loop_watch_add(struct loop *l, int fd, uint32_t events, loop_fd_cb cb, void *ctx,
                   struct loop_watch **ret) MUST_CHECK;
int loop_watch_set(struct loop_watch *w, uint32_t events) MUST_CHECK;
/** NULL allowed. Call before closing the fd. Returns NULL. */
struct loop_watch *loop_watch_del(struct loop_watch *w);

/** A timer that is not armed yet. Returns 0; -ENOMEM. Owner: caller, loop_timer_del. */
int loop_timer_new(struct loop *l, loop_cb cb, void *ctx, struct loop_timer **ret) MUST_CHECK;
/** Fires once at @at_us (clock_now_us time); 0 disarms. */
void loop_timer_at(struct loop_timer *t, uint64_t at_us);
/** NULL allowed. Returns NULL. */
struct loop_timer *loop_timer_del(struct loop_timer *t);

/** Runs @cb in the loop's thread, in order of posting. Any thread. Returns 0; -ENOMEM.
 *  What is posted before the loop ends but not run yet is run by loop_free. */
int loop_post(struct loop *l, loop_cb cb, void *ctx) MUST_CHECK;
