/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
#include "src/create/create_step.h"

/** Finds the path that Docker gets for a volume or a bind mount of the job: @path (cleaned) when
 * volumes are enabled; else its real path below the allocation's folder, or a mount point in
 * host->sources_dir, which is then added to c->sources.
 *  @text: the job's text, for errors. @options: `ro,rslave`; only the words about propagation
 * matter. @make: creates a missing directory, as Docker does for `volumes`; only for a mount point.
 * Returns 0; -EXDEV and other errors of path_below_resolve(); -ENOENT when the source is missing
 * and was not created. Sets no @err. Owner of @ret_source: caller, free(). */
int create_sources_find(struct create *c, const char *path, const char *text, const char *options,
                        bool make, char **ret_source) MUST_CHECK;

/** Adds *@fd to c->sources as the mount point @name, which the caller of create_build() mounts.
 *  @text: for errors. @shared: see struct create_source. Returns 0, and takes ownership of *@fd;
 *  -ENOMEM and other -errno. Sets no @err. Owner of @ret_source, the path for Docker:
 * caller, free(). */
int create_sources_hold(struct create *c, int *fd, const char *name, const char *text, bool shared,
                        char **ret_source) MUST_CHECK;
