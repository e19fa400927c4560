/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Finds the cgroup path of a process in the text of its /proc/<pid>/cgroup. Used by src/cgroup
 * only. Context: any thread, never logs. */
#include "paddock/cleanup.h"
#include <sys/types.h>

#define CGROUP_PATH_TEXT_MAX 8192

/** Reads /proc/<pid>/cgroup. A text with more than @size - 1 bytes is cut. @proc_fd: /proc.
 *  Returns 0; -ESRCH no such process; other -errno. */
int cgroup_path_read(int proc_fd, pid_t pid, char *out, size_t size) MUST_CHECK;

/** Copies the path in that text: from v2's "0::" line (@controller ""), or from the v1 line that
 * lists @controller. The path is cut after the component that contains @container_id; NULL = not
 * cut. @ret holds PATH_MAX. Returns 0; -ENODATA no such line or component; -ENAMETOOLONG. Pure. */
int cgroup_path_of(const char *proc_text, const char *controller, const char *container_id,
                   char *ret) MUST_CHECK;
