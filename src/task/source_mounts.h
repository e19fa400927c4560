/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Mount points for what a job may mount (struct create_source): DIR/CONTAINER/NAME, each a mount of
 * the very object that was checked. The mounts are the only state; they are found again by the
 * container's name.
 *
 * A mount that follows the original (shared) is dangerous: unmounting it would also unmount what is
 * mounted below the original, such as the task's secrets. So all mounts are private: from the
 * beginning, or, where the job wants its mount shared with the host, before they are unmounted. */
#include "paddock/create.h"
#include "paddock/strv.h"

/** Makes DIR (0700, its parent must exist) and all mounts of @s below it, in place of the existing
 * ones. Returns 0; -EPERM when this process may not mount; another -errno with @err, which names
 * the volume. After an error nothing is left. Any thread, local calls only; not two at the same
 * time for one @container. */
int source_mounts_make(const char *dir, const char *container, const struct create_sources *s,
                       struct err *err) MUST_CHECK;

/** Removes the container's mounts. Returns 1; 0 when none existed; -errno when something is left.
 * Context: as source_mounts_make(). */
int source_mounts_remove(const char *dir, const char *container) MUST_CHECK;

/** The names of all containers that have mounts. Returns 0; -errno. Owner: caller, strv_done(). */
int source_mounts_list(const char *dir, struct strv *ret) MUST_CHECK;
