/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The two clocks of the plugin. */
#include <stdint.h>

#define US_PER_MS UINT64_C(1000)
#define US_PER_SEC UINT64_C(1000000)

/** Returns CLOCK_MONOTONIC in microseconds, for deadlines and intervals. Any thread. */
uint64_t clock_now_us(void);

/** Returns CLOCK_REALTIME in nanoseconds since 1970, for times that people and
 * Nomad see. Any thread. */
int64_t clock_wall_ns(void);
