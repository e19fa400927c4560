#pragma once
/* What both ways of running a command in a container need. */
#include "driver_priv.h"

/** The exit code of one that does not run. One that Docker never started (the container was paused
 *  or has ended meanwhile) has none, and must not look like a success. */
int exec_code(const struct docker_exec_state *s);
/** Asks until the exec has ended (its output may end a moment earlier). Blocks on Docker. Returns
 * 0; -ETIMEDOUT; -errno. */
int exec_wait_code(struct driver *d, const struct call *call, const char *exec_id, int *ret_code,
                   struct err *err) MUST_CHECK;
/** Docker has no call that ends an exec: its process is killed, after a look that it is in the
 *  container's cgroup, from the pool. Any thread. No effect when Docker is on another machine. */
void exec_kill(struct driver *d, const char *container_id, const char *exec_id);
/** docker_exec_start gave @r: Docker may start it all the same? */
static inline bool exec_may_start(int r) {
    return r == -ETIMEDOUT || r == -ECANCELED || r == -ENOTCONN;
}
