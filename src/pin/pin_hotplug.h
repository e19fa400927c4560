/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The kernel's reports of CPUs that come online or go offline. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stddef.h>

/** Opens the kernel's device events, non-blocking. Returns the fd, or -EBADF when the kernel
 * refuses them; the tick finds the changes then. */
int pin_hotplug_open(void);
/** Drains @fd. Returns true when an event was about a CPU, or when events were lost. */
bool pin_hotplug_read(int fd);
/** Whether an event ("online@/devices/system/cpu/cpu3", then NAME=VALUE texts, each with its NUL)
 * reports that a CPU came online or went offline. Pure. */
bool pin_hotplug_is_cpu(const char *event, size_t len);
