/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
#include "src/create/create_step.h"

/** Adds source:target[:mode][,label] to HostConfig.Binds. @field and @value are for an error: the
 * job's field and its text. Returns 0; -EINVAL with @err when a part contains ':', which Docker
 * would split; -ENOMEM. */
int create_bind_add(struct create *c, const char *field, const char *value, const char *src,
                    const char *dst, const char *mode) MUST_CHECK;
