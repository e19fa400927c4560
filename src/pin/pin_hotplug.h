#pragma once
/* CPUs that come online or go offline, as the kernel reports them. */
#include "paddock/cleanup.h"
#include <stdbool.h>
#include <stddef.h>

/** Opens the kernel's device events, non-blocking. Returns the fd; -EBADF when they are refused (a
 * change is found at the tick then). */
int pin_hotplug_open(void);
/** Drains @fd. Returns whether a CPU was among the events, or events were lost. */
bool pin_hotplug_read(int fd);
/** Whether an event ("online@/devices/system/cpu/cpu3", then NAME=VALUE texts, each with its NUL)
 * says that a CPU came or went. Pure. */
bool pin_hotplug_is_cpu(const char *event, size_t len);
