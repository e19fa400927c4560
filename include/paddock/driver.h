#pragma once
/* The Docker task driver as plain C: what plugin/ calls for each RPC. No gRPC, no protobuf.
 *
 * Life: driver_new (no side effects) - driver_set_config any number of times - the first use by a
 * real agent activates it (docker client, event stream, reconciler, control socket) - driver_free,
 * which touches no container. One `struct driver` a process. Unless said otherwise: any thread, and
 * calls that take a `struct call` block up to its deadline or their own, whichever is sooner. */
#include "paddock/call.h"
#include "paddock/config.h"
#include "paddock/err.h"
#include "paddock/store.h"
#include "paddock/task_config.h"

#include <jansson.h>

struct driver;
struct loop;
struct stop_request;

struct driver_options {
    const char *name;        /* of the executable file: Nomad's name of the driver */
    const char *program;     /* path of the executable, for the log pump */
    const char *cgroup_root; /* "/sys/fs/cgroup" */
    const char *run_dir;     /* parent of our sockets: "/run/paddock" */
    const char *unfit; /* why no task can run here, NULL = it can; the fingerprint is unhealthy with
                        * this text, so it must stay the same, and starts fail with it */
    /* Called once, when the driver comes to life and before its streams thread runs on @loop:
     * whoever has sockets of its own (control, metrics) puts them there. @metrics_listen: of the
     * configuration, "" = off. NULL allowed. */
    void (*activated)(void *ctx, struct loop *loop, const char *metrics_listen);
    /* The reconciler cannot go on: the process has to end, so that the agent starts another one.
     * Called from the reconciler's thread. NULL allowed. */
    void (*broken)(void *ctx, const char *why);
    void *ctx;
};

int driver_new(const struct driver_options *o, struct driver **ret, struct err *err) MUST_CHECK;
/** Ends threads and closes streams; containers and the log pump go on. */
void driver_free(struct driver *d);

/** SetConfig. @agent: nomad_config was there, so this process is the one that will run tasks;
 * without it the values are only checked. Returns 0; -EINVAL; never fails because Docker is away.
 */
int driver_set_config(struct driver *d, const void *msgpack, size_t len, bool agent,
                      uint64_t total_compute_mhz, unsigned cores, struct err *err) MUST_CHECK;
/** Makes this the instance that runs tasks (Docker client, event stream, reconciler, streams
 * thread); returns immediately when it is already. Comes before driver_fingerprint,
 * driver_start_task, driver_recover_task, driver_create_network and driver_destroy_network. Returns
 * 0; -ENOTCONN (ERR_PLAIN) before SetConfig; another -errno. */
int driver_activate(struct driver *d, struct err *err) MUST_CHECK;
/** Init: nothing to do beyond activating. */
int driver_init(struct driver *d, struct err *err) MUST_CHECK;

bool driver_disables_log_collection(struct driver *d);

/* ---- fingerprint ---- */
enum driver_health { DRIVER_UNDETECTED, DRIVER_UNHEALTHY, DRIVER_HEALTHY };
#define DRIVER_ATTR_TEXT_MAX 2048
enum driver_attr_type { ATTR_STRING, ATTR_BOOL, ATTR_INT };
struct driver_attr {
    char key[96];
    enum driver_attr_type type;
    char text[DRIVER_ATTR_TEXT_MAX];
    int64_t number; /* bool: 0 or 1 */
};
#define DRIVER_ATTRS_MAX 16
struct driver_fingerprint {
    enum driver_health health;
    char description[256];
    struct driver_attr attrs[DRIVER_ATTRS_MAX];
    size_t n_attrs;
};

/* A subscription: callbacks come from a thread of the driver, must not block and must not
 * unsubscribe. After driver_unsubscribe has returned none comes any more. */
struct driver_sub;
/** @on is called with what is known now, if anything is, then after each probe: every 30 s, every
 * 5 s while Docker is not well. A first late answer of a well Docker is not told. */
int driver_fingerprint(struct driver *d, void (*on)(void *ctx, const struct driver_fingerprint *f),
                       void *ctx, struct driver_sub **ret, struct err *err) MUST_CHECK;

/* ---- task events ---- */
struct driver_event {
    const char *task_id, *alloc_id, *task_name;
    int64_t time_ns;
    const char *message;
    struct kvs annotations;
};
/** Events that nobody was there to hear are kept (the last 64) and told first. */
int driver_task_events(struct driver *d, void (*on)(void *ctx, const struct driver_event *e),
                       void *ctx, struct driver_sub **ret, struct err *err) MUST_CHECK;
/** NULL allowed. */
void driver_unsubscribe(struct driver_sub *sub);

/* ---- tasks ---- */
struct driver_started {
    void *state; /* driver_state bytes; free() */
    size_t state_len;
    struct kvs port_map; /* label -> port */
    char addr[64];
    bool auto_advertise;
    struct task *task; /* until driver_started_told */
};
void driver_started_done(struct driver_started *s);

/** Then driver_started_told, once the answer is on its way. */
int driver_start_task(struct driver *d, const struct call *call, const struct task_config *task,
                      struct driver_started *ret, struct err *err) MUST_CHECK;
/** What nobody needs to wait for: the task's output begins. Blocks up to 2 s. */
void driver_started_told(struct driver *d, struct driver_started *s);
/** @state_len bytes of driver_state, ours or the built-in driver's. 0 also for a task known
 * already, and for one of ours when Docker does not answer: it is running until Docker says
 * otherwise. -ENOENT: the container is gone. */
int driver_recover_task(struct driver *d, const struct call *call, const struct task_config *task,
                        const void *state, size_t state_len, struct err *err) MUST_CHECK;
/** Queues @w until the task's end (see store.h). @ret_task: reference for driver_wait_cancel /
 * task_unref. Returns 0; -ENOENT "task not found for given id". */
int driver_wait_task(struct driver *d, const char *task_id, struct task_waiter *w,
                     struct task **ret_task, struct err *err) MUST_CHECK;

#define DRIVER_SIGNAL_MAX 24 /* longest name or number of a signal, with the NUL */

/* One StopTask, which waits as long as the task's kill_timeout and holds no thread meanwhile.
 * Caller's memory, zeroed but for the first two, until driver_stop_done. */
struct driver_stop {
    /* Exactly once; from any thread, also from within driver_stop_task. @r: 0 when the task is
     * unknown or its end is recorded, else -errno with @err. */
    void (*ended)(void *ctx, int r, const struct err *err);
    void *ctx;
    /* ---- the driver's ---- */
    struct driver *driver;
    struct task *task;
    struct task_waiter waiter;
    struct call call;
    enum driver_stop_step {
        STOP_BEGIN,
        STOP_BY_DOCKER, /* Docker stops it; it answers after the end */
        STOP_SIGNAL,    /* the signal is on its way */
        STOP_GRACE,     /* until SIGKILL */
        STOP_KILL,      /* SIGKILL is on its way */
        STOP_RECORD,    /* Docker has answered: until the end is recorded */
    } step;
    uint64_t timeout_us, kill_at_us;
    uint64_t at_us;                 /* when the step is over; clock_now_us() time */
    char signal[DRIVER_SIGNAL_MAX]; /* as Docker is sent it; "" = POST /stop */
    struct stop_request *request;
    int r;
    struct err err;
    struct driver_stop *next;
};
/** Stops the task: @signal, or the container's own stop signal when @signal is ""; SIGKILL follows
 *  @timeout_us later. Context: any thread, does not block. @call's cancel must live until `ended`
 *  was called. */
void driver_stop_task(struct driver *d, const struct call *call, const char *task_id,
                      int64_t timeout_us, const char *signal, struct driver_stop *s);
/** After driver_stop_task has returned: `ended` gets -ECANCELED when the stop still waits. Docker
 * goes on with a stop that it has begun. Any thread. */
void driver_stop_cancel(struct driver_stop *s);
/** After `ended`: releases what it holds, not @s itself. */
void driver_stop_done(struct driver_stop *s);
int driver_signal_task(struct driver *d, const struct call *call, const char *task_id,
                       const char *signal, struct err *err) MUST_CHECK;
/** 0 also for an unknown task. */
int driver_destroy_task(struct driver *d, const struct call *call, const char *task_id, bool force,
                        struct err *err) MUST_CHECK;

struct driver_inspect {
    char *name; /* free() by driver_inspect_done */
    struct task_look look;
    struct kvs port_map;
};
int driver_inspect_task(struct driver *d, const char *task_id, struct driver_inspect *ret,
                        struct err *err) MUST_CHECK;
void driver_inspect_done(struct driver_inspect *i);

/* ---- stats ---- */
struct driver_stats {
    int64_t time_ns;
    /* cpu */
    double percent, system_percent, user_percent, total_ticks;
    uint64_t throttled_periods, throttled_time_ns;
    /* memory, bytes */
    uint64_t rss, cache, swap, usage, max_usage, kernel_usage;
    bool has_max_usage, has_kernel;
};
/** @on is called every @interval_us (later while Docker, where it must be asked, is slow), and once
 * with NULL when the task has ended; one call at a time, from whichever thread read the sample or
 * learnt of the end. */
int driver_task_stats(struct driver *d, const char *task_id, int64_t interval_us,
                      void (*on)(void *ctx, const struct driver_stats *s), void *ctx,
                      struct driver_sub **ret, struct err *err) MUST_CHECK;

/* ---- exec ---- */
struct driver_exec_result {
    struct task_exit exit;
    char *out, *err; /* the last 4 KiB of each stream; free() by driver_exec_result_done */
    size_t out_len, err_len;
};
/** @timeout_us: 0 = none. On timeout: -ETIMEDOUT (ERR_DEADLINE), the exec is ended. */
int driver_exec_task(struct driver *d, const struct call *call, const char *task_id,
                     const char *const *argv, int64_t timeout_us, struct driver_exec_result *ret,
                     struct err *err) MUST_CHECK;
void driver_exec_result_done(struct driver_exec_result *r);

/* A streaming exec. Callbacks come from the streams thread, one at a time, and must not block. */
struct driver_exec;
struct driver_exec_ops {
    /* Output; @channel 1 stdout, 2 stderr; @len 0 = that channel is closed. All of it is taken. 0;
     * -EAGAIN: taken, but send no more until driver_exec_resume; other <0: nobody is there, ends
     * the exec. */
    int (*output)(void *ctx, int channel, const char *data, size_t len);
    /* The end, exactly once: all output was told. @err NULL unless it failed. */
    void (*exited)(void *ctx, const struct task_exit *exit, const struct err *err);
    /* driver_exec_stdin had refused and may be called again. */
    void (*room)(void *ctx);
};
int driver_exec_open(struct driver *d, const struct call *call, const char *task_id,
                     const char *const *argv, bool tty, const struct driver_exec_ops *ops,
                     void *ctx, struct driver_exec **ret, struct err *err) MUST_CHECK;
/** Queue towards the process. -ENOBUFS: 1 MiB waits for it, nothing was taken, ops.room will tell.
 * Any thread. */
int driver_exec_stdin(struct driver_exec *x, const char *data, size_t len) MUST_CHECK;
void driver_exec_stdin_close(struct driver_exec *x);
void driver_exec_resize(struct driver_exec *x, unsigned height, unsigned width);
void driver_exec_resume(struct driver_exec *x);
/** The client is gone or exited was told: ends the exec (when it still runs) and releases it.
 *  No callback comes after it has returned. */
void driver_exec_close(struct driver_exec *x);

/* ---- networks ---- */
struct driver_network {
    char *path; /* netns file */
    struct kvs labels;
    bool created;
};
int driver_create_network(struct driver *d, const struct call *call, const char *alloc_id,
                          const char *hostname, struct driver_network *ret,
                          struct err *err) MUST_CHECK;
void driver_network_done(struct driver_network *n);
/** @container_id: of the spec's label, "" = not known. 0 also when there is none. */
int driver_destroy_network(struct driver *d, const struct call *call, const char *alloc_id,
                           const char *container_id, struct err *err) MUST_CHECK;

/* ---- for people ---- */
/** What `paddock status` shows: {"driver": {...}, "pin": {...}}. Owner: caller. NULL without
 * memory. */
json_t *driver_status(struct driver *d);
/** The counters as Prometheus text; free(). NULL without memory. */
char *driver_metrics(struct driver *d);
