#pragma once
/* The folders between a container's own cgroup folder and the one of its init process. The pin
 * thread calls all of these functions. */
#include "paddock/cgroup.h"

struct pin_inner;

/** Opens the folders below @dir_path (the container's own one) down to @own (its process's one).
 *  *ret is NULL when they are the same folder. Returns 0; -ENOMEM. */
int pin_inner_open(int root_fd, const char *dir_path, const char *own,
                   struct pin_inner **ret) MUST_CHECK;
/** NULL allowed. Returns NULL. */
struct pin_inner *pin_inner_close(struct pin_inner *x);
/** Reads them again. Returns whether one has changed. NULL allowed. */
bool pin_inner_read(struct pin_inner *x, char *scratch, size_t size);
/** Writes @set to each that has a text of its own and another one. @up: from the innermost one on,
 * for a narrower set; else from the outermost one on. Returns how many writes failed. NULL allowed.
 */
unsigned pin_inner_write(struct pin_inner *x, const struct cpuset *set, bool up, char *scratch,
                         size_t size);
