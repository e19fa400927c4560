#pragma once
/* The CPUs that threads may run on, as the kernel keeps them: of any machine's size, which
 * cpu_set_t is not. */
#include "paddock/cleanup.h"

#include <limits.h>
#include <sys/types.h>

#define AFFINITY_MAX_CPUS 8192u /* the kernel's largest NR_CPUS */
#define AFFINITY_WORD_BITS (sizeof(unsigned long) * CHAR_BIT)

struct affinity {
    unsigned long mask[AFFINITY_MAX_CPUS / AFFINITY_WORD_BITS];
};

/** Reads the mask of the thread @tid (0 = the calling one). Returns 0; -errno. Any thread. */
int affinity_get(pid_t tid, struct affinity *ret) MUST_CHECK;

/** Sets the mask of all threads of the process @pid (0 = this one). A thread that has ended
 * meanwhile is no error. Returns 0; -errno of the last thread where it failed. Any thread. */
int affinity_set_all(pid_t pid, const struct affinity *a) MUST_CHECK;
