#pragma once
/* Whether a task's log has gone over to the built-in driver: the agent was started again without
 * our file in plugin_dir, and its docker_logger has opened the task's two FIFOs. Two writers would
 * give each line twice from then on, and nobody else is there to tell the pump. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <sys/types.h>

/* The FIFOs that processes with the argument `docker_logger` have open. */
struct pump_rivals {
    struct pump_rival_fifo {
        dev_t dev;
        ino_t ino;
    } * fifos;
    size_t n;
};

/** Looks through all processes, once for any number of tasks: with a thousand of them a look for
 * each would take longer than anybody waits for the pump. @proc_fd: a directory of /proc; what
 * cannot be read there has none. Returns 0; -errno. Owner: caller, pump_rivals_done. Any thread. */
int pump_rivals_find(int proc_fd, struct pump_rivals *ret) MUST_CHECK;
void pump_rivals_done(struct pump_rivals *r);

/** Is @fifo one of them? False when it is not there. */
bool pump_rivals_have(const struct pump_rivals *r, const char *fifo);
