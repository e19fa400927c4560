#pragma once
/* Files in folders that a task can write to. Context of all: any thread, local file system. */
#include "paddock/cleanup.h"
#include <stddef.h>

/** Opens the regular file @path (absolute, cleaned) for reading, without waiting. @root: the file
 * must lie below it, see path_below_resolve() (NULL = anywhere). Returns 0; -EXDEV it leads out of
 * @root; -ENOENT; -EINVAL no regular file; other -errno. Owner: caller. */
int path_file_open(const char *root, const char *path, int *ret_fd) MUST_CHECK;

/** Reads the text of such a file. Returns as path_file_open; -EINVAL also for a NUL byte; -EFBIG
 * more than @limit bytes; -ENOMEM. Owner: caller, free(). */
int path_file_read(const char *root, const char *path, size_t limit, char **ret_text) MUST_CHECK;
/** The same for a file that must have content. Returns -ENODATA when its size is 0, and it is then
 * not opened: procfs and tracefs show that size, and reading some of their files takes what another
 * reader waits for (/proc/kmsg). */
int path_file_read_filled(const char *root, const char *path, size_t limit,
                          char **ret_text) MUST_CHECK;

/* How a generated file comes into being. */
enum path_file_how {
    PATH_FILE_REPLACE,   /* whatever was there, symlinks too, is replaced */
    PATH_FILE_IF_ABSENT, /* a regular file that is there stays */
};

/** Writes @text to @dir/@name, mode 0644, in one step: readers see all of it or nothing. @dir is
 * found as path_below_resolve finds it below @root. No symlink is followed. Returns 0
 * nothing to do; 1 written; -EXDEV; -EEXIST what is there is no regular file; other -errno. */
int path_file_write(const char *root, const char *dir, const char *name, const char *text,
                    enum path_file_how how) MUST_CHECK;
