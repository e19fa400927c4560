/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Opens files that another party may have placed or may swap: a job, its containers, another local
 * user. Such a file has two dangers:
 * - A symbolic link anywhere in the path leads this process, which is root, to a file that the
 *   author of the link cannot reach. path_walk() follows no link.
 * - Opening some kinds of files has an effect: a watchdog starts to count, a tape rewinds, a
 *   terminal becomes the controlling one. The path_open_ functions therefore check the kind through
 *   an O_PATH descriptor, which opens nothing. Then they open the file that they checked (through
 *   /proc/self/fd), even when its name leads elsewhere by then. */
#include "paddock/cleanup.h"

#include <stdbool.h>
#include <sys/types.h>

/** Walks @path below the directory @dir_fd, one component after the other. Leading
 * slashes are ignored.
 *  @ret_fd: an O_PATH descriptor of the file that @path names, of any kind.
 *  Returns 0; -ELOOP when a component, also the last one, is a symbolic link; -EXDEV when one is
 *  ".."; -ENOENT; -ENOTDIR; -ENAMETOOLONG; another -errno of openat().
 *  Owner: caller. Context: any thread, local file system. */
int path_walk(int dir_fd, const char *path, int *ret_fd) MUST_CHECK;

/** True when the process @pid is in the mount namespace of this process, so that a path means the
 * same file to both. False also when that cannot be read.
 *  @proc_fd: of /proc. */
bool path_shares_mounts(int proc_fd, pid_t pid);

/** Opens @path with O_PATH and follows links, for the path_open_ functions. Use it for paths whose
 * links the caller trusts. Returns 0 or -errno. Owner: caller. */
int path_find(const char *path, int *ret_fd) MUST_CHECK;

/** Opens the regular file of the O_PATH descriptor @at_fd for reading.
 *  Returns 0; -EINVAL when it is not a regular file (which is then not opened); -EAGAIN when
 *  another process holds a lease on it; -errno. Owner: caller. Does not block. */
int path_open_regular(int at_fd, int *ret_fd) MUST_CHECK;

/** Opens the FIFO of the O_PATH descriptor @at_fd with O_NONBLOCK, and with O_RDWR so that its
 * reader may come and go.
 *  Returns 0; -EINVAL when it is not a FIFO (which is then not opened); -errno. Owner: caller. */
int path_open_fifo(int at_fd, int *ret_fd) MUST_CHECK;
