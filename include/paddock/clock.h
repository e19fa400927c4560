#pragma once
#include <stdint.h>

#define US_PER_MS UINT64_C(1000)
#define US_PER_SEC UINT64_C(1000000)

/** CLOCK_MONOTONIC in microseconds: for deadlines and intervals. Any thread. */
uint64_t clock_now_us(void);

/** CLOCK_REALTIME in nanoseconds since 1970: for what people and Nomad see. Any thread. */
int64_t clock_wall_ns(void);
