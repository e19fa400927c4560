/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* What the tests of the log pump share: a world with one task, "web", that runs, and readers for
 * its FIFOs. The fake's numbered lines alternate: three on stdout, one on stderr. */
#include "fake/task_world.h"

#define PUMP_WORLD_RUNS "{\"image\":\"busybox\",\"command\":\"sleep\"}"
#define PUMP_WORLD_TERMINAL "{\"image\":\"busybox\",\"command\":\"sleep\",\"tty\":true}"
#define PUMP_WORLD_HASTY_MS 200

struct pump_world {
    struct world w;
    struct task_config task;
    struct reader out, err;
};

/** cmocka's setup: the default; with Docker calls that end after PUMP_WORLD_HASTY_MS; with a
 * TTY. */
int pump_world_setup(void **state);
int pump_world_setup_hasty(void **state);
int pump_world_setup_tty(void **state);
int pump_world_teardown(void **state);

/** Readers for both FIFOs. */
void pump_world_read(struct pump_world *x);
/** The task prints @text on stdout, as one message. */
void pump_world_print(struct pump_world *x, const char *text);
/** The task prints @count numbered lines of up to @max bytes. */
void pump_world_lines(struct pump_world *x, unsigned count, unsigned max);
/** The numbered lines must have arrived from 0 on, each once and whole. Returns how many. */
unsigned pump_world_count(struct reader *r);
/** Ends the task. Exactly @out and @err lines must have arrived when the FIFOs end. */
void pump_world_end(struct pump_world *x, unsigned out, unsigned err);

/** True when the process, a child of this one, has ended. A request on its socket would keep it
 * alive. */
bool pump_world_has_ended(void *pid);
/** Waits until the pump is another process than @first. */
void pump_world_until_other(struct pump_world *x, pid_t first);
long pump_world_rss_kb(pid_t pid);

#define PUMP_WORLD_T(f) cmocka_unit_test_setup_teardown(f, pump_world_setup, pump_world_teardown)
#define PUMP_WORLD_HASTY(f)                                                                        \
    cmocka_unit_test_setup_teardown(f, pump_world_setup_hasty, pump_world_teardown)
#define PUMP_WORLD_TTY(f)                                                                          \
    cmocka_unit_test_setup_teardown(f, pump_world_setup_tty, pump_world_teardown)
