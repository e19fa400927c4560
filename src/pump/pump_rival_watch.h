/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Notices when a process opens a FIFO that the pump writes to. The process may be the built-in
 * driver. All functions: the loop's thread. */
#include "paddock/loop.h"

struct pump_rival_watch;

/** @opened: called 100 ms after the last opening, so several openings in a row cause one call.
 * Returns 0; -ENOMEM or another -errno. When no inotify instance is left it returns 0 and watches
 * nothing. Owner: caller, pump_rival_watch_free(). */
int pump_rival_watch_new(struct loop *loop, void (*opened)(void *ctx), void *ctx,
                         struct pump_rival_watch **ret) MUST_CHECK;
/** Ends all watches. NULL allowed. */
void pump_rival_watch_free(struct pump_rival_watch *w);
/** Watches @fifo until it is removed. Does not watch "" and a FIFO that cannot be watched. */
void pump_rival_watch_add(struct pump_rival_watch *w, const char *fifo);
