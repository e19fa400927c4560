#pragma once
/* What the pump does with a log FIFO besides opening it (logpump_fifo_open). */
#include "paddock/cleanup.h"

/** Finds the FIFO of @path as logpump_fifo_open does, without opening it.
 *  @ret_fd: O_PATH descriptor of what is there, of any kind; -EBADF when nothing is to be written.
 *  Returns 0; as logpump_fifo_open. Owner: caller. */
int pump_fifo_find(const char *path, int *ret_fd) MUST_CHECK;
