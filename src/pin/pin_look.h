/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* One check of one task: read, decide, write. */
#include <stdbool.h>
#include <stdint.h>

struct pin;
struct pin_task;

/** Checks @t. Pin thread, lock held. */
void pin_look(struct pin *p, struct pin_task *t, bool at_tick, uint64_t now_us);
