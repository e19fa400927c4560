#pragma once
/* Opens each of Docker's log files as soon as it appears.
 *
 * When a container prints as fast as it can, a file of its log's rotation exists for about 100 ms.
 * A program that opens files between reading them misses some. So one thread for all containers
 * does nothing but open, with the lowest real-time priority where the kernel allows it. It watches
 * the containers' folders with one inotify instance. An open file stays readable after it was
 * renamed, compressed or removed.
 *
 * The files of one container are passed on in the order in which dockerd wrote them, each once. Two
 * files are the same when device and inode number are, for as long as one of them is held open:
 * inode numbers are used again immediately. So the newest file that was passed on is held here.
 * When it is not found again among the files of the folder, files were missed, and that is
 * reported.
 *
 * All functions are called from the loop's thread. */
#include "paddock/loop.h"

#include <stdbool.h>
#include <stddef.h>

struct log_opener;
struct log_watch;

struct log_found {
    int fd;   /* the caller's */
    bool gap; /* files between the one before and this one were missed */
};

/** Starts the thread. Returns 0; -ENOMEM; -EMFILE (also: no inotify instance is left); -EAGAIN.
 *  Owner: caller, log_opener_free. */
int log_opener_new(struct loop *loop, struct log_opener **ret) MUST_CHECK;
/** Joins the thread. All watches were deleted before. NULL allowed. */
void log_opener_free(struct log_opener *o);

/** Watches the folder @dir_fd for the log file @name and what it is renamed to at a rotation
 * (NAME.1, NAME.2, ...). The present files are found already when this returns. @changed: there are
 * new files, the armed file was written to, or the file @name was removed; called from the loop,
 * never from in here. Returns 0; -ENOSPC: no inotify watch is left; -ENAMETOOLONG; -ENOMEM;
 * -errno. */
int log_watch_new(struct log_opener *o, int dir_fd, const char *name, loop_cb changed, void *ctx,
                  struct log_watch **ret) MUST_CHECK;
/** Closes what was found and not taken. NULL allowed. Returns NULL. */
struct log_watch *log_watch_del(struct log_watch *w);

/** The files that were found since the last call, oldest first; at most @max. Looks into the folder
 * too, so that nothing is missed that is there now. Returns how many; 0: no more. */
size_t log_watch_take(struct log_watch *w, struct log_found *ret, size_t max);
/** Are there files that could not be opened, because descriptors or memory are used up? Only
 * another log_watch_take() finds them. */
bool log_watch_is_behind(struct log_watch *w);
/** Was the folder removed, as it is with its container? */
bool log_watch_is_gone(const struct log_watch *w);
/** Calls @changed at the next write to @fd, once. Without it a write costs nothing. Returns 0;
 * -errno.
 */
int log_watch_arm(struct log_watch *w, int fd) MUST_CHECK;
/** Before the armed file is closed. */
void log_watch_disarm(struct log_watch *w);
