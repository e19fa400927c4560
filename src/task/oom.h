#pragma once
/* Whether the kernel has killed something in a container for want of memory, from the source:
 * memory.events of its cgroup (v2), watched by inotify. Docker tells it too, but from another
 * process (containerd's shim) that races with the end it tells: when the victim was a child and its
 * parent ended at once, the end may come first, or the cgroup be gone before it was read.
 *
 * Costs one inotify watch a container, no fd. Where it cannot be watched (cgroup v1, no inotify
 * instance left) Docker's word is all there is. */
#include "paddock/loop.h"

#include <sys/types.h>

struct oom;

/** @told: something in this container was killed (once more); on the thread that looked, under our
 * lock: it must not call back. @proc_fd, @root_fd, @root: /proc and the cgroup
 * v2 root, borrowed;
 *  @ctx and they outlive it. Returns 0; -EMFILE no instance left; -ENOMEM. */
int oom_new(struct loop *loop, int proc_fd, int root_fd, const char *root,
            void (*told)(void *ctx, const char *container_id), void *ctx,
            struct oom **ret) MUST_CHECK;
/** After the loop has ended. NULL allowed, here and below. */
void oom_free(struct oom *o);

/** The container runs as @pid. What was killed in it before counts too. Any thread. */
void oom_watch(struct oom *o, pid_t pid, const char *container_id);
/** It has ended. Any thread. */
void oom_forget(struct oom *o, const char *container_id);

/** Tells what is known until now: before an end is judged. Any thread. */
void oom_look(struct oom *o);
