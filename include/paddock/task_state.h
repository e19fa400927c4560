#pragma once
/* driver_state: what Nomad keeps for RecoverTask and gives back after a restart of the agent,
 * before any configuration is there. A MessagePack map with the keys of Nomad's docker driver
 * (ContainerID, DriverNetwork, ReattachConfig; drivers/docker/handle.go of v1.6.3), so that each
 * driver can take over the other's tasks, and ours beside them under the one key "Paddock". Unknown
 * keys are ignored by both. */
#include "paddock/buf.h"
#include "paddock/err.h"
#include "paddock/strv.h"

#include <stdbool.h>
#include <sys/types.h>

struct task_state {
    char *container_id;
    bool has_network;
    struct kvs port_map; /* label -> port, decimal */
    char *ip;
    bool auto_advertise;
    /* The built-in driver's logger process; we write none and read it to end it. 0 = none. */
    pid_t logger_pid;
    /* ---- ours; not set in the built-in driver's states ---- */
    bool ours;
    char *container_name, *image_id;
    /* The container's init process at the start; 0 = not known. The number may belong to another
     * process by now: its cgroup path must contain the container's id. */
    int64_t pid;
    bool logs; /* its output is brought to Nomad */
    bool tty;
};

/** Appends to @out; NULL strings count as "". @s->ours is not looked at: what is written is ours.
 *  Returns 0; -EINVAL a port is not a number or container_id is empty; -EMSGSIZE beyond @out's
 * limit; -ENOMEM. Context: pure, any thread. */
int task_state_encode(const struct task_state *s, struct buf *out, struct err *err) MUST_CHECK;

/** Returns 0; -EINVAL (ERR_INVALID): not such a state, or without a container id; -ENOMEM.
 *  @ret: set on success only; its strings are "" when not told. Owner: caller, task_state_done. */
int task_state_decode(const void *data, size_t len, struct task_state *ret,
                      struct err *err) MUST_CHECK;
void task_state_done(struct task_state *s);
#define AUTO_TASK_STATE __attribute__((cleanup(task_state_done)))
