#pragma once
/* Whether a task's log has gone over to the built-in driver: the agent was started again without
 * our file in plugin_dir, and its docker_logger has opened the task's FIFO. Two writers would give
 * each line twice from then on, and nobody else is there to tell the pump. */
#include "paddock/cleanup.h"
#include <stdbool.h>

/** Does a process with the argument `docker_logger` have @fifo open? @proc_fd: a directory of
 *  /proc. False for a @fifo that is not there and for what cannot be read. Any thread. */
bool pump_rival_has(int proc_fd, const char *fifo);
