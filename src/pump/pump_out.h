#pragma once
/* One FIFO of a task: output is gathered here and written in blocks, each with the position after
 * it.
 *
 * What a write is sure to take whole is PIPE_BUF when the FIFO has a free page, and everything when
 * the FIFO is empty. So output is gathered in blocks of PIPE_BUF. One is written at a time, or all
 * of them in one go, because each write wakes the reader. The record gets the position before each
 * write (pump_record.h).
 *
 * Both readers of logs (API and file) use it, in the loop's thread. Nothing here blocks. */
#include "paddock/loop.h"
#include "pump_record.h"

#include <stddef.h>

#define PUMP_OUT_BLOCK PIPE_BUF
/* All of it is the usual size of a FIFO. The largest message of dockerd fits: 16 KiB of which each
 * byte became U+FFFD. */
#define PUMP_OUT_BLOCKS 16
#define PUMP_OUT_MAX ((size_t)PUMP_OUT_BLOCKS * PUMP_OUT_BLOCK)

struct pump_out {
    struct loop *loop;
    struct pump_record *record; /* borrowed */
    int stream;                 /* 0 stdout, 1 stderr */
    loop_cb on_room;            /* the FIFO takes something again, after a pump_out_flush that
                                 * returned false */
    void *ctx;
    int fd;                   /* -EBADF: nothing is written */
    struct loop_watch *watch; /* while the FIFO is full */
    bool blocked;             /* pump_out_flush found it full */
    bool moved;               /* something was written; the owner resets it */
    char *chunk;              /* PUMP_OUT_MAX bytes; NULL while nothing waits */
    size_t len;
    struct pump_position behind[PUMP_OUT_BLOCKS]; /* the position after each block */
};

/** No FIFO is open yet. */
void pump_out_init(struct pump_out *o, struct loop *loop, struct pump_record *record, int stream,
                   loop_cb on_room, void *ctx);
void pump_out_done(struct pump_out *o);
/** Opens the record's FIFO; again when another one is at its path now. Returns 0; -ENXIO, -ENOENT,
 * -ELOOP, -EINVAL: it cannot be opened as one. */
int pump_out_open(struct pump_out *o) MUST_CHECK;

/** Bytes up to the end of the present block; 0: the chunk is full. */
size_t pump_out_room(const struct pump_out *o);
/** Gathers @len bytes, at most pump_out_room(). @behind: the position after them. Returns 0;
 * -ENOMEM. */
int pump_out_add(struct pump_out *o, const char *data, size_t len,
                 const struct pump_position *behind) MUST_CHECK;
/** Writes what the FIFO takes. Returns false when the FIFO is full and something waits; on_room
 * follows. When out of memory (blocked without a watch) the owner resets `blocked` by a timer. */
bool pump_out_flush(struct pump_out *o);
/** Releases the chunk, which need not be empty. */
void pump_out_drop(struct pump_out *o);
