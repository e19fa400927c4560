/* SPDX-License-Identifier: MPL-2.0 */
/* Reads the clocks. All layers use it.
 *
 * Deadlines and intervals use the monotonic clock, so a change of the wall clock
 * does not move them. */
#include "paddock/clock.h"

#include <time.h>

uint64_t clock_now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * US_PER_SEC + (uint64_t)t.tv_nsec / 1000;
}

int64_t clock_wall_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
