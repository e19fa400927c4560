#pragma once
/* Opening files that somebody else may have placed or may swap: a job, its containers, another
 * local user. Two dangers come with such a file:
 * - A symbolic link anywhere in the path leads this process, which is root, to a file that the
 *   link's author cannot reach. path_walk() follows no link.
 * - Opening some kinds of files already does something: a watchdog starts to count, a tape rewinds,
 *   a terminal becomes the controlling one. The path_open_ functions therefore look at the kind
 *   through an O_PATH descriptor, which opens nothing, and then open the very file they looked at
 *   (through /proc/self/fd), whatever its name leads to by then. */
#include "paddock/cleanup.h"

#include <stdbool.h>
#include <sys/types.h>

/** Walks @path below the directory @dir_fd, one component after the other. Leading slashes mean
 * nothing.
 *  @ret_fd: O_PATH descriptor of what @path names, of any kind.
 *  Returns 0; -ELOOP when a component, also the last one, is a symbolic link; -EXDEV when one is
 *  ".."; -ENOENT; -ENOTDIR; -ENAMETOOLONG; another -errno of openat().
 *  Owner: caller. Context: any thread, local file system. */
int path_walk(int dir_fd, const char *path, int *ret_fd) MUST_CHECK;

/** Is the process @pid in this process's mount namespace, so that a path means the same file to
 * both?
 * @proc_fd: /proc. False also when that cannot be read. */
bool path_shares_mounts(int proc_fd, pid_t pid);

/** Opens @path itself with O_PATH, links followed, for the path_open_ functions: for paths whose
 * links the caller trusts. Returns 0; -errno. Owner: caller. */
int path_find(const char *path, int *ret_fd) MUST_CHECK;

/** Opens the regular file of the O_PATH descriptor @at_fd for reading.
 *  Returns 0; -EINVAL when it is no regular file, which is then not opened; -EAGAIN when another
 *  process holds a lease of it; -errno. Owner: caller. Does not block. */
int path_open_regular(int at_fd, int *ret_fd) MUST_CHECK;

/** Opens the FIFO of the O_PATH descriptor @at_fd, O_RDWR so that its reader may come and go, and
 * O_NONBLOCK.
 *  Returns 0; -EINVAL when it is no FIFO, which is then not opened; -errno. Owner: caller. */
int path_open_fifo(int at_fd, int *ret_fd) MUST_CHECK;
