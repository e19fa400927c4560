#pragma once
/* An archive of images (docker save) from a task's folder into Docker. */
#include "paddock/docker.h"

/** Blocks until Docker has taken @archive, half an hour at most. Returns 0; -errno with @err
 * (ERR_PLAIN): no regular file, or what Docker says of it. That it held a certain image is not
 * told. */
int image_load_run(struct docker *d, const char *archive, const struct call *call,
                   struct err *err) MUST_CHECK;
