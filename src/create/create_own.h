/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
#include "src/create/create_step.h"

/** Finds the source of one of Nomad's folders or of a generated file: @below (relative,
 * "web/local") in the allocation's folder. It must exist, without a link in its path. Docker gets
 * its path, or a mount point when host->hold contains @lies_in.
 *  Returns 0; -EACCES when a link is in the path; -ENOENT, -ENOTDIR and others; with @err. Owner of
 * @ret_source: caller, free(). */
int create_own_source(struct create *c, enum create_own lies_in, const char *below, bool is_dir,
                      char **ret_source) MUST_CHECK;
