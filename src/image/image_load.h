#pragma once
/* An archive of images (docker save) from a task's folder into Docker. */
#include "paddock/docker.h"

/** Blocks until Docker has taken @archive, half an hour at most. @root: it must lie below, links
 * followed (NULL = anywhere). Returns 0; -errno with @err (ERR_PLAIN): outside, no regular file, or
 * what Docker says of it. That it held a certain image is not told. */
int image_load_run(struct docker *d, const char *root, const char *archive, const struct call *call,
                   struct err *err) MUST_CHECK;
