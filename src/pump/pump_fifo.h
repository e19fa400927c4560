/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Finds a log FIFO by the same rules as pump_fifo_open(). */
#include "paddock/cleanup.h"

/** Finds the FIFO @path as pump_fifo_open() does, without opening it. @ret_fd: an O_PATH
 * descriptor of the file there, which can be of any type; -EBADF when nothing is to be written.
 * Returns 0; the errors of pump_fifo_open(). Owner: caller. Context: any thread. */
int pump_fifo_find(const char *path, int *ret_fd) MUST_CHECK;
