#pragma once
/* Mount points that lead to what a job may mount (create_source): DIR/CONTAINER/NAME, each a
 * mount of the very object that was checked. No state but the mounts themselves: they are found
 * again by the container's name.
 *
 * A mount that follows the original (shared) would, when it is taken away, take away what is
 * mounted below the original, too: the task's secrets. So all are private: from the beginning, or,
 * where the job wants its mount shared with the host, before they go. */
#include "paddock/create.h"
#include "paddock/strv.h"

/** Makes DIR (0700, its parent must be there) and all of @s below it, instead of what is there.
 *  Returns 0; -EPERM with nothing left: this process may not mount; other -errno, with @err that
 * names the volume, nothing left. Any thread, local; not two for one @container at once. */
int source_mounts_make(const char *dir, const char *container, const struct create_sources *s,
                       struct err *err) MUST_CHECK;

/** Takes them away. Returns 1; 0 there were none; -errno: something is left. As above. */
int source_mounts_remove(const char *dir, const char *container) MUST_CHECK;

/** The names of all containers that have some. Owner: caller, strv_done. 0; -errno. */
int source_mounts_list(const char *dir, struct strv *ret) MUST_CHECK;
