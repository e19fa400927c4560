#pragma once
#include "create_step.h"

/** What a volume or a bind mount of the job is told to Docker as: @path (cleaned) when volumes are
 * enabled; else where it leads below the allocation, or the mount point that it is given in
 * host->sources_dir (and then a place in c->sources).
 *  @text: the job's words, for errors. @options: `ro,rslave`, what of it concerns propagation
 * matters. @make: a missing directory is made, as Docker does for `volumes`; only for a mount
 * point. Returns 0; -EXDEV and others of path_below_resolve; -ENOENT it is missing and not
 * made; no @err is set. Owner of @ret_source: caller, free(). */
int create_sources_find(struct create *c, const char *path, const char *text, const char *options,
                        bool make, char **ret_source) MUST_CHECK;

/** Puts *@fd into c->sources as the mount point @name, which the caller of create_build
 * mounts.
 *  @text: for errors. @shared: see struct create_source. Returns 0, and *@fd is taken;
 *  -ENOMEM and other -errno, no @err is set. Owner of @ret_source, the path for Docker: caller,
 *  free(). */
int create_sources_hold(struct create *c, int *fd, const char *name, const char *text, bool shared,
                        char **ret_source) MUST_CHECK;
