/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Was a file opened? The kernel reports each open() of it (IN_OPEN), but not an O_PATH one, which
 * opens nothing. That shows without a real device whether code looks at a file's kind before it
 * opens the file. */
#include "unit/cm.h"
#include "paddock/cleanup.h"

#include <stdbool.h>
#include <sys/inotify.h>

/** Watches @path. Owner: caller, close(). */
static inline int opens_watch(const char *path) {
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    assert_true(fd >= 0);
    assert_true(inotify_add_watch(fd, path, IN_OPEN) >= 0);
    return fd;
}

/** Has there been an open() since opens_watch() or the last call? */
static inline bool opens_seen(int fd) {
    char events[4096];
    return read(fd, events, sizeof(events)) > 0;
}
