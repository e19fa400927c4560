#pragma once
/* Starts of tasks of one allocation, in an order that keeps their folders safe from each other.
 *
 * Docker is sent the names of Nomad's folders. Between our check of a name and Docker's mount, a
 * container of the same allocation that mounts the folder above could swap it. In this file such a
 * container "reaches". So a start is exposed from its check to Docker's answer, and:
 * - a start is not exposed while a container that reaches runs or is being started: what Docker is
 *   sent is held instead (create_host.hold);
 * - a start whose container will reach waits until no other start of the allocation is exposed.
 * In the usual allocation no container reaches: nothing is held and no start waits.
 *
 * A container that reaches can also put another folder in the place of alloc/logs. The tasks that
 * ran beside it can rename that folder after it has ended, which they could not before. The store
 * remembers these tasks (store_set_logs_movable()); they count as reaching alloc/logs.
 *
 * A link of an image, or of a folder that is mounted already, can lead alloc to a place where
 * alloc/logs does not cover it. Nobody knows before the container runs. So a start is unproven
 * until the container's mounts were checked, unless its image was found to have no such link. From
 * the last check of its names to Docker's mount each start has a turn; an unproven one keeps its
 * turn until it is proven and shares it with no other start of the allocation. */
#include "paddock/docker.h"
#include "paddock/task_config.h"

struct driver;

/* One StartTask, on its thread's stack. Starts as SIBLING(task). */
#define SIBLING(config)                                                                            \
    { .task = (config), .wake_fd = -EBADF }
struct sibling {
    const struct task_config *task;
    int wake_fd;                    /* eventfd of a start that waits; under the driver's lock */
    bool entered, exposed, reaches; /* under the driver's lock */
    bool turn, unproven;            /* under the driver's lock */
    struct docker_begun *asked;     /* for the containers of the allocation */
    struct sibling *next;
};

/** The names are about to be checked. Asks Docker for the allocation's containers.
 *  Returns 0: the start is exposed now; a mask of enum create_own: that must be held, because a
 * start whose container reaches is under way. */
unsigned siblings_expose(struct driver *d, struct sibling *s);

/** The names that were checked are not used: everything is held, or the container is not started.
 */
void siblings_cover(struct driver *d, struct sibling *s);

/** The container of @s will reach. Waits for the exposed starts of the allocation.
 *  Returns 0; 1 when @s is exposed to another start like it: it is covered now, hold all and call
 * again; -ETIMEDOUT or -ECANCELED with @err. */
int siblings_reach(struct driver *d, struct sibling *s, const struct call *call,
                   struct err *err) MUST_CHECK;

/** What the running containers of the allocation reach, as enum create_own; everything when Docker
 * does not answer. After siblings_expose. Blocks on Docker. */
unsigned siblings_running(struct driver *d, struct sibling *s, const struct call *call);

/** Before the names are checked for the last time. Waits until no unproven start of the allocation
 * has a turn, and when @unproven until no other start has one. Returns 0; 1 when it waited: what
 * Docker said of the containers is old, siblings_running() asks anew; -ETIMEDOUT or -ECANCELED with
 * @err. */
int siblings_take_turn(struct driver *d, struct sibling *s, bool unproven, const struct call *call,
                       struct err *err) MUST_CHECK;
/** The turn ends without a start. Any number of times. */
void siblings_pass(struct driver *d, struct sibling *s);

/** Whether a container of image @id was found to have alloc where it was asked for. */
bool siblings_is_plain_image(struct driver *d, const char *id);
/** Remembers that; out of memory nothing is remembered. */
void siblings_set_plain_image(struct driver *d, const char *id);

/** Docker has mounted, or the start has failed. Any number of times. */
void siblings_leave(struct driver *d, struct sibling *s);
