#pragma once
/* Paths that a job names. What it may reach is the folder of its allocation; a path is judged by
 * where it really leads, for the task can plant symlinks in the folders that it shares with the
 * host.
 *
 * The walk opens one component after the other with O_PATH|O_NOFOLLOW from a held directory and
 * reads symlinks itself, so that nothing can change between looking and going on. (openat2 with
 * RESOLVE_BENEATH would say yes or no alone; the walk also yields the path without symlinks, which
 * Docker is given, and works where openat2 is missing or filtered.) */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stddef.h>

#define DOCKER_CREATE_PATH_MAX 4096
#define DOCKER_CREATE_LINKS_MAX 40 /* as the kernel */

/** The shortest text of the same path, by text alone: no "//", no ".", ".." taken back ("/.." is
 * "/").
 *  "" gives ".". Owner: caller, free(). NULL without memory. Context: pure. */
char *docker_create_path_clean(const char *path);

/** @path when absolute, else @base/@path; cleaned. Owner: caller, free(). NULL without memory. */
char *docker_create_path_join(const char *base, const char *path);

/** Where @path (absolute, cleaned) leads below @root (absolute, cleaned), all symlinks followed. A
 * symlink to an absolute path is followed when its text begins with @root. What does not exist
 * (yet) is taken as written.
 *  @ret_real: @root/..., no symlink in it but in @root itself. @ret_fd (may be NULL): O_PATH
 * descriptor of it, -EBADF when it does not exist. Returns 0; -EXDEV it leads out of @root; -ELOOP;
 * -ENOTDIR; -ENAMETOOLONG; -EACCES; -ENOMEM. Owner: caller. Context: any thread, local file system.
 */
int docker_create_path_resolve(const char *root, const char *path, char **ret_real,
                               int *ret_fd) MUST_CHECK;

/** The same, and directories that are missing are made (mode 0755), none of them through a symlink:
 * @ret_fd is always an open descriptor. -ENOENT also when @root itself is missing; -ENOTDIR, -ELOOP
 * when something else is put in the place of a new directory. */
int docker_create_path_make(const char *root, const char *path, char **ret_real,
                            int *ret_fd) MUST_CHECK;

/** Opens a regular file for reading; does not wait for anything. @root: it must lie below (NULL =
 * anywhere). @path: absolute, cleaned. Returns 0; -EXDEV as above; -ENOENT; -EINVAL no regular
 * file; other -errno. Owner: caller. */
int docker_create_path_open(const char *root, const char *path, int *ret_fd) MUST_CHECK;

/** The text of such a file. Returns 0; as docker_create_path_open; -EINVAL also for a NUL byte;
 * -EFBIG more than @limit bytes; -ENOMEM. Owner: caller, free(). */
int docker_create_path_read(const char *root, const char *path, size_t limit,
                            char **ret_text) MUST_CHECK;
/** The same for a file that must have content. -ENODATA when its size is 0, and it is then not
 * opened: procfs and tracefs show that size, and reading some of their files takes what another
 * reader waits for (/proc/kmsg). */
int docker_create_path_read_filled(const char *root, const char *path, size_t limit,
                                   char **ret_text) MUST_CHECK;

/* How a generated file comes into being. */
enum docker_create_path_write {
    DOCKER_CREATE_PATH_REPLACE,   /* whatever was there, symlinks too, is replaced */
    DOCKER_CREATE_PATH_IF_ABSENT, /* a regular file that is there stays */
};

/** Writes @text to @dir/@name, mode 0644, in one step: readers see all of it or nothing. @dir is
 * found as docker_create_path_resolve finds it below @root. No symlink is followed. Returns 0
 * nothing to do; 1 written; -EXDEV; -EEXIST what is there is no regular file; other -errno. */
int docker_create_path_write(const char *root, const char *dir, const char *name, const char *text,
                             enum docker_create_path_write how) MUST_CHECK;
