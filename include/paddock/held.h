/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Checks the promise "the caller holds the lock" of other headers. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>

/** Ends the process when no thread holds @mutex. A plain mutex does not know its owner, so a lock
 * that another thread holds passes. A release build has no check (NDEBUG). */
#define HELD_ASSERT(mutex) assert(pthread_mutex_trylock(mutex) == EBUSY)
