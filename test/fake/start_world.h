/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* What the tests of StartTask share: starts that must fail, starts in a thread of their own, and
 * containers that already have the task's name. The world is task_world.h's. Every function fails
 * the test itself. */
#include "fake/task_world.h"

/** cmocka's setup: a world whose task is not started; the same with Docker calls that end after
 * WORLD_HASTY_MS. */
int start_world_setup(void **state);
int start_world_setup_hasty(void **state);

/** StartTask that must fail. Returns its negative errno; @ret_err contains the error. */
int start_world_fails(struct world_web *x, struct err *ret_err);
/** Fails the test unless nothing is left of the failed start: the task is unknown, no image is
 * held, the FIFOs are closed, and Docker has @containers containers. */
void start_world_undone(struct world_web *x, unsigned containers);

/** Makes a container that has the name of x's task and belongs to task @task_id; @running: starts
 * it, too. */
void start_world_conflict(struct world_web *x, const char *task_id, bool running);

/* A StartTask in a thread of its own. cancel_fire(&cancel) is its client that disconnects. */
struct start_attempt {
    struct world_web *x;
    const struct task_config *task;
    struct cancel cancel;
    pthread_t thread;
    int r;
};
/** Begins it; @task must stay until start_world_end(). */
void start_world_begin(struct start_attempt *a, struct world_web *x,
                       const struct task_config *task);
/** Waits for its end. Returns what task_start() returned. */
int start_world_end(struct start_attempt *a);

#define START_WORLD_T(f) cmocka_unit_test_setup_teardown(f, start_world_setup, world_web_teardown)
#define START_WORLD_HASTY(f)                                                                       \
    cmocka_unit_test_setup_teardown(f, start_world_setup_hasty, world_web_teardown)
