/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Reads and writes the cpuset files of a cgroup v2 folder through open fds, and finds a
 * container's folder.
 *
 * Reading an open fd with pread(.., 0) always returns the current contents, and is 12 times cheaper
 * than open+read+close. After the cgroup was removed, read and write return ENODEV. The caller
 * passes the roots as fds, so that a plain folder can be the cgroup tree in tests. Any thread; no
 * locks, no logs. */
#include "paddock/cpuset.h"
#include <sys/types.h>

/* One cpuset file: the fd, and the result of the last read. Text that has not changed is not
 * parsed again. */
struct cgroup_file {
    int fd; /* -EBADF = not open */
    bool read_only;
    int r; /* result of the last read: 0, -ENODATA blank, -errno; -EBADF before the first one */
    size_t len; /* length of the file's text; @memo contains the text when it fits */
    char memo[192];
    struct cpuset set; /* valid while r == 0, empty otherwise */
};

/** An unopened file. */
#define CGROUP_FILE_NONE ((struct cgroup_file){.fd = -EBADF, .r = -EBADF})

/** Opens @name in @dir_fd: for reading and writing when that is allowed, else for reading.
 *  Returns 0; -errno. */
int cgroup_file_open(int dir_fd, const char *name, struct cgroup_file *ret) MUST_CHECK;
/** Closes the file. f->fd and f->r are -EBADF afterwards. A closed file may be closed again. */
void cgroup_file_close(struct cgroup_file *f);

/** Reads the file again. Never allocates memory, never opens a file.
 *  @scratch, @size: the caller's buffer, CPUSET_TEXT_MAX bytes.
 *  Returns 1 when the content has changed, else 0; f->r is the result of the read. */
int cgroup_file_read(struct cgroup_file *f, char *scratch, size_t size) MUST_CHECK;

/** Writes @set in one write(2), as list text with a newline. In a plain file, more newlines
 * overwrite the rest of a longer old text; the kernel strips them. f->set is @set afterwards.
 * Returns 0; -ENODEV when the cgroup was removed; -ENOSPC, -EBUSY, -EINVAL or -EACCES from the
 * kernel; -EACCES also for a file that could be opened for reading only; -EINVAL for the empty set,
 * which would mean the ancestor's set. */
int cgroup_file_write(struct cgroup_file *f, const struct cpuset *set, char *scratch,
                      size_t size) MUST_CHECK;

/** Opens a folder of the tree. @path: relative to @root_fd, a leading "/" is allowed; ".."
 * is refused.
 *  Returns the fd (O_PATH); -EINVAL; -errno. */
int cgroup_dir_open(int root_fd, const char *path) MUST_CHECK;

/** Opens the container's own folder. Its path is that of /proc/<pid>/cgroup, cut after the
 * component that contains the id, because a container that runs systemd moves its processes below
 * its own folder. The folder must list the process in cgroup.procs.
 *  When the process moves between the two reads, both are repeated once.
 *  @ret_path: PATH_MAX bytes, the path relative to the root without a leading "/".
 *  @ret_own: PATH_MAX bytes, the path of the process's own folder, which is the container's folder
 * or below it; NULL allowed. Returns the fd (O_PATH) of the container's folder; -ESRCH no such
 * process; -ENODATA the process is in no cgroup with that id; -ESTALE the process is not in the
 * folder that /proc names; -EXDEV the folder is outside of our mount; other -errno. */
int cgroup_container_open(int proc_fd, int root_fd, pid_t pid, const char *container_id,
                          char *ret_path, char *ret_own) MUST_CHECK;
