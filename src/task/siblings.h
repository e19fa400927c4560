/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Orders the starts of tasks of one allocation so that no task can swap a folder of another one.
 *
 * Docker is sent the names of Nomad's folders. Between our check of a name and Docker's mount, a
 * container of the same allocation that mounts the folder above could swap the folder. In this file
 * such a container "reaches". A start is "exposed" from its check to Docker's answer.
 * - A start is not exposed while a container that reaches runs or is being started. Its folders
 *   are then held: paddock mounts them, and Docker is sent the mount points (create_host.hold).
 * - A start whose container will reach waits until no other start of the allocation is exposed.
 *
 * In the usual allocation no container reaches. Then nothing is held and no start waits.
 *
 * A container that reaches can also put another folder in the place of alloc/logs. The tasks that
 * ran beside it can rename that folder after the container has ended, which they could not before.
 * The store remembers these tasks (store_set_logs_movable()); they count as reaching alloc/logs.
 *
 * A link in an image, or in a folder that is mounted already, can lead alloc to a place where
 * alloc/logs does not cover it. This cannot be known before the container runs. A start is
 * therefore "unproven" until the container's mounts were checked, unless its image was found to
 * have no such link. Each start has a "turn" from the last check of its names to Docker's mount. An
 * unproven start keeps its turn until it is proven, and no other start of the allocation has a turn
 * at the same time. */
#include "paddock/docker.h"
#include "paddock/task_config.h"

struct driver;

/* One StartTask, on its thread's stack. Initialise it with SIBLING(task). */
#define SIBLING(config)                                                                            \
    { .task = (config), .wake_fd = -EBADF }
struct sibling {
    const struct task_config *task;
    int wake_fd;                    /* eventfd of a waiting start; under the driver's lock */
    bool entered, exposed, reaches; /* under the driver's lock */
    bool turn, unproven;            /* under the driver's lock */
    struct docker_begun *asked;     /* the request for the allocation's containers */
    struct sibling *next;
};

/** Call it before the names are checked. Also asks Docker for the allocation's containers. Returns
 * 0: the start is exposed now; or a mask of enum create_own that must be held, because a start
 * whose container reaches is in progress. */
unsigned siblings_expose(struct driver *d, struct sibling *s);

/** The checked names are not used: everything is held, or the container will not be started. */
void siblings_cover(struct driver *d, struct sibling *s);

/** The container of @s will reach. Waits for the exposed starts of the allocation. Returns 0; 1
 * when @s and an exposed start like it would wait for each other: @s is no longer exposed, so hold
 * all and call again; -ETIMEDOUT or -ECANCELED with @err. */
int siblings_reach(struct driver *d, struct sibling *s, const struct call *call,
                   struct err *err) MUST_CHECK;

/** Returns what the running containers of the allocation reach, as a mask of enum create_own;
 * everything when Docker does not answer. Call it after siblings_expose(). Blocks on Docker. */
unsigned siblings_running(struct driver *d, struct sibling *s, const struct call *call);

/** Call it before the names are checked for the last time. Waits until no unproven start of the
 * allocation has a turn; with @unproven, until no other start has one. Returns 0; 1 when it waited:
 * Docker's list of containers is stale, and siblings_running() asks again; -ETIMEDOUT or -ECANCELED
 * with @err. */
int siblings_take_turn(struct driver *d, struct sibling *s, bool unproven, const struct call *call,
                       struct err *err) MUST_CHECK;
/** Ends the turn without a start. May be called any number of times. */
void siblings_pass(struct driver *d, struct sibling *s);

/** Returns whether a container of image @id was found to have alloc where it was asked for. */
bool siblings_is_plain_image(struct driver *d, const char *id);
/** Remembers that for image @id. When out of memory nothing is remembered. */
void siblings_set_plain_image(struct driver *d, const char *id);

/** Docker has made the mounts, or the start has failed. May be called any number of times. */
void siblings_leave(struct driver *d, struct sibling *s);
