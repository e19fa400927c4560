/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* A POST that takes over its connection (Docker calls this hijacking). */
#include "src/docker/docker_priv.h"

/** Sends POST /v1.@minor@path with the JSON @body and waits for the 101 or 200 that hands over the
 * connection. Returns 0; errors of docker.h. */
int docker_stream_open(struct docker *d, const struct call *call, int minor, const char *path,
                       const char *body, struct docker_stream **ret, struct err *err) MUST_CHECK;
