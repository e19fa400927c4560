#pragma once
#include "create_step.h"

/** The source of one of Nomad's folders or of a generated file: @below (relative, "web/local") of
 * the allocation's folder. It must be there, without a link on the way. Docker is sent its path, or
 * a mount point when host->hold has @lies_in.
 *  Returns 0; -EACCES a link; -ENOENT, -ENOTDIR and others; with @err. Owner of @ret_source:
 * caller, free(). */
int create_own_source(struct create *c, enum create_own lies_in, const char *below, bool is_dir,
                      char **ret_source) MUST_CHECK;
