/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Opens each of Docker's log files as soon as it appears.
 *
 * When a container prints as fast as it can, a file of its log's rotation exists for about 100 ms.
 * A program that opens files between reading them misses some. Therefore one thread for all
 * containers does nothing but open files. It runs with the lowest real-time priority where the
 * kernel allows it, and it watches the containers' folders with one inotify instance. An open file
 * stays readable after it was renamed, compressed or removed.
 *
 * The files of one container are passed on in the order in which dockerd wrote them, each once. Two
 * files are the same when device and inode number are equal. That holds only while one of them is
 * open, because inode numbers are used again immediately. Therefore the newest file that was passed
 * on stays open here. When it is not found again among the files of the folder, files were missed,
 * and the next file reports a gap.
 *
 * All functions are called from the loop's thread. */
#include "paddock/loop.h"

#include <stdbool.h>
#include <stddef.h>

struct log_opener;
struct log_watch;

struct log_found {
    int fd;   /* owner: caller */
    bool gap; /* files between the previous one and this one were missed */
};

/** Starts the thread. @loop is borrowed. Returns 0; -ENOMEM; -EMFILE, also when no inotify instance
 * is left; -EAGAIN; another -errno. Owner: caller, log_opener_free(). */
int log_opener_new(struct loop *loop, struct log_opener **ret) MUST_CHECK;
/** Joins the thread. The caller has deleted all watches before. NULL allowed. */
void log_opener_free(struct log_opener *o);

/** Watches the folder @dir_fd for the log file @name and for the names that a rotation gives it
 * (NAME.1, NAME.2, ...). @dir_fd is duplicated. The existing files are found before this
 * function returns.
 *
 * @changed: called when there are new files, when the armed file was written to, and when the file
 * @name was removed. It runs from the loop, never from inside this function.
 *
 * Returns 0; -ENOSPC when no inotify watch is left; -ENAMETOOLONG; -ENOMEM; -errno.
 * Owner: caller, log_opener_watch_del(). */
int log_opener_watch_new(struct log_opener *o, int dir_fd, const char *name, loop_cb changed,
                         void *ctx, struct log_watch **ret) MUST_CHECK;
/** Deletes the watch and closes the files that were found and not taken. NULL allowed.
 * Returns NULL. */
struct log_watch *log_opener_watch_del(struct log_watch *w);

/** Takes the files that were found since the last call, oldest first, at most @max. Also checks the
 * folder, so that no file is missed that exists now. Returns the number of files; 0: no more. The
 * caller owns their descriptors. */
size_t log_opener_watch_take(struct log_watch *w, struct log_found *ret, size_t max);
/** Returns true when files could not be opened because descriptors or memory are used up. Only
 * another log_opener_watch_take() finds them. */
bool log_opener_watch_has_missed(struct log_watch *w);
/** Returns true when the folder was removed, as it is together with its container. */
bool log_opener_watch_is_removed(const struct log_watch *w);
/** Calls @changed at the next write to @fd, once. While no file is armed, a write causes no event.
 * Returns 0; -errno. */
int log_opener_watch_arm(struct log_watch *w, int fd) MUST_CHECK;
/** Cancels log_opener_watch_arm(). Call it before the armed file is closed. */
void log_opener_watch_disarm(struct log_watch *w);
