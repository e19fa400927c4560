/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Converts Nomad's TaskConfig message to the plain struct that src/ uses. */
#include "paddock/err.h"
#include "paddock/task_config.h"

#include "driver.pb-c.h"

/** Copies everything, so the message may be freed. Absent parts give empty values. A task
 * without an id, a name or an alloc folder is refused. Returns 0; -EINVAL (ERR_INVALID);
 * -ENOMEM. Pure, any thread. */
int task_decode(const Driver__TaskConfig *in, struct task_config *ret, struct err *err) MUST_CHECK;
