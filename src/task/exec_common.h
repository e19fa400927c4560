#pragma once
/* What both ways of running a command in a container need. Both block on Docker. */
#include "driver_priv.h"

/** Asks until the exec has ended (its output may end a moment earlier). Returns 0; -ETIMEDOUT;
 * -errno. */
int exec_wait_code(struct driver *d, const struct call *call, const char *exec_id, int *ret_code,
                   struct err *err) MUST_CHECK;
/** Docker has no call that ends an exec: its process is killed, after a look that it is in the
 *  container's cgroup. No effect when Docker is on another machine. */
void exec_kill(struct driver *d, const char *container_id, const char *exec_id);
