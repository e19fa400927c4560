/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Was a file opened? The kernel reports each open() of a file (IN_OPEN), except with O_PATH, which
 * opens nothing. A test can so check, without a real device, that code checks a file's kind before
 * it opens the file. */
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
