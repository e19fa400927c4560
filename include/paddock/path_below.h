/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Resolves a path that a job names. A task can place symlinks in the folders that it shares with
 * the host, so the text of a path does not show where it leads. */
#include "paddock/cleanup.h"
#include <sys/types.h>

#define PATH_BELOW_MAX 4096
#define PATH_BELOW_LINKS_MAX 40 /* as in the kernel */

/** Resolves @path (absolute, cleaned) below @root (absolute, cleaned) and follows all symlinks. A
 * symlink to an absolute path is followed when its text begins with @root. A part that does not
 * exist (yet) is taken as written.
 *  @ret_real: @root/..., without any symlink except in @root itself.
 *  @ret_fd (may be NULL): an O_PATH descriptor of it, or -EBADF when it does not exist.
 *  Returns 0; -EXDEV when the path leads out of @root; -ELOOP; -ENOTDIR; -ENAMETOOLONG; -EACCES;
 *  -ENOMEM. Owner: caller. Context: any thread, local file system. */
int path_below_resolve(const char *root, const char *path, char **ret_real, int *ret_fd) MUST_CHECK;

/* The owner of a new file or directory. */
struct path_owner {
    uid_t uid;
    gid_t gid;
};

/** Like path_below_resolve(), but also makes missing directories (mode 0755), none of them through
 * a symlink. @ret_fd is always an open descriptor. @owner: of these directories; NULL = the user of
 * this process. Also returns -ENOENT when @root itself is missing, and -ENOTDIR or -ELOOP when
 * something else takes the place of a new directory. */
int path_below_make(const char *root, const char *path, const struct path_owner *owner,
                    char **ret_real, int *ret_fd) MUST_CHECK;
