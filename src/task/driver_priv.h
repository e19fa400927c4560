/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* What the files of src/task share: struct driver, and the functions that one file offers
 * to others.
 *
 * Everything in struct driver but the config is fixed after activation. The config is a counted
 * snapshot, so a SetConfig in the middle of a StartTask does no harm. Which thread runs what:
 * HACKING.md, "Who runs where". */
#include "src/task/claim.h"
#include "src/task/fan.h"
#include "src/task/oom.h"
#include "paddock/docker.h"
#include "paddock/image.h"
#include "paddock/driver.h"
#include "paddock/logpump.h"
#include "paddock/loop.h"
#include "paddock/path_below.h"
#include "paddock/pin.h"
#include "paddock/pool.h"
#include "src/task/task_events.h"

#include <stdatomic.h>

/* How long an answer of Docker may take. Requests that pull strings in the kernel (create, start,
 * remove) can be slow on slow disks and under load. They get the slow timeout, which is the
 * built-in driver's. */
#define DRIVER_TIMEOUT_US (60 * US_PER_SEC)
#define DRIVER_TIMEOUT_SLOW_US (300 * US_PER_SEC)

struct config_snapshot {
    struct plugin_config c;
    atomic_uint refs;
};

struct stats_list;
struct fingerprint;
struct exec_list;
struct stop_list;
struct roll_call;
struct drains;
struct logs_retry;
struct removals;
struct networks;
struct sources;
struct recovery;
struct sibling;

struct driver {
    char *name, *program, *cgroup_root, *run_dir;
    char *unfit; /* driver_options.unfit; "" = tasks can run */
    uint64_t timeout_us, timeout_slow_us;

    pthread_mutex_t lock; /* of config, active, owner, recoveries, siblings, plain_images */
    struct config_snapshot *config;
    bool active;
    char *owner; /* value of our container label; NULL until client_meet() learns the client from
                    the first task */
    struct recovery *recoveries; /* run or wait now */
    struct sibling *siblings;    /* running starts that siblings.h knows */
    struct strv plain_images;    /* image ids; see siblings_is_plain_image */

    void (*activated)(void *ctx, struct loop *loop, const char *metrics_listen);
    void (*broken)(void *ctx, const char *why);
    void *activated_ctx;

    int cgroup_root_fd, proc_fd;
    bool cgroup_v2;
    unsigned num_cpu;

    struct store *store;
    struct docker *docker;
    struct images *images;
    struct pool *pool;
    atomic_bool ending;  /* driver_free() has begun: nothing is retried any more */
    struct cancel ended; /* fires together with `ending` */
    atomic_uint resyncs; /* number of scans of all containers that were asked for */
    struct loop_timer *resync_again;
    bool resync_asked;          /* resync_again is set; used by the streams thread */
    uint64_t skipped_logged_us; /* when one was last logged; the streams thread's */
    struct loop *loop;          /* the streams thread's */
    pthread_t loop_thread;
    bool loop_runs;
    struct docker_events *docker_events;
    struct docker_multi *requests; /* requests with a late answer; the streams thread's */
    struct pin *pin;
    struct oom *oom;              /* NULL on cgroup v1 */
    pthread_mutex_t pump_lock;    /* of pump's creation, and of affinity */
    struct logpump *_Atomic pump; /* NULL until client_need_pump has made it */
    struct affinity *affinity; /* of our threads once it has changed, else NULL; under pump_lock */
    struct sources *sources;   /* NULL before the first task */
    struct claim *claim;       /* NULL before the first task */

    struct task_events events;
    struct fingerprint *fingerprint;
    struct stats_list *stats;
    struct exec_list *execs;
    struct stop_list *stops;
    struct roll_call *roll_call;
    struct drains *drains;
    struct logs_retry *logs_retry;
    struct removals *removals;
    char *remembered; /* path of the note about this agent's client; NULL = no note is possible */
    char *client_dir, *allocs; /* set together with the owner: the client's folder below run_dir,
                                  and its alloc folder */
    struct networks *networks;
};

/** The current config. Returns NULL before SetConfig. Owner: caller, client_config_put(). */
struct config_snapshot *client_config_get(struct driver *d);
void client_config_put(struct config_snapshot *c);
static inline void client_config_putp(struct config_snapshot **c) {
    client_config_put(*c);
    *c = NULL;
}
#define AUTO_CONFIG __attribute__((cleanup(client_config_putp)))

/** Call it for each task that the agent starts or recovers. The first task's alloc folder
 * identifies the Nomad client, and from it come the owner label, the folder of the log pump, the
 * claim and the folder for sources.c. Each call takes the claim (claim.h). Returns 0; -errno with
 * @err. Any thread. */
int client_meet(struct driver *d, const struct task_config *task, struct err *err) MUST_CHECK;
/** Makes this process's side of the log pump when it does not exist yet. Call it after
 * client_meet(). Returns 0; -errno with @err when the folder below /run cannot be made. Any thread;
 * blocks on /run. */
int client_need_pump(struct driver *d, struct err *err) MUST_CHECK;
/** The log pump, which outlives the plugin, may use the CPUs @a from now on. A pump that is made
 * later may use them, too. Any thread; does not block for long. */
void client_follow_affinity(struct driver *d, const struct affinity *a);
/** The owner label's value, and the folder below run_dir, of the client whose allocations are in
 * @allocs. Owner: caller, free(). Return NULL when out of memory. */
char *client_owner_of(const struct driver *d, const char *allocs);
char *client_dir(const struct driver *d, const char *allocs);
/** The owner label's value. Returns NULL before the first task. Owner: the driver, for its life. */
const char *client_owner(struct driver *d);

/** Sends a task event. Any thread; does not block. */
void client_tell(struct driver *d, const struct task *t, const char *message);
void client_tell_ids(struct driver *d, const char *task_id, const char *alloc_id,
                     const char *task_name, const char *message, const char *key,
                     const char *value);

/** Sets the text that Go drivers send: "task not found for given id". Returns -ENOENT. */
int client_not_found(struct err *err);

/* ---- exit.c ---- */
extern const struct docker_events_ops exit_events_ops; /* ctx: the driver; streams thread */
/** Inspects the task's container, and records its end when it has ended. @event_code: exit code of
 * the die event, -1 = none. Returns 0, or -errno when Docker did not answer (then nothing is
 * concluded). Blocks on Docker. */
int exit_check(struct driver *d, struct task *t, int event_code);
/** The same as exit_check() on a thread of the pool, repeated until Docker answers. */
void exit_look_later(struct driver *d, struct task *t);
/** The container of @t runs as @s shows. From here on the reconciler pins it. */
void exit_task_runs(struct driver *d, struct task *t, const struct docker_state *s);
/** Returns whether the container of @t runs as another process than the known one, as far as /proc
 * of this machine shows. Any thread; does not block. */
bool exit_is_other_process(struct driver *d, struct task *t);
/** The kernel has killed a process in the container because memory was used up. @when_ns: since
 * 1970. Any thread. */
void exit_oom(struct driver *d, struct task *t, const char *container_id, int64_t when_ns);
/** Removes @t from the store, and wakes the reconciler. */
void exit_task_leaves(struct driver *d, struct task *t);
/* ---- drain.c ---- */
int drains_new(struct driver *d, struct drains **ret) MUST_CHECK;
void drains_free(struct drains *l); /* after the loop and the pool have ended */
/** The task has ended: begins to deliver its last log lines, and then closes its FIFOs. Any thread;
 * waits for nothing. */
void drain_task(struct driver *d, struct task *t);

/* ---- logs.c ---- */
/** Makes the log pump ready for the output of a container that is about to run, or that runs.
 * Returns true when the pump is ready; call logs_begin() next. Returns false when it is not;
 * call logs_follow() instead. In both cases logs_drop() undoes this call. @recovered: the task
 * is not new. */
bool logs_prepare(struct driver *d, const struct call *call, const struct task *t,
                  bool recovered) MUST_CHECK;
/** The container runs, and its log driver can be read: starts forwarding its output. Waits for
 * no answer. */
void logs_begin(struct driver *d, struct task *t);
/** The container will not run: closes the FIFOs. */
void logs_drop(struct driver *d, const struct task *t);
/** Does both steps in one call, and waits for Docker's answer. Returns 0, also when the log driver
 * cannot be read (a task event then reports that); -errno with @err. */
int logs_follow(struct driver *d, const struct call *call, struct task *t, bool recovered,
                struct err *err) MUST_CHECK;
/** Follows a task of the built-in driver: forwards its lines after @since_ns (since 1970). Returns
 * as logs_follow(). */
int logs_adopt(struct driver *d, const struct call *call, struct task *t, int64_t since_ns,
               struct err *err) MUST_CHECK;
/** After a failed start or recovery: delivers what the container has printed and closes the FIFOs,
 * within 3 s. */
void logs_give_up(struct driver *d, struct task *t);

/* ---- logs_retry.c ---- */
int logs_retry_new(struct driver *d, struct logs_retry **ret) MUST_CHECK;
void logs_retry_free(struct logs_retry *l); /* after the loop and the pool have ended */
/** For a recovered task that runs without its logs. Keeps its FIFOs open, and tries again until the
 * logs are followed or the task leaves the store. @adopted: the task was taken over from the
 * built-in driver, and its lines after @since_ns are wanted. Sends a task event that contains @why.
 * Any thread; waits for nothing. */
void logs_retry_later(struct driver *d, struct task *t, bool adopted, int64_t since_ns,
                      const struct err *why);

/* ---- removals.c ---- */
int removals_new(struct driver *d, struct removals **ret) MUST_CHECK;
void removals_free(struct removals *l); /* after the loop and the pool have ended */
/** The container of a destroyed task, or of a failed start, could not be removed. It is removed
 * later, by this or by another plugin process of this client, unless a task has adopted it by then.
 * Call it after client_meet(). Any thread. */
void removals_add(struct removals *l, const char *container_id);
/** Removes the containers that earlier processes could not remove. Call it once the client is
 * known. Any thread. */
void removals_begin(struct removals *l);

/* ---- sources.c: what a job may mount ---- */
struct create_sources;
/** @dir: the folder of the mounts; it is made with the first of them. Returns 0; -ENOMEM. Owner:
 * caller, sources_free(). */
int sources_new(struct driver *d, const char *dir, struct sources **ret) MUST_CHECK;
void sources_free(struct sources *s); /* after the pool has ended */
/** Returns true when the mounts of a container can be made by this process, as far as is known
 * without asking Docker. */
bool sources_possible(struct driver *d, const struct plugin_config *plugin);
/** Decides whether this process makes the container's mounts. @hold: it mounts Nomad's own folders,
 * too. Returns 1 with the folder of the mounts (owner: caller, free()); 0 when Docker is sent
 * names, or when there is nothing to mount; -errno with @err when Docker could not be asked. */
int sources_plan(struct driver *d, const struct plugin_config *plugin, const struct job_config *job,
                 bool hold, const char *container, char **ret_dir, struct err *err) MUST_CHECK;
/** Makes the mounts of @list, in place of the existing ones. The task is in the store. Returns 0;
 * -EPERM when this process may not mount: from then on sources_plan() returns 0; another -errno.
 * All with @err. */
int sources_mount(struct driver *d, const char *container, const struct create_sources *list,
                  struct err *err) MUST_CHECK;
/** The task ends: removes its mounts, if it has any. */
void sources_leave(struct driver *d, const struct task *t);
/** Removes the mounts of containers that no longer exist, on a thread of the pool. */
void sources_sweep_later(struct sources *s);

/* ---- parts that run by themselves ----
 * Each ..._new() returns 0 or -errno. The driver owns the object; ..._free() accepts NULL. */
int fingerprint_new(struct driver *d, struct fingerprint **ret) MUST_CHECK;
/** Waits for the running probe. The streams thread and the pool, which ask for probes, must have
 * ended. NULL allowed. */
void fingerprint_stop(struct fingerprint *f);
void fingerprint_free(struct fingerprint *f);
void fingerprint_start(struct fingerprint *f);       /* before the streams loop runs */
void fingerprint_docker_lost(struct fingerprint *f); /* the event stream is lost: probe now */
bool fingerprint_healthy(struct fingerprint *f);
/** Returns true when this dockerd was found to have no network "bridge", false when that is
 * not known. */
bool fingerprint_lacks_bridge(struct fingerprint *f);
/* What a start needs from the last answer to GET /info. */
struct fingerprint_docker {
    char runtimes[DRIVER_ATTR_TEXT_MAX]; /* comma list, sorted; "" = too many to list */
    bool remapped;                       /* dockerd has userns-remap: root in containers is @root */
    struct path_owner root;
};
/** Returns the last known answer, or asks Docker when none is known yet. Returns 0; errors of
 * docker.h, recoverable. */
int fingerprint_info(struct fingerprint *f, const struct call *call, struct fingerprint_docker *ret,
                     struct err *err) MUST_CHECK;

int task_stats_list_new(struct driver *d, struct stats_list **ret) MUST_CHECK;
void task_stats_list_free(struct stats_list *s);
void task_stats_ended(struct stats_list *s, const char *task_id);

/** Creates the search for ends that no event reported. Call it before the loop runs. */
int roll_call_new(struct driver *d, struct roll_call **ret) MUST_CHECK;
void roll_call_free(struct roll_call *c); /* after the pool has ended */

/** Checks @name, a signal's name or number, and writes the text that is sent to Docker. Returns 0;
 * -EINVAL (ERR_INVALID). */
int task_signal_for_docker(const char *name, char ret[DRIVER_SIGNAL_MAX],
                           struct err *err) MUST_CHECK;

int task_stop_list_new(struct driver *d, struct stop_list **ret) MUST_CHECK;
/** Stops that still wait are not completed: their calls have ended before. */
void task_stop_list_free(struct stop_list *l);

int task_exec_stream_list_new(struct driver *d, struct exec_list **ret) MUST_CHECK;
void task_exec_stream_list_free(struct exec_list *x);
/** An exec of @container_id has ended with @code. Context: the streams thread. */
void task_exec_stream_died(struct exec_list *l, const char *container_id, const char *exec_id,
                           int code);
/** Some exec of @container_id has ended, but the event does not reliably contain its id and code.
 * Inspects each exec of that container. Context: the streams thread. */
void task_exec_stream_ask(struct exec_list *l, const char *container_id);

int networks_new(struct driver *d, struct networks **ret) MUST_CHECK;
/** Sets the time of the first search for dangling containers. Call it before the loop runs. */
void networks_start(struct networks *n, const struct plugin_config *c);
void networks_free(struct networks *n);
