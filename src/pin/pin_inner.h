/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The folders between a container's own cgroup folder and the one of its init process. The pin
 * thread calls all of these functions. */
#include "paddock/cgroup.h"

struct pin_inner;

/** Opens the folders below @dir_path (the container's own folder) down to @own (the folder of
 * its process).
 *  *ret is NULL when both are the same folder. Returns 0; -ENOMEM. */
int pin_inner_open(int root_fd, const char *dir_path, const char *own,
                   struct pin_inner **ret) MUST_CHECK;
/** Closes all and frees @x. NULL allowed. Returns NULL. */
struct pin_inner *pin_inner_close(struct pin_inner *x);
/** Reads all levels again. Returns true when one of them has changed. NULL allowed. */
bool pin_inner_read(struct pin_inner *x, char *scratch, size_t size);
/** Writes @set to each level that has a different set of its own. @up: starts with the innermost
 * level, for a narrower set; else with the outermost one. Returns how many writes failed.
 * NULL allowed. */
unsigned pin_inner_write(struct pin_inner *x, const struct cpuset *set, bool up, char *scratch,
                         size_t size);
