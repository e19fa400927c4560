/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* driver_state: what Nomad stores for RecoverTask. Nomad returns it after a restart of the agent,
 * before the plugin has any configuration.
 *
 * It is a MessagePack map with the keys of Nomad's docker driver (ContainerID,
 * DriverNetwork, ReattachConfig; drivers/docker/handle.go of v1.6.3), so that each driver
 * can take over the other's tasks. Our own values are added under the one key "Paddock".
 * Both drivers ignore unknown keys. */
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
    /* The process id of the built-in driver's logger; 0 = none. We read it to end that process,
     * and never write it. */
    pid_t logger_pid;
    /* ---- only in states that this driver wrote ---- */
    bool ours;
    char *container_name, *image_id;
    /* The container's init process at the start; 0 = unknown. The number may belong to another
     * process by now, so check that its cgroup path contains the container's id. */
    int64_t pid;
    bool logs; /* its output is forwarded to Nomad */
    bool tty;
};

/** Appends @s to @out. NULL strings count as "". @s->ours is ignored: a written
 * state is always ours.
 *  Returns 0; -EINVAL when a port is not a number or container_id is empty; -EMSGSIZE beyond the
 *  limit of @out; -ENOMEM. Context: pure, any thread. */
int task_state_encode(const struct task_state *s, struct buf *out, struct err *err) MUST_CHECK;

/** Returns 0; -EINVAL (ERR_INVALID) when it is not such a state or has no container id; -ENOMEM.
 *  @ret: set on success only; strings that are absent are "". Owner: caller, task_state_done(). */
int task_state_decode(const void *data, size_t len, struct task_state *ret,
                      struct err *err) MUST_CHECK;
/** Frees the members and zeroes the struct. */
void task_state_done(struct task_state *s);
#define AUTO_TASK_STATE __attribute__((cleanup(task_state_done)))
