#pragma once
/* The pump's private folder: a lock for the one pump that serves it, the socket, the positions. It
 * is made by whoever comes first (the plugin, or a pump) and goes with the last pump that leaves
 * nothing in it. */
#include "paddock/cleanup.h"

struct pump_dir {
    const char *path; /* borrowed */
    int fd, lock_fd, records_fd;
};

/** Makes the folder @path (0700) and those above it. One that is there: 0. Returns 0; -errno. */
int pump_dir_make(const char *path) MUST_CHECK;

/** Takes the lock of the folder @path. Returns 0; 1: another pump serves it, or it went away just
 *  now: nothing is held; -errno. @d: valid for pump_dir_close in any case. */
int pump_dir_open(const char *path, struct pump_dir *d) MUST_CHECK;
/** Somebody may have removed the folder, or part of it: makes it again. Returns 0: nothing was
 * missing; 1: made again, with the lock and new descriptors; -EBUSY: another pump serves it now;
 * -errno. */
int pump_dir_restore(struct pump_dir *d) MUST_CHECK;
/** Gives the lock back; a folder without positions is removed before. */
void pump_dir_close(struct pump_dir *d);

/** Calls @visit for each folder beside @own ("PARENT/DRIVER-0123456789abcdef") that has the name of
 * a pump's folder of the same driver. */
void pump_dir_each_sibling(const char *own, void (*visit)(void *ctx, const char *path), void *ctx);

/** Removes what pumps have left beside the folder @own, of the same driver: folders that no pump
 * serves, and of their positions those whose allocation is gone, for a Nomad client that still has
 * it may come back. What fails stays for the next time. */
void pump_dir_sweep(const char *own);
