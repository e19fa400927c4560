#pragma once
/* Files in folders that a task can write to. Context of all: any thread, local file system. */
#include "paddock/cleanup.h"
#include "paddock/path_below.h"
#include <stddef.h>

/** Opens a file that somebody stored: @path (absolute, cleaned) for reading, without waiting.
 * @root: the file must lie below it, see path_below_resolve() (NULL = anywhere).
 *  Returns 0; -EXDEV it leads out of @root; -ENOENT; -EINVAL no regular file; -ENODATA it is empty,
 * or its file system has no stored files (procfs, sysfs and the like); other -errno. What is
 * refused is not opened: the kernel makes up the files of procfs as they are read, and a read of
 * /proc/kmsg takes what another reader waits for. Owner: caller. */
int path_file_open_stored(const char *root, const char *path, int *ret_fd) MUST_CHECK;

/** Reads the text of a regular file. Returns as path_file_open_stored(), but reads an empty file
 * and one of any file system; -EINVAL also for a NUL byte; -EFBIG more than @limit bytes; -ENOMEM.
 * Owner: caller, free(). */
int path_file_read(const char *root, const char *path, size_t limit, char **ret_text) MUST_CHECK;
/** The same for a file that somebody stored. */
int path_file_read_stored(const char *root, const char *path, size_t limit,
                          char **ret_text) MUST_CHECK;

/* How a generated file comes into being. */
enum path_file_how {
    PATH_FILE_REPLACE,   /* whatever was there, symlinks too, is replaced */
    PATH_FILE_IF_ABSENT, /* a regular file that is there stays */
};

/** Writes @text to @dir/@name, mode 0644, of @owner (NULL = this process), in one step: readers see
 * all of it or nothing. @dir is found as path_below_resolve finds it below @root. No symlink is
 * followed. Returns 0 nothing to do; 1 written; -EXDEV; -EEXIST what is there is no regular file;
 * other -errno. */
int path_file_write(const char *root, const char *dir, const char *name, const char *text,
                    const struct path_owner *owner, enum path_file_how how) MUST_CHECK;
