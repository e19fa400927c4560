#pragma once
/* A POST whose connection is ours afterwards (Docker calls it hijacking). */
#include "docker_priv.h"

/** Sends POST /v1.@minor@path with the JSON @body and waits for the 101 or 200 that hands the
 * connection over. Errors as in docker.h. */
int docker_stream_open(struct docker *d, const struct call *call, int minor, const char *path,
                       const char *body, struct docker_stream **ret, struct err *err) MUST_CHECK;
