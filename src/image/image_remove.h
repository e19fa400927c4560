/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
#include "paddock/docker.h"
#include "paddock/strv.h"

/** Removes image @id, or only those of its names that are in @used (names as jobs write them).
 * Blocks. Returns 0; -EEXIST a container uses the image; -ENOENT no such image; other -errno
 * of docker_http_do(). */
int image_remove_run(struct docker *d, const char *id, const struct strv *used,
                     struct err *err) MUST_CHECK;
