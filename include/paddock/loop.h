/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* An event loop for one thread: fds (epoll), timers, and work posted by other threads.
 *
 * 1. Call loop_new(), then add watches and timers: on the loop's own thread, or before it runs.
 * 2. Call loop_run() on the thread that owns the loop. It returns after loop_stop().
 * 3. Other threads may call only loop_post() and loop_stop().
 *
 * A callback may remove any watch or timer, its own too. A removed one is not called again, and its
 * memory is released at the end of the round. Timers use CLOCK_MONOTONIC. */
#include "paddock/cleanup.h"
#include <stdint.h>

struct loop;
struct loop_watch;
struct loop_timer;

typedef void (*loop_fd_cb)(void *ctx, uint32_t events);
typedef void (*loop_cb)(void *ctx);

/** Returns 0; -ENOMEM; -EMFILE or another -errno for its two fds. */
int loop_new(struct loop **ret) MUST_CHECK;
/** Frees the loop after loop_run() has returned. Runs posted work first, and releases the timers
 * that are left. Owners must delete their watches before. NULL allowed. */
void loop_free(struct loop *l);

/** Runs posted work that has not run yet, on the caller's thread. Call it after loop_run() has
 * returned and before the objects that the work uses are freed. */
void loop_run_posted(struct loop *l);
/** Runs callbacks until loop_stop(). Returns 0, or -errno of epoll itself. */
int loop_run(struct loop *l) MUST_CHECK;
/** Any thread; also before loop_run. */
void loop_stop(struct loop *l);

/** Watches @fd (borrowed) for EPOLLIN, EPOLLOUT and so on. Returns 0 or -errno. */
int loop_watch_add(struct loop *l, int fd, uint32_t events, loop_fd_cb cb, void *ctx,
                   struct loop_watch **ret) MUST_CHECK;
/** Changes the events of @w. With 0, only errors and hang-ups are reported. Returns 0 or -errno. */
int loop_watch_set(struct loop_watch *w, uint32_t events) MUST_CHECK;
/** NULL allowed. Call before closing the fd. Returns NULL. */
struct loop_watch *loop_watch_del(struct loop_watch *w);

/** Makes a timer that is not armed yet. Returns 0 or -ENOMEM. Owner: caller, loop_timer_del(). */
int loop_timer_new(struct loop *l, loop_cb cb, void *ctx, struct loop_timer **ret) MUST_CHECK;
/** Fires once at @at_us (clock_now_us() time). 0 disarms. */
void loop_timer_at(struct loop_timer *t, uint64_t at_us);
/** NULL allowed. Returns NULL. */
struct loop_timer *loop_timer_del(struct loop_timer *t);

/** Runs @cb on the loop's thread, in order of posting. Any thread. Returns 0 or -ENOMEM.
 *  loop_free() runs work that was posted and has not run when the loop ends. */
int loop_post(struct loop *l, loop_cb cb, void *ctx) MUST_CHECK;
