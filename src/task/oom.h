/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Finds out whether the kernel has killed a process in a container because memory was used up. The
 * source is memory.events of the container's cgroup (v2), watched by inotify.
 *
 * Docker reports such kills, too, but from another process (containerd's shim), which races with
 * the end of the container. When the victim was a child and its parent ended immediately, the end
 * may be reported first, or the cgroup may be removed before it was read.
 *
 * A container costs one inotify watch and no file descriptor. Where the file cannot be watched
 * (cgroup v1, no inotify instance left), Docker's report is the only source. */
#include "paddock/loop.h"

#include <sys/types.h>

struct oom;

/** @killed: called when a process in the container was killed (once more). It runs on the thread
 * that read the file. Our lock may be held then, so it must not call back. @proc_fd, @root_fd,
 * @root: /proc and the cgroup v2 root. They are borrowed; they and @ctx must outlive the object.
 * Returns 0; -EMFILE when no inotify instance is left; -ENOMEM. Owner: caller, oom_free(). */
int oom_new(struct loop *loop, int proc_fd, int root_fd, const char *root,
            void (*killed)(void *ctx, const char *container_id), void *ctx,
            struct oom **ret) MUST_CHECK;
/** Call it after the loop has ended. In this and all functions below @o may be NULL. */
void oom_free(struct oom *o);

/** The container runs as @pid. Kills from before this call count, too. Any thread. */
void oom_watch(struct oom *o, pid_t pid, const char *container_id);
/** The container has ended: removes the watch. Any thread. */
void oom_forget(struct oom *o, const char *container_id);

/** Reads the pending inotify events and calls @killed for new kills. Call it before an end is
 * judged. Any thread. */
void oom_look(struct oom *o);
