/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Files that report their changes: one inotify instance for all cpuset files that are watched.
 *
 * The unit of watching is struct pin_file. An event only sets its dirty flag; the caller searches
 * for dirty files afterwards. This file does not know to which task a file belongs. The pin thread
 * calls all of these functions, with the reconciler's lock held, because status reads the counters
 * and the watches. */
#include "paddock/cgroup.h"

#define PIN_WATCH_BUCKETS 256u

struct pin_file {
    int watch;             /* inotify's, -1 = none */
    bool dirty;            /* its text may have changed since it was read; the reader clears it */
    struct pin_file *next; /* the next file in its bucket, while it has a watch */
    struct cgroup_file file;
};

/** A file that is not open; dirty, so that the first pass reads it. */
#define PIN_FILE_NONE ((struct pin_file){.watch = -1, .dirty = true, .file = CGROUP_FILE_NONE})

struct pin_watch {
    int fd;            /* inotify's; -EBADF = the kernel refused it, and nothing is watched */
    uint64_t retry_us; /* after a refused watch: no watch is added before this time */
    uint64_t backoff_us;
    uint64_t events, errors; /* counted since the start */
    bool warned;
    struct pin_file *buckets[PIN_WATCH_BUCKETS]; /* by watch number: small and increasing */
};

/** Opens inotify. A refusal by the kernel is logged and counted. All functions still work then, but
 * watch nothing. */
void pin_watch_begin(struct pin_watch *w);
/** Closes inotify. The files keep their stale watch numbers. */
void pin_watch_end(struct pin_watch *w);

/** Watches @f when it is open and has no watch yet. A refusal (the limit of watches is per user) is
 * retried by later calls, with a back-off of 1 s to 60 s. */
void pin_watch_add(struct pin_watch *w, struct pin_file *f);
/** Returns true when @f has no watch because it was refused; @w->retry_us is the time of the
 * next attempt. */
bool pin_watch_is_missing(const struct pin_watch *w, const struct pin_file *f);
/** Removes the watch of @f. Two files share one watch when they are the same file; the other one
 * then keeps the watch. Keeps errno. */
void pin_watch_del(struct pin_watch *w, struct pin_file *f);
/** Removes the watch of @f and closes the file. */
void pin_watch_close(struct pin_watch *w, struct pin_file *f);

/** Drains the pending events: marks the files that they name as dirty, or all that are watched when
 * the kernel dropped events. */
void pin_watch_read(struct pin_watch *w);
