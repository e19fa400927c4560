/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Threads for work that may block and must not occupy a worker of a request: inspecting a container
 * that ended, deleting an image, probing dockerd. The pool grows up to its limit while work waits.
 * Idle threads end after 5 s, so a quiet plugin has none. When the last thread of a pool ends,
 * freed memory is returned to the kernel. */
#include "paddock/cleanup.h"

struct pool;

/** Makes a pool. No thread is started yet. Returns 0 or -ENOMEM. */
int pool_new(unsigned max_threads, struct pool **ret) MUST_CHECK;
/** Waits for all work, queued work included, and frees the pool. NULL allowed. */
void pool_free(struct pool *p);
/** Runs @work on a thread of the pool. Any thread. Returns 0; -ENOMEM; -EAGAIN when no thread runs
 * and none can be started. */
int pool_run(struct pool *p, void (*work)(void *ctx), void *ctx) MUST_CHECK;
