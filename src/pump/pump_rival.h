/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Finds out whether the built-in driver has taken over a task's log.
 *
 * This happens when the agent was started again without our file in plugin_dir: its docker_logger
 * opens the task's two FIFOs. From then on two writers would deliver each line twice. No plugin is
 * left that could report this to the pump. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <sys/types.h>

/* The FIFOs that are open in processes with the argument `docker_logger`. */
struct pump_rivals {
    struct pump_rival_fifo {
        dev_t dev;
        ino_t ino;
    } * fifos;
    size_t n;
};

/** Scans all processes, once for any number of tasks. With a thousand tasks, a scan for each would
 * take longer than any plugin waits for the pump. @proc_fd: a directory of /proc; a process that
 * cannot be read there counts as one without FIFOs. Returns 0; -errno. Owner: caller,
 * pump_rivals_done(). Any thread. */
int pump_rivals_find(int proc_fd, struct pump_rivals *ret) MUST_CHECK;
/** Releases the list. */
void pump_rivals_done(struct pump_rivals *r);

/** Returns true when @fifo is one of them; false also when @fifo does not exist. */
bool pump_rivals_have(const struct pump_rivals *r, const char *fifo);
