/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
#include <stdbool.h>

/** Returns true when @text, the text of a Docker error, shows that Docker refuses a value of the
 * job, so that repeating the request cannot help. Context: pure, any thread. */
bool docker_refusal_is_final(const char *text);
