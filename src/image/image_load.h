/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Loads an archive of images (made by docker save) from a task's folder into Docker. */
#include "paddock/docker.h"

/** Blocks until Docker has loaded @archive, half an hour at most. @root: the folder that must
 * contain @archive after all links are followed (NULL = anywhere). Returns 0, or -errno with @err
 * (ERR_PLAIN): @archive is outside of @root, it is no regular file, or Docker refused it. A result
 * of 0 does not mean that the archive contained a certain image. */
int image_load_run(struct docker *d, const char *root, const char *archive, const struct call *call,
                   struct err *err) MUST_CHECK;
