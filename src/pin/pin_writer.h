/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The process that overwrites a task's set, found by fanotify. This file does not know to which
 * task a file belongs. The pin thread calls all of these functions, with the reconciler's lock
 * held, because status reads the writers. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The last writer of one file. A zeroed struct means that none is known. */
struct pin_writer {
    pid_t pid;               /* 0 = not known */
    bool fresh;              /* has written since the last pin_writer_take() */
    uint64_t at_us;          /* of its last write, clock_now_us() */
    char comm[32];           /* printable ASCII */
    bool marked;             /* its writes raise events */
    int file_fd;             /* of the marked file, borrowed; valid while @marked */
    struct pin_writer *next; /* the next one in the list of marked files */
};

struct pin_writers {
    int fd;      /* fanotify's; -EBADF = not allowed, and writers stay unnamed */
    int proc_fd; /* borrowed */
    struct pin_writer *marked;
};

/** Opens fanotify, which needs CAP_SYS_ADMIN. Without it all functions work, but name no process.
 *  @proc_fd: /proc, borrowed. */
void pin_writer_begin(struct pin_writers *w, int proc_fd);
void pin_writer_end(struct pin_writers *w);

/** From now on the writers of @file_fd are noted in @x. Does nothing when @x is marked. */
void pin_writer_mark(struct pin_writers *w, struct pin_writer *x, int file_fd);
/** Stops that, and keeps the noted writer. */
void pin_writer_unmark(struct pin_writers *w, struct pin_writer *x);
/** Drains the pending events. */
void pin_writer_read(struct pin_writers *w);
/** Sets @x to the writer of the set that is about to be replaced; pid 0 when it is not known. */
void pin_writer_take(struct pin_writers *w, struct pin_writer *x);
