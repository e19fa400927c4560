#pragma once
/* The process that overwrites a task's set, by fanotify. Nothing here knows what a file belongs to.
 * The pin thread calls all of these functions, with the reconciler's lock held, because status
 * reads the writers. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Who wrote one file. Zeroed, it is nobody. */
struct pin_writer {
    pid_t pid;               /* 0 = not known */
    bool fresh;              /* has written since the last pin_writer_take() */
    uint64_t at_us;          /* of its last write, clock_now_us() */
    char comm[32];           /* printable ASCII */
    bool marked;             /* its writes raise events */
    int file_fd;             /* of the marked file, borrowed; valid while @marked */
    struct pin_writer *next; /* in the list of the marked ones */
};

struct pin_writers {
    int fd;      /* fanotify's; -EBADF = not allowed, then writers stay unnamed */
    int proc_fd; /* borrowed */
    struct pin_writer *marked;
};

/** Opens fanotify, which needs CAP_SYS_ADMIN. Without it all functions work and name nobody.
 *  @proc_fd: /proc, borrowed. */
void pin_writer_begin(struct pin_writers *w, int proc_fd);
void pin_writer_end(struct pin_writers *w);

/** From now on the writers of @file_fd are noted in @x. Does nothing when @x is marked. */
void pin_writer_mark(struct pin_writers *w, struct pin_writer *x, int file_fd);
/** Ends that, and keeps what was noted. */
void pin_writer_unmark(struct pin_writers *w, struct pin_writer *x);
/** Drains the pending events. */
void pin_writer_read(struct pin_writers *w);
/** Sets @x to the writer of the set that is about to be replaced; pid 0 when it is not known. */
void pin_writer_take(struct pin_writers *w, struct pin_writer *x);
