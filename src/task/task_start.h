/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The parts of StartTask. task_start.c is the recipe and calls them; they work on one struct start,
 * which lives on the stack of the request's thread.
 *
 *   task_start.c            the image, the order of the steps, the result, the undoing
 *   task_start_request.c    the create request, and the mounts that it refers to
 *   task_start_cpuset.c     the CPUs and memory nodes in it
 *   task_start_container.c  creates the container, removes it
 *   task_start_run.c        starts it and inspects it, with another container when that failed
 *   task_start_mounts.c     checks the mounts of the running container
 *
 * All functions block on Docker unless it is said otherwise. They return 0, or -errno with @err,
 * and leave what they have made in struct start: task_start.c alone undoes a start. */
#include "src/task/driver_priv.h"
#include "src/task/siblings.h"

#include "paddock/clock.h"
#include "paddock/create.h"

/* Of a create, and of a start. */
#define START_TRANSIENT_TRIES 5
#define START_BACKOFF_US (50 * US_PER_MS) /* doubled before each retry */

struct start {
    struct driver *d;
    const struct call *call;
    const struct task_config *config;
    const struct plugin_config *plugin;
    struct job_config job;
    struct task *task;
    char *load; /* path of the image archive, NULL = none */
    struct image_want want;
    struct image_look *look; /* the image was asked for; the answer is still to be read */
    struct image image;
    bool image_held;
    char *name; /* name of the container */
    char container_id[65];
    bool prepared;   /* the log pump is ready for the container's output */
    bool unanswered; /* a create was not answered: a container of this name may exist */
    int fifos[2];    /* stdout, stderr; open while the container is replaced */
    struct docker_state state;
    json_t *body; /* body of the create request */
    struct create_sources sources;
    struct sibling sibling;
    unsigned hold; /* of enum create_own: what we mount for the task besides the job's mounts */
    bool guarded;  /* guarded against tasks of the same allocation, see siblings.h */
    bool adopted;  /* the container was started before a crash of the plugin */
    json_t *inspect;
};

/* The deadline of requests that can be slow: create, start, stop and remove. */
static inline struct call start_slow_call(const struct start *s) {
    return call_within(s->call, s->d->timeout_slow_us);
}

/* ---- task_start_request.c ---- */
/** Builds the request (body, sources) and makes the mounts that it refers to. Removes the mounts of
 * an earlier request. Sets name, guarded and hold. */
int task_start_request_prepare(struct start *s, struct err *err) MUST_CHECK;

/* ---- task_start_cpuset.c ---- */
/** The wanted CPUs and memory nodes as texts of CPUSET_TEXT_MAX bytes each. @cpus is "" when the
 * set cannot be known: Docker then allows all CPUs, and the reconciler reports that. @mems is ""
 * when paddock does not manage memory nodes. Does not ask Docker. */
void task_start_cpuset_wanted(const struct start *s, char *cpus, char *mems);
/** Sends Docker the wanted set when it has changed since the request was built. The container does
 * not run yet, so Docker stores the new set in its own record, too. A failure here does not fail
 * the start: the reconciler corrects the container when it runs. */
void task_start_cpuset_refresh(struct start *s);

/* ---- task_start_container.c ---- */
/** Creates the container of the request, or adopts the one that was started before a crash. Sets
 * container_id, adopted and unanswered. -ENOENT: Docker answered 404. */
int task_start_container_create(struct start *s, struct err *err) MUST_CHECK;
/** Removes the container, so that another one can have its name. @why is a part of the error's
 * text: "Failed to remove container ID @why". */
int task_start_container_remove(struct start *s, const char *why, struct err *err) MUST_CHECK;
/** Removes the start's container within @call. @container: its id or name. An adopted container has
 * run for a while, so it gets its stop signal first. */
int task_start_container_discard(const struct start *s, const struct call *call,
                                 const char *container, struct err *err) MUST_CHECK;
/** Returns true when a create or start that ended with @r and @failed may succeed the next time. */
bool task_start_container_may_pass(int r, const struct err *failed);

/* ---- task_start_run.c ---- */
/** Starts the created container. Replaces it when its start failed and may succeed the next time.
 * Sets inspect, state and prepared. From here on the container is pinned. */
int task_start_run(struct start *s, struct err *err) MUST_CHECK;

/* ---- task_start_mounts.c ---- */
/** Returns true when the image, or the job's mount targets, may lead the folder alloc elsewhere.
 * Does not ask Docker. */
bool task_start_mounts_are_unproven(const struct start *s);
/** Checks the container's mounts where they are unproven. When nothing can be read of a running
 * container, its allocation is treated as one in which alloc/logs can be moved. Does not ask
 * Docker. */
int task_start_mounts_prove(struct start *s, struct err *err) MUST_CHECK;
