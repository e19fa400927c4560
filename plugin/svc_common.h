/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Small conversions that several handlers share. Pure. */
#include "paddock/store.h"

#include "driver.pb-c.h"

/** Converts to microseconds. Absent, or beyond int64 microseconds: 0. */
int64_t svc_common_duration_us(const Google__Protobuf__Duration *d);
/** Initialises @t. @ns: nanoseconds since 1970. */
void svc_common_fill_time(Google__Protobuf__Timestamp *t, int64_t ns);
/** Initialises @out and copies exit code, signal and the OOM flag. */
void svc_common_fill_exit(Driver__ExitResult *out, const struct task_exit *e);
