#pragma once
/* Where a path that a job names really leads. A task can plant symlinks in the folders that it
 * shares with the host, so the text of a path says nothing. */
#include "paddock/cleanup.h"
#include <sys/types.h>

#define PATH_BELOW_MAX 4096
#define PATH_BELOW_LINKS_MAX 40 /* as the kernel */

/** Where @path (absolute, cleaned) leads below @root (absolute, cleaned), all symlinks followed. A
 * symlink to an absolute path is followed when its text begins with @root. What does not exist
 * (yet) is taken as written.
 *  @ret_real: @root/..., no symlink in it but in @root itself. @ret_fd (may be NULL): O_PATH
 * descriptor of it, -EBADF when it does not exist. Returns 0; -EXDEV it leads out of @root; -ELOOP;
 * -ENOTDIR; -ENAMETOOLONG; -EACCES; -ENOMEM. Owner: caller. Context: any thread, local file system.
 */
int path_below_resolve(const char *root, const char *path, char **ret_real, int *ret_fd) MUST_CHECK;

/* Who owns a new file or directory. */
struct path_owner {
    uid_t uid;
    gid_t gid;
};

/** As path_below_resolve(), and makes the directories that are missing (mode 0755), none of them
 * through a symlink: @ret_fd is always an open descriptor. @owner: of these directories, NULL =
 * this process. Returns also -ENOENT when @root itself is missing; -ENOTDIR, -ELOOP when something
 * else is put in the place of a new directory. */
int path_below_make(const char *root, const char *path, const struct path_owner *owner,
                    char **ret_real, int *ret_fd) MUST_CHECK;
