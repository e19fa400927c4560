/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* One FIFO of a task. Output is gathered here and written in blocks. Each block has the position
 * after it.
 *
 * A FIFO with a free page is sure to take a write of PIPE_BUF bytes whole, and an empty FIFO takes
 * as much as it holds. So output is gathered in blocks of PIPE_BUF. Either one block is written, or
 * all of them in one call, because each write wakes the reader. The record gets the position before
 * each write (pump_record.h).
 *
 * Both log readers (API and file) use it, in the loop's thread. Nothing here blocks. */
#include "paddock/loop.h"
#include "src/pump/pump_record.h"

#include <stddef.h>

#define PUMP_OUT_BLOCK PIPE_BUF
/* All blocks together have the usual size of a FIFO. The largest message of dockerd fits: 16 KiB,
 * when each byte became U+FFFD. */
#define PUMP_OUT_BLOCKS 16
#define PUMP_OUT_MAX ((size_t)PUMP_OUT_BLOCKS * PUMP_OUT_BLOCK)

struct pump_out {
    struct loop *loop;
    struct pump_record *record; /* borrowed */
    int stream;                 /* 0 stdout, 1 stderr */
    loop_cb on_room;            /* called when the FIFO has room, after a flush returned false */
    void *ctx;
    int fd;                   /* -EBADF: output is dropped */
    struct loop_watch *watch; /* while the FIFO is full */
    bool blocked;             /* pump_out_flush() found the FIFO full */
    bool moved;               /* something was written; the owner resets this */
    char *chunk;              /* PUMP_OUT_MAX bytes; NULL while nothing waits */
    size_t len;
    struct pump_position after[PUMP_OUT_BLOCKS]; /* the position after each block */
};

/** Initialises @o without an open FIFO. @loop and @record are borrowed. */
void pump_out_init(struct pump_out *o, struct loop *loop, struct pump_record *record, int stream,
                   loop_cb on_room, void *ctx);
/** Closes the FIFO and releases the chunk. */
void pump_out_done(struct pump_out *o);
/** Opens the record's FIFO. Opens it again when another FIFO is at its path now. Returns 0; -ENXIO,
 * -ENOENT, -ELOOP or -EINVAL when it cannot be opened as a FIFO. */
int pump_out_open(struct pump_out *o) MUST_CHECK;

/** Returns the free bytes of the current block; 0 when the chunk is full. */
size_t pump_out_room(const struct pump_out *o);
/** Gathers @len bytes, at most pump_out_room(). @after: the position after them. Returns 0;
 * -ENOMEM, which only the first call for an empty chunk can return. */
int pump_out_add(struct pump_out *o, const char *data, size_t len,
                 const struct pump_position *after) MUST_CHECK;
/** Writes as much as the FIFO takes. Returns true when nothing is left. Returns false when the FIFO
 * is full; on_room is called later. When out of memory, `blocked` is true without a watch, and the
 * owner resets it by a timer. */
bool pump_out_flush(struct pump_out *o);
/** Releases the chunk, which need not be empty. */
void pump_out_drop(struct pump_out *o);
