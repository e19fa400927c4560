#pragma once
/* Threads for work that may block and holds no worker of a request: inspecting a container that
 * ended, deleting an image, probing dockerd. The pool grows to its limit while work waits, and idle
 * threads end after 5 s, so that a quiet plugin holds none. With the last thread of a pool, memory
 * that was freed goes back to the kernel. */
#include "paddock/cleanup.h"

struct pool;

/** No thread is started yet. Returns 0; -ENOMEM. */
int pool_new(unsigned max_threads, struct pool **ret) MUST_CHECK;
/** Waits for all work, queued work included. NULL allowed. */
void pool_free(struct pool *p);
/** Runs @work on some thread of the pool. Any thread. Returns 0; -ENOMEM; -EAGAIN (no thread at
 * all). */
int pool_run(struct pool *p, void (*work)(void *ctx), void *ctx) MUST_CHECK;
