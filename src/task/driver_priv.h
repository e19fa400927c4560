#pragma once
/* What the files of src/task share of the driver. Who owns what: design in HACKING.md.
 *
 * Fixed after activation: everything but the config. The config is a counted snapshot, so that a
 * SetConfig in the middle of a StartTask does no harm. */
#include "claim.h"
#include "fan.h"
#include "oom.h"
#include "paddock/docker.h"
#include "paddock/image.h"
#include "paddock/driver.h"
#include "paddock/logpump.h"
#include "paddock/loop.h"
#include "paddock/path_below.h"
#include "paddock/pin.h"
#include "paddock/pool.h"
#include "task_events.h"

#include <stdatomic.h>

/* Docker's answer to an ordinary request; the API has calls that pull strings in the kernel, on
 * slow disks, under load (create, start, remove): those get the slow one, which is the built-in
 * driver's. */
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
    char *unfit; /* "" = tasks can run */
    uint64_t timeout_us, timeout_slow_us;

    pthread_mutex_t lock; /* of config, active, owner, recoveries, siblings, plain_images */
    struct config_snapshot *config;
    bool active;
    char *owner; /* value of our container label; NULL until the first task tells the client's
                    folder */
    struct recovery *recoveries; /* under way */
    struct sibling *siblings;    /* starts under way, those of siblings.h */
    struct strv plain_images;    /* ids; see siblings_is_plain_image */

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
    atomic_bool ending;  /* driver_free has begun: nothing is retried any more */
    struct cancel ended; /* fires with it */
    atomic_uint resyncs; /* how often all containers were to be looked at */
    struct loop_timer *resync_again;
    bool resync_asked;          /* it is set; the streams thread's */
    uint64_t skipped_logged_us; /* when a skipped event was logged; the streams thread's */
    struct loop *loop;          /* the streams thread's */
    pthread_t loop_thread;
    bool loop_runs;
    struct docker_events *docker_events;
    struct docker_multi *requests; /* that wait long for Docker's answer; the streams thread's */
    struct pin *pin;
    struct oom *oom;              /* NULL on cgroup v1 */
    pthread_mutex_t pump_lock;    /* held while the pump's folder is made */
    struct logpump *_Atomic pump; /* NULL until client_need_pump has made it */
    struct affinity *affinity;    /* of our threads when it was changed, else NULL; pump_lock */
    struct sources *sources;      /* likewise */
    struct claim *claim;          /* likewise */

    struct task_events events;
    struct fingerprint *fingerprint;
    struct stats_list *stats;
    struct exec_list *execs;
    struct stop_list *stops;
    struct roll_call *roll_call;
    struct drains *drains;
    struct logs_retry *logs_retry;
    struct removals *removals;
    char *remembered; /* path of the note about this agent's client; NULL = there can be none */
    char *client_dir, *allocs; /* with the owner: below run_dir, and the client's alloc folder */
    struct networks *networks;
};

/** The config that holds now; client_config_put releases it. NULL before SetConfig. */
struct config_snapshot *client_config_get(struct driver *d);
void client_config_put(struct config_snapshot *c);
static inline void client_config_putp(struct config_snapshot **c) {
    client_config_put(*c);
    *c = NULL;
}
#define AUTO_CONFIG __attribute__((cleanup(client_config_putp)))

/** Call it for each task that the agent starts or recovers. The first task's alloc folder
 * identifies the Nomad client: owner label, log pump. Each call takes the claim (claim.h). Returns
 * 0; -errno with @err. */
int client_meet(struct driver *d, const struct task_config *task, struct err *err) MUST_CHECK;
/** Makes the pump's side of this process when there is none; after client_meet. Returns 0;
 * -errno with @err: the folder below /run cannot be made. Any thread; blocks on /run. */
int client_need_pump(struct driver *d, struct err *err) MUST_CHECK;
/* The log pump, which outlives the plugin, may use the CPUs @a from now on; so may a pump that is
 * made later. Any thread; does not block for long. */
void client_follow_affinity(struct driver *d, const struct affinity *a);
/** The owner label's value, and the folder below run_dir, of a client with this folder of
 * allocations; free(). NULL when out of memory. */
char *client_owner_of(const struct driver *d, const char *allocs);
char *client_dir(const struct driver *d, const char *allocs);
/** The owner label's value, NULL when not known yet. Owner: the driver, for its life. */
const char *client_owner(struct driver *d);

/** A task event. Any thread. */
void client_tell(struct driver *d, const struct task *t, const char *message);
void client_tell_ids(struct driver *d, const char *task_id, const char *alloc_id,
                     const char *task_name, const char *message, const char *key,
                     const char *value);

/** "task not found for given id": the text that Go drivers send. */
int client_not_found(struct err *err);

/* ---- exit.c ---- */
extern const struct docker_events_ops exit_events_ops; /* ctx: the driver; on the streams thread */
/** Looks at the task's container and records its end when it has ended; @event_code: of the die
 * event, -1 = none. Returns 0, or -errno when Docker gave no answer (nothing is concluded). Blocks
 * on Docker. */
int exit_check(struct driver *d, struct task *t, int event_code);
/** The same on a thread of the pool, again and again until Docker answers. */
void exit_look_later(struct driver *d, struct task *t);
/** The container of @t runs as @s says. From here on it is pinned. */
void exit_task_runs(struct driver *d, struct task *t, const struct docker_state *s);
/** Whether the container of @t runs as another process than the known one, as far as this machine's
 * /proc shows. Any thread; does not block. */
bool exit_is_other_process(struct driver *d, struct task *t);
/** The kernel has killed something in the container. Any thread. */
void exit_oom(struct driver *d, struct task *t, const char *container_id, int64_t when_ns);
/** It leaves the store. */
void exit_task_leaves(struct driver *d, struct task *t);
/* ---- drain.c ---- */
int drains_new(struct driver *d, struct drains **ret) MUST_CHECK;
void drains_free(struct drains *l); /* after the loop and the pool have ended */
/** The task has ended: its last log lines are delivered and its FIFOs closed. Any thread; waits for
 * nothing. */
void drain_task(struct driver *d, struct task *t);

/* ---- logs.c ---- */
/** Its container is about to run, or is known to: what its output needs is made ready. Then comes
 * logs_begin; false: logs_follow. Or logs_drop. @recovered: the task is not new. */
bool logs_prepare(struct driver *d, const struct call *call, const struct task *t,
                  bool recovered) MUST_CHECK;
/** It runs, and its log driver is one that can be read: waits for nobody. */
void logs_begin(struct driver *d, struct task *t);
/** It does not come to run. */
void logs_drop(struct driver *d, const struct task *t);
int logs_follow(struct driver *d, const struct call *call, struct task *t, bool recovered,
                struct err *err) MUST_CHECK;
/** Follows a task of the built-in driver: its lines after @since_ns. */
int logs_adopt(struct driver *d, const struct call *call, struct task *t, int64_t since_ns,
               struct err *err) MUST_CHECK;
/** Of a start or a recovery that has failed: the FIFOs close, after 3 s at most. */
void logs_give_up(struct driver *d, struct task *t);

/* ---- logs_retry.c ---- */
int logs_retry_new(struct driver *d, struct logs_retry **ret) MUST_CHECK;
void logs_retry_free(struct logs_retry *l); /* after the loop and the pool have ended */
/** The recovered task runs without its logs: keeps its FIFOs open, and tries again until they are
 * followed or the task leaves the store. @adopted: taken over from the built-in driver, from
 * @since_ns on. Sends a task event that names @why. Any thread; waits for nothing. */
void logs_retry_later(struct driver *d, struct task *t, bool adopted, int64_t since_ns,
                      const struct err *why);

/* ---- removals.c ---- */
int removals_new(struct driver *d, struct removals **ret) MUST_CHECK;
void removals_free(struct removals *l); /* after the loop and the pool have ended */
/** The container of a destroyed task, or of a failed start, could not be removed: it is removed
 * later, also by another plugin process of this client, unless a task has adopted it by then. Any
 * thread; after client_meet. */
void removals_add(struct removals *l, const char *container_id);
/** The client is known: removes what earlier processes have left. Any thread. */
void removals_begin(struct removals *l);

/* ---- sources.c: what a job may mount ---- */
struct create_sources;
/** @dir: where their mounts are; made with the first of them. */
int sources_new(struct driver *d, const char *dir, struct sources **ret) MUST_CHECK;
void sources_free(struct sources *s); /* after the pool */
/** True when what a container of this configuration mounts may be held, as far as is known without
 * Docker. */
bool sources_possible(struct driver *d, const struct plugin_config *plugin);
/** @hold: Nomad's own folders are to be mounted, too. Returns 1 with the folder of the container's
 * mounts (owner: caller, free()); 0: Docker is told names, or there is nothing to mount; -errno
 * with
 * @err: Docker was not reached. */
int sources_plan(struct driver *d, const struct plugin_config *plugin, const struct job_config *job,
                 bool hold, const char *container, char **ret_dir, struct err *err) MUST_CHECK;
/** Instead of those that are there. Returns 0; -EPERM this process may not mount: from now on
 * sources_plan says 0; other -errno. With @err. The task is in the store. */
int sources_mount(struct driver *d, const char *container, const struct create_sources *list,
                  struct err *err) MUST_CHECK;
/** The task ends: its mounts go, if it has any. */
void sources_leave(struct driver *d, const struct task *t);
/** Those of containers that are gone, on a thread of the pool. */
void sources_sweep_later(struct sources *s);

/* ---- parts with a life of their own ---- */
int fingerprint_new(struct driver *d, struct fingerprint **ret) MUST_CHECK;
/** Waits for the probe. The streams thread and the pools, which ask for probes, have ended. NULL
 * allowed. */
void fingerprint_stop(struct fingerprint *f);
void fingerprint_free(struct fingerprint *f);
void fingerprint_start(struct fingerprint *f);       /* with the streams loop */
void fingerprint_docker_gone(struct fingerprint *f); /* event stream lost: look now */
bool fingerprint_healthy(struct fingerprint *f);
/** Whether this dockerd was found to have no network "bridge". False when that is not known. */
bool fingerprint_lacks_bridge(struct fingerprint *f);
/* What the last answer to GET /info says for a start. */
struct fingerprint_docker {
    char runtimes[DRIVER_ATTR_TEXT_MAX]; /* comma list, sorted; "" = too many to list */
    bool remapped;                       /* dockerd has userns-remap: root in containers is @root */
    struct path_owner root;
};
/** Asks Docker when no answer is known yet. Returns 0; errors of docker.h, recoverable. */
int fingerprint_info(struct fingerprint *f, const struct call *call, struct fingerprint_docker *ret,
                     struct err *err) MUST_CHECK;

int stats_new(struct driver *d, struct stats_list **ret) MUST_CHECK;
void stats_free(struct stats_list *s);
void stats_task_ended(struct stats_list *s, const char *task_id);

/** Before the loop runs. Looks for ends that no event reported. */
int roll_call_new(struct driver *d, struct roll_call **ret) MUST_CHECK;
void roll_call_free(struct roll_call *c); /* after the pool */

int stop_list_new(struct driver *d, struct stop_list **ret) MUST_CHECK;
/** Stops that still wait are not told: their calls have ended before. */
void stop_list_free(struct stop_list *l);

int exec_list_new(struct driver *d, struct exec_list **ret) MUST_CHECK;
void exec_list_free(struct exec_list *x);
/** An exec of @container_id has ended with @code. Context: the streams thread. */
void exec_list_died(struct exec_list *l, const char *container_id, const char *exec_id, int code);
/** Some exec of @container_id has ended, but the event does not reliably contain its id and code.
 * Inspects each exec of that container. Context: the streams thread. */
void exec_list_ask(struct exec_list *l, const char *container_id);

int networks_new(struct driver *d, struct networks **ret) MUST_CHECK;
/** Before the loop runs: the first search for dangling containers is set. */
void networks_start(struct networks *n, const struct plugin_config *c);
void networks_free(struct networks *n);
