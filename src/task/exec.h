/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* What task_exec.c and task_exec_stream.c, the two ways of running a command in a
 * container, share. */
#include "src/task/driver_priv.h"

/** The exit code of an exec that does not run. Docker has no code for an exec that it never
 * started, because the container was paused or had ended. The result is then 126, which does not
 * look like a success. */
int exec_code(const struct docker_exec_state *s);
/** Asks Docker until the exec has ended. (Its output may end a moment earlier.) Blocks on Docker.
 * Returns 0; -ETIMEDOUT; another -errno. */
int exec_wait_code(struct driver *d, const struct call *call, const char *exec_id, int *ret_code,
                   struct err *err) MUST_CHECK;
/** Ends an exec. Docker has no call for that, so a thread of the pool kills the exec's process,
 * after a check that the process is in the container's cgroup. Any thread. No effect when Docker is
 * on another machine. */
void exec_kill(struct driver *d, const char *container_id, const char *exec_id);
/** @r: result of docker_exec_start(). Returns whether Docker may start the exec although the
 * call failed. */
static inline bool exec_may_start(int r) {
    return r == -ETIMEDOUT || r == -ECANCELED || r == -ENOTCONN;
}
