#pragma once
/* A cgroup v2 folder's cpuset files on held fds, and where a container's folder is.
 *
 * A held fd read with pread(.., 0) is always fresh and 12 times cheaper than
 * open+read+close; after the cgroup is gone both read and write give ENODEV. Roots are the caller's
 * fds, so that a plain folder serves as a tree in tests. Any thread; no locks, no logs. */
#include "paddock/cpuset.h"
#include <sys/types.h>

/* One cpuset file: the fd, and what was read last. Text that has not changed is not parsed again.
 */
struct cgroup_file {
    int fd; /* -EBADF = not open */
    bool read_only;
    int r; /* result of the last read: 0, -ENODATA blank, -errno; -EBADF before the first one */
    size_t len; /* of the text in the file; the memo below holds it when it fits */
    char memo[192];
    struct cpuset set; /* valid while r == 0, empty otherwise */
};

/** An unopened file. */
#define CGROUP_FILE_NONE ((struct cgroup_file){.fd = -EBADF, .r = -EBADF})

/** Opens @name in @dir_fd: for reading and writing when it can be, else for reading.
 *  Returns 0; -errno. */
int cgroup_file_open(int dir_fd, const char *name, struct cgroup_file *ret) MUST_CHECK;
void cgroup_file_close(struct cgroup_file *f);

/** Reads the file again. Never allocates, never opens.
 *  @scratch, @size: the caller's buffer, CPUSET_TEXT_MAX bytes.
 *  Returns 1 when the content has changed, else 0; f->r is the result of the read. */
int cgroup_file_read(struct cgroup_file *f, char *scratch, size_t size) MUST_CHECK;

/** Writes @set in one write(2), as list text with a newline. More newlines cover the rest of a
 * longer old text in a plain file; the kernel strips them. f->set is @set afterwards. Returns 0;
 * -ENODEV the cgroup was removed; -ENOSPC, -EBUSY, -EINVAL, -EACCES from the kernel; -EACCES also
 * for a file that could be opened for reading only; -EINVAL for the empty set, which would mean
 * "the ancestor's". */
int cgroup_file_write(struct cgroup_file *f, const struct cpuset *set, char *scratch,
                      size_t size) MUST_CHECK;

/** Opens a folder of the tree. @path: below @root_fd, "/" in front allowed; ".." is refused.
 *  Returns the fd (O_PATH); -EINVAL; -errno. */
int cgroup_dir_open(int root_fd, const char *path) MUST_CHECK;

/** The container's own folder: the path of /proc/<pid>/cgroup, cut back to the component that
 * contains the id (a container that runs systemd moves itself below), checked by cgroup.procs.
 *  When the process moves between the two reads, both are repeated once.
 *  @ret_path: PATH_MAX bytes, the path below the root without "/" in front.
 *  @ret_own: PATH_MAX bytes, the path of the process's own folder, which is that one or below it;
 * NULL allowed. Returns its fd (O_PATH); -ESRCH no such process; -ENODATA it is in no cgroup of
 * that name; -ESTALE the process is not in the folder that /proc names; -EXDEV the folder is
 * outside of our mount; -errno. */
int cgroup_container_open(int proc_fd, int root_fd, pid_t pid, const char *container_id,
                          char *ret_path, char *ret_own) MUST_CHECK;
