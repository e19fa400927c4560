#pragma once
/* Notices that somebody opens a FIFO that the pump writes to: it may be the built-in driver. */
#include "paddock/loop.h"

struct pump_rival_watch;

/** @opened: a moment after an opening (several openings in a row make one call). Returns 0; -ENOMEM
 * or another -errno. Where the system has no inotify instance left it watches nothing. */
int pump_rival_watch_new(struct loop *loop, void (*opened)(void *ctx), void *ctx,
                         struct pump_rival_watch **ret) MUST_CHECK;
/** NULL allowed. */
void pump_rival_watch_free(struct pump_rival_watch *w);
/** Watches @fifo until it is removed. "" or a failure: it is not watched. */
void pump_rival_watch_add(struct pump_rival_watch *w, const char *fifo);
