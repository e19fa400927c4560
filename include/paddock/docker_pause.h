/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Pause containers. Each keeps the network namespace of one allocation's task group open. The
 * container is named nomad_init_<alloc id>, has network mode none and is restarted unless stopped.
 * Nomad runs CNI on its namespace. Context: any thread; blocks up to the call's deadline. */
#include "paddock/docker.h"

#define DOCKER_PAUSE_PREFIX "nomad_init_"

struct docker_pause {
    char container_id[65];
    char image_id[80];
    char image[512];   /* the name that was used to create the container */
    char sandbox[512]; /* path of the network namespace's file */
    bool created;      /* false = it was running already */
};

/** Finds the running pause container. Returns 0; -ENOENT when none is running; errors
 * of docker.h. */
int docker_pause_find(struct docker *d, const struct call *call, const char *alloc_id,
                      struct docker_pause *ret, struct err *err) MUST_CHECK;

/** Creates and starts the pause container, or finds it running. A stopped one is replaced,
 * because its namespace ended with its process. @image: must be present already. @owner: value of
 * our label, "" = none. @hostname: at most HOST_NAME_MAX bytes, which the caller checks. Returns
 * 0; -EINVAL for a text that is not UTF-8; errors of docker.h. On failure a half-made container
 * is removed. */
int docker_pause_create(struct docker *d, const struct call *call, const char *alloc_id,
                        const char *hostname, const char *image, const char *owner,
                        struct docker_pause *ret, struct err *err) MUST_CHECK;

/** Stops and removes the pause container. @container_id: "" = look it up by name. @ret: what was
 * removed; its image_id is "" when no container existed. Returns 0, also when no container existed;
 * errors of docker.h. */
int docker_pause_destroy(struct docker *d, const struct call *call, const char *alloc_id,
                         const char *container_id, struct docker_pause *ret,
                         struct err *err) MUST_CHECK;
