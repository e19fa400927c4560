/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Real-time priority for the reconciler's thread. This thread moves a task off a reserved core, so
 * it must not wait until that task leaves a CPU. */
#include "paddock/pin.h"

/** Gives the calling thread the lowest real-time priority, unless @o->realtime is off, or it could
 * do harm (the rule is in pin_realtime.c), or the kernel refuses it. Context: the pin thread, once;
 * blocks on local files. */
void pin_realtime_begin(const struct pin_options *o);
