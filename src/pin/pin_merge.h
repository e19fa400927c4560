/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Merges the task store's snapshot into the reconciler's list. */

struct pin;

/** Asks for a snapshot and merges it. On failure p->want_snapshot stays set, and the retry timer
 * asks again. Pin thread, no lock held. */
void pin_merge(struct pin *p);
