#pragma once
/* How a new pump succeeds older ones: their FIFOs are held open, they are ended, and their position
 * files are its own from then on. So a task's output goes on after the last byte, and logmon never
 * sees an end of file. */
#include "pump_dir.h"

#include <jansson.h>
#include <stddef.h>

/* Write ends of FIFOs. */
struct pump_held {
    int *fds;
    size_t n;
};
void pump_held_done(struct pump_held *h);

/** Another pump has the lock of the folder @dir. Returns 0: it was of another kind than @hello and
 * has ended, the lock is free; 1: it is of the same kind, or does not listen (it starts or ends);
 * -errno. Blocks up to 15 s. */
int pump_succeed_here(const char *dir, const json_t *hello, struct pump_held *held) MUST_CHECK;

/** Takes over what pumps of other folders beside @own have of the Nomad client whose allocations
 * are below @allocs: up to version 0.2 a folder's name depended on Docker's endpoint and on the
 * host's name. What fails is logged. Blocks up to 15 s for each pump. */
void pump_succeed_siblings(const struct pump_dir *own, const char *allocs, struct pump_held *held);
