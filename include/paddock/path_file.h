/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Files in folders that a task can write to. Context of all functions: any thread,
 * local file system. */
#include "paddock/cleanup.h"
#include "paddock/path_below.h"
#include <stddef.h>

/** Opens a stored file at @path (absolute, cleaned) for reading, without waiting. @root: the file
 * must be below it, see path_below_resolve() (NULL = anywhere).
 *  Returns 0; -EXDEV when it leads out of @root; -ENOENT; -EINVAL when it is not a regular file;
 *  -ENODATA when it is empty, or when its file system has no stored files (procfs, sysfs and the
 *  like); other -errno. A refused file is not opened: the kernel makes up the files of procfs
 *  while they are read, and a read of /proc/kmsg takes the messages that another reader waits
 *  for. Owner: caller. */
int path_file_open_stored(const char *root, const char *path, int *ret_fd) MUST_CHECK;

/** Reads the text of a regular file. Returns as path_file_open_stored(), but accepts an empty file
 * and any file system. Also returns -EINVAL for a NUL byte; -EFBIG for more than @limit bytes;
 * -ENOMEM. Owner: caller, free(). */
int path_file_read(const char *root, const char *path, size_t limit, char **ret_text) MUST_CHECK;
/** The same as path_file_read(), but refuses what path_file_open_stored() refuses. */
int path_file_read_stored(const char *root, const char *path, size_t limit,
                          char **ret_text) MUST_CHECK;

/* How a generated file is put in place. */
enum path_file_how {
    PATH_FILE_REPLACE,   /* replaces any existing file, symlinks too */
    PATH_FILE_IF_ABSENT, /* keeps an existing regular file */
};

/** Writes @text to @dir/@name, mode 0644, in one step: readers see all of it or nothing. @dir is
 * resolved below @root as by path_below_resolve(). No symlink is followed. @owner: of the file;
 * NULL = the user of this process.
 *  Returns 0 when there was nothing to do; 1 when written; -EXDEV; -EEXIST when the existing file
 *  is not a regular file; other -errno. */
int path_file_write(const char *root, const char *dir, const char *name, const char *text,
                    const struct path_owner *owner, enum path_file_how how) MUST_CHECK;
