#pragma once
/* Pause containers: each holds the network namespace of one allocation's group. It is named
 * nomad_init_<alloc id>, has network mode none and is restarted unless stopped. Nomad runs CNI on
 * its namespace. Context: any thread, blocks up to the call's deadline. */
#include "paddock/docker.h"

#define DOCKER_PAUSE_PREFIX "nomad_init_"

struct docker_pause {
    char container_id[65];
    char image_id[80];
    char image[512];   /* the name with which it was created */
    char sandbox[512]; /* the netns file */
    bool created;      /* false: it ran already */
};

/** The one that runs. Returns 0; -ENOENT there is none; errors of docker.h. */
int docker_pause_find(struct docker *d, const struct call *call, const char *alloc_id,
                      struct docker_pause *ret, struct err *err) MUST_CHECK;

/** Makes and starts it, or finds it running. One that has stopped is replaced: its namespace went
 * with its process. @image: present already. @owner: our label, "" = none.
 * @hostname: at most HOST_NAME_MAX bytes, which the caller checks.
 *  Returns 0; -EINVAL a text that is not UTF-8; errors of docker.h. What was half made is removed.
 */
int docker_pause_create(struct docker *d, const struct call *call, const char *alloc_id,
                        const char *hostname, const char *image, const char *owner,
                        struct docker_pause *ret, struct err *err) MUST_CHECK;

/** Stops and removes it. @container_id "" = looked up by name. 0 also when there is none.
 *  @ret: what was removed; its image_id is "" when there was none. */
int docker_pause_destroy(struct docker *d, const struct call *call, const char *alloc_id,
                         const char *container_id, struct docker_pause *ret,
                         struct err *err) MUST_CHECK;
