/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The pump's private folder. It contains a lock for the one pump that serves it, the socket, and
 * the position files.
 *
 * The plugin or a pump makes it, whichever needs it first. The last pump removes it when no
 * position file is left. */
#include "paddock/cleanup.h"

struct pump_dir {
    const char *path; /* borrowed */
    int fd, lock_fd, records_fd;
};

/** Makes the folder @path (0700) and its parents. Returns 0, also when it exists; -errno. */
int pump_dir_make(const char *path) MUST_CHECK;

/** Opens the folder @path and takes its lock. @path is borrowed. Returns 0; 1 without the lock,
 * when another pump serves the folder or the folder was removed at this moment; -errno. @d is valid
 * for pump_dir_close() in any case. */
int pump_dir_open(const char *path, struct pump_dir *d) MUST_CHECK;
/** Makes the folder again when another program has removed it or a part of it. Returns 0 when
 * nothing was missing; 1 when it was made again, with the lock and new descriptors; -EBUSY when
 * another pump serves it now; -errno. On failure @d is unchanged. */
int pump_dir_restore(struct pump_dir *d) MUST_CHECK;
/** Releases the lock and closes @d. Before that it removes the socket, and the folder when it has
 * no position files. Removes nothing when the lock's file was removed. */
void pump_dir_close(struct pump_dir *d);

/** Calls @visit for each folder beside @own whose name is that of a pump's folder of the same
 * driver ("PARENT/DRIVER-0123456789abcdef"). Does not visit @own. */
void pump_dir_each_sibling(const char *own, void (*visit)(void *ctx, const char *path), void *ctx);

/** Cleans up what pumps of the same driver have left beside the folder @own. Removes position files
 * whose allocation is gone, and folders that no pump serves and that have no other position files.
 * Other position files stay, because the Nomad client that has their allocation may come back. What
 * fails is tried again at the next call. */
void pump_dir_sweep(const char *own);
