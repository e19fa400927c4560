/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* CPU affinity masks of threads, in the kernel's format and for any number of CPUs. The type
 * cpu_set_t of the C library ends at 1024 CPUs. */
#include "paddock/cleanup.h"

#include <limits.h>
#include <sys/types.h>

#define AFFINITY_MAX_CPUS 8192u /* the kernel's largest NR_CPUS */
#define AFFINITY_WORD_BITS (sizeof(unsigned long) * CHAR_BIT)

struct affinity {
    unsigned long mask[AFFINITY_MAX_CPUS / AFFINITY_WORD_BITS];
};

/** Reads the mask of the thread @tid (0 = the calling thread). Returns 0 or -errno. Any thread. */
int affinity_get(pid_t tid, struct affinity *ret) MUST_CHECK;

/** Sets the mask of all threads of the process @pid (0 = this process). A thread that ends
 * during the call is no error. Returns 0, or the -errno of the last thread for which it
 * failed. Any thread. */
int affinity_set_all(pid_t pid, const struct affinity *a) MUST_CHECK;
