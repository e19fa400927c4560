/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* A reader of a task's FIFO, like Nomad's logmon. Every function fails the test itself. Waits have
 * a deadline of WORLD_WAIT_US. */
#include "paddock/buf.h"

#include <pthread.h>
#include <stdbool.h>

/* The reader of one FIFO: a thread that keeps all it has read. */
struct reader {
    char path[256];
    int fd;
    pthread_t thread;
    bool runs;
    pthread_mutex_t lock;
    struct buf text;
    bool paused, eof, stop;
};

void reader_start(struct reader *r, const char *path);
void reader_pause(struct reader *r, bool paused);
/** Waits until the reader has read @text, or @len bytes. */
void reader_until(struct reader *r, const char *text);
void reader_until_len(struct reader *r, size_t len);
/** Waits for the end of file. */
void reader_until_eof(struct reader *r);
/** Returns what was read so far; free() it. */
char *reader_text(struct reader *r, size_t *ret_len);
void reader_done(struct reader *r);
