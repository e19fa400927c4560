/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The Docker task driver as plain C. plugin/ calls one function of this header for each RPC. No
 * type of gRPC or protobuf is used here.
 *
 * Life cycle:
 * - driver_new() has no side effects.
 * - driver_set_config() may be called any number of times.
 * - The first use by a real agent activates the driver: Docker client, event stream, reconciler,
 *   streams thread, control socket.
 * - driver_free() ends the driver. It touches no container.
 *
 * A process has one `struct driver`. Unless a comment says otherwise, each function may be called
 * from any thread, and a function that takes a `struct call` blocks up to the deadline of the call
 * or its own deadline, whichever is sooner. */
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
    const char *name;        /* file name of the executable, which is Nomad's name for the driver */
    const char *program;     /* path of the executable, for the log pump; as in logpump_options */
    const char *cgroup_root; /* "/sys/fs/cgroup" */
    const char *run_dir;     /* parent of our sockets: "/run/paddock" */
    /* Why no task can run here; NULL = tasks can run. The fingerprint is unhealthy with this text,
     * so the text must stay the same. Starts fail with it. */
    const char *unfit;
    /* Called once, when the driver is activated and before its streams thread runs on @loop. A
     * caller that has sockets of its own (control, metrics) adds them to @loop there.
     * @metrics_listen: from the configuration, "" = off. NULL allowed. */
    void (*activated)(void *ctx, struct loop *loop, const char *metrics_listen);
    /* Called from the reconciler's thread when the reconciler cannot continue. The process must
     * then end, so that the agent starts another one. NULL allowed. */
    void (*broken)(void *ctx, const char *why);
    void *ctx;
};

/** Allocates the driver; copies the texts of @o. Returns 0; -ENOMEM. Owner:
 * caller, driver_free(). */
int driver_new(const struct driver_options *o, struct driver **ret, struct err *err) MUST_CHECK;
/** Ends the threads and closes the streams. Containers and the log pump keep running. */
void driver_free(struct driver *d);

/** SetConfig. @agent: the agent sent nomad_config, so this process is the one that will run tasks,
 * and it is activated. Without nomad_config the values are only checked and kept. Returns 0;
 * -EINVAL; -ENOMEM; with @agent also the errors of driver_activate(). An unavailable Docker is not
 * an error. */
int driver_set_config(struct driver *d, const void *msgpack, size_t len, bool agent,
                      uint64_t total_compute_mhz, unsigned cores, struct err *err) MUST_CHECK;
/** Makes this process the instance that runs tasks: Docker client, event stream, reconciler,
 * streams thread. Returns immediately when the driver is active already. Call it before
 * fingerprint_subscribe, task_start, task_recover, networks_create and
 * networks_destroy. Returns 0; -ENOTCONN (ERR_PLAIN) before SetConfig; another -errno. */
int driver_activate(struct driver *d, struct err *err) MUST_CHECK;
/** Init. Activates the driver and does nothing else. */
int driver_init(struct driver *d, struct err *err) MUST_CHECK;

/** The disable_log_collection of the configuration. Returns false before SetConfig. */
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

/* A subscription. Callbacks come from a thread of the driver. A callback must not block and must
 * not unsubscribe. After fan_unsubscribe() returns, no callback is running or will run. */
struct driver_sub;
/** Calls @on with the last known fingerprint, if one exists, and then after each probe. A
 * probe runs every 30 s, or every 5 s while Docker is not healthy. When Docker was healthy
 * and its answer is late for the first time, nothing is sent. Returns 0; -ENOMEM. Owner:
 * caller, fan_unsubscribe(). */
int fingerprint_subscribe(struct driver *d,
                          void (*on)(void *ctx, const struct driver_fingerprint *f), void *ctx,
                          struct driver_sub **ret, struct err *err) MUST_CHECK;

/* ---- task events ---- */
struct driver_event {
    const char *task_id, *alloc_id, *task_name;
    int64_t time_ns;
    const char *message;
    struct kvs annotations;
};
/** Calls @on for each task event. While no client listens, the last 64 events are kept; the next
 * client receives them first. Returns 0; -ENOMEM. Owner: caller, fan_unsubscribe(). */
int driver_task_events(struct driver *d, void (*on)(void *ctx, const struct driver_event *e),
                       void *ctx, struct driver_sub **ret, struct err *err) MUST_CHECK;
/** Ends the subscription. Must not be called from its callback. NULL allowed. */
void fan_unsubscribe(struct driver_sub *sub);

/* ---- tasks ---- */
struct driver_started {
    void *state; /* bytes of driver_state; task_start_done() frees them */
    size_t state_len;
    struct kvs port_map; /* label -> port */
    char addr[64];
    bool auto_advertise;
    struct task *task; /* a reference, until task_start_reported() */
};
/** Frees the contents of @s. The caller always calls it, also after task_start_reported(). */
void task_start_done(struct driver_started *s);

/** StartTask. After success the caller sends the answer to Nomad and then calls
 * task_start_reported(). Returns 0; -errno with @err, whose class is ERR_RECOVERABLE when Nomad's
 * restart policy may try again. After an error everything is undone; a container that cannot be
 * removed then is removed later. Owner of @ret: caller, task_start_done(). */
int task_start(struct driver *d, const struct call *call, const struct task_config *task,
               struct driver_started *ret, struct err *err) MUST_CHECK;
/** Starts forwarding the task's output. Nomad need not wait for this. Blocks up to 2 s. */
void task_start_reported(struct driver *d, struct driver_started *s);
/** RecoverTask. @state: @state_len bytes of driver_state, from this driver or from the built-in
 * one. Returns 0; -ENOENT when the container does not exist any more; another -errno. Also returns
 * 0 for a task that is known already, and for a task of this driver when Docker does not answer:
 * the task counts as running until Docker reports something else. */
int task_recover(struct driver *d, const struct call *call, const struct task_config *task,
                 const void *state, size_t state_len, struct err *err) MUST_CHECK;
/** Queues @w until the task's end (see store.h). @ret_task: a reference, for store_wait_cancel()
 * and store_task_unref(). Returns 0; -ENOENT "task not found for given id". */
int exit_wait(struct driver *d, const char *task_id, struct task_waiter *w, struct task **ret_task,
              struct err *err) MUST_CHECK;

#define DRIVER_SIGNAL_MAX 24 /* longest name or number of a signal, with the NUL */

/* One StopTask. It waits as long as the task's kill_timeout, and uses no thread while it waits. The
 * memory is the caller's until task_stop_done(); all but the first two fields must be zero. */
struct driver_stop {
    /* Called exactly once, from any thread, possibly from within task_stop(). @r: 0 when the
     * task is unknown or its end is recorded, else -errno with @err. */
    void (*ended)(void *ctx, int r, const struct err *err);
    void *ctx;
    /* ---- used by the driver only ---- */
    struct driver *driver;
    struct task *task;
    struct task_waiter waiter;
    struct call call;
    enum driver_stop_step {
        STOP_BEGIN,
        STOP_BY_DOCKER, /* Docker stops the container and answers after its end */
        STOP_SIGNAL,    /* the signal was sent to Docker, which has not answered */
        STOP_GRACE,     /* waiting for the time of SIGKILL */
        STOP_KILL,      /* SIGKILL was sent to Docker, which has not answered */
        STOP_RECORD,    /* Docker has answered; waiting for the record of the end */
    } step;
    uint64_t timeout_us, kill_at_us;
    uint64_t at_us;                 /* end of the step; clock_now_us() time */
    char signal[DRIVER_SIGNAL_MAX]; /* as it is sent to Docker; "" = POST /stop */
    struct stop_request *request;
    int r;
    struct err err;
    struct driver_stop *next;
};
/** Stops the task: sends @signal, or the container's own stop signal when @signal is "", and
 * SIGKILL @timeout_us later. Context: any thread, does not block. @call's cancel must live until
 * `ended` was called. */
void task_stop(struct driver *d, const struct call *call, const char *task_id, int64_t timeout_us,
               const char *signal, struct driver_stop *s);
/** Cancels a stop after task_stop() has returned. When the stop still waits, `ended` is
 * called with -ECANCELED. Docker still completes a stop that it has begun. Any thread. */
void task_stop_cancel(struct driver_stop *s);
/** Releases what @s refers to, but not @s itself. Call it after `ended`. */
void task_stop_done(struct driver_stop *s);
/** Sends a signal to the container. @signal: its name or number. Returns 0; -EINVAL (ERR_INVALID)
 * for an unknown signal; -ENOENT for an unknown task; -ESRCH while the task is being started;
 * errors of docker.h. */
int task_signal(struct driver *d, const struct call *call, const char *task_id, const char *signal,
                struct err *err) MUST_CHECK;
/** DestroyTask. Returns 0, also for an unknown task; -EBUSY when the task runs and @force is false;
 * another -errno. */
int task_destroy(struct driver *d, const struct call *call, const char *task_id, bool force,
                 struct err *err) MUST_CHECK;

struct driver_inspect {
    char *name; /* free() by task_inspect_done */
    struct task_look look;
    struct kvs port_map;
};
/** A copy of what is known of the task. Does not ask Docker. Returns 0; -ENOENT for an unknown
 * task; -ENOMEM. Owner: caller, task_inspect_done(). */
int task_inspect(struct driver *d, const char *task_id, struct driver_inspect *ret,
                 struct err *err) MUST_CHECK;
void task_inspect_done(struct driver_inspect *i);

/* ---- stats ---- */
struct driver_stats {
    int64_t time_ns;
    /* CPU: percent of one core (two busy cores: 200); total_ticks in MHz */
    double percent, system_percent, user_percent, total_ticks;
    uint64_t throttled_periods, throttled_time_ns;
    /* memory, bytes */
    uint64_t rss, cache, swap, usage, max_usage, kernel_usage;
    bool has_max_usage, has_kernel;
};
/** Calls @on every @interval_us (0 = 1 s, at least 100 ms), and once with NULL when the task has
 * ended. Where the figures come from Docker, a slow Docker makes them late. @on is called once at a
 * time, from the thread that read the sample or learned of the end. Returns 0; -ENOENT for an
 * unknown task; -ENOMEM. Owner: caller, fan_unsubscribe(). */
int task_stats(struct driver *d, const char *task_id, int64_t interval_us,
               void (*on)(void *ctx, const struct driver_stats *s), void *ctx,
               struct driver_sub **ret, struct err *err) MUST_CHECK;

/* ---- exec ---- */
struct driver_exec_result {
    struct task_exit exit;
    char *out, *err; /* the last 4 KiB of each stream; free() by task_exec_result_done */
    size_t out_len, err_len;
};
/** Runs @argv in the task's container and waits for its end. @timeout_us: 0 = none. Returns 0
 * (owner of @ret: caller, task_exec_result_done()); -ETIMEDOUT (ERR_DEADLINE) when the timeout
 * expired, and the exec is ended; -EINVAL (ERR_INVALID) for an empty @argv; -ENOENT for an unknown
 * task; another -errno. */
int task_exec(struct driver *d, const struct call *call, const char *task_id,
              const char *const *argv, int64_t timeout_us, struct driver_exec_result *ret,
              struct err *err) MUST_CHECK;
void task_exec_result_done(struct driver_exec_result *r);

/* A streaming exec. Callbacks come from the streams thread, one at a time. They must not block. */
struct driver_exec;
struct driver_exec_ops {
    /* Output. @channel: 1 stdout, 2 stderr. @len 0 = the channel is closed. The callback always
     * takes all of @data. Returns 0; -EAGAIN to receive no more until task_exec_stream_resume();
     * another -errno when no client is connected, which ends the exec. */
    int (*output)(void *ctx, int channel, const char *data, size_t len);
    /* The end of the exec. Called exactly once, after all output. @err is NULL unless the
     * exec failed. */
    void (*exited)(void *ctx, const struct task_exit *exit, const struct err *err);
    /* task_exec_stream_stdin() returned -ENOBUFS before, and may be called again now. */
    void (*room)(void *ctx);
};
/** Starts @argv in the task's container. @ops is copied. Callbacks may come before the function
 * returns, but *@ret is set by then. Returns 0; -EINVAL (ERR_INVALID) for an empty @argv; -ENOENT
 * for an unknown task; -ENOMEM; errors of docker.h. Owner: caller, task_exec_stream_close(). */
int task_exec_stream_open(struct driver *d, const struct call *call, const char *task_id,
                          const char *const *argv, bool tty, const struct driver_exec_ops *ops,
                          void *ctx, struct driver_exec **ret, struct err *err) MUST_CHECK;
/** Queues @data for the process. Returns 0; -ENOBUFS when 1 MiB waits for the process: nothing was
 * taken, and ops.room is called when there is room again; -EMSGSIZE when @data is longer than 64
 * MiB; -ENOMEM. Any thread. */
int task_exec_stream_stdin(struct driver_exec *x, const char *data, size_t len) MUST_CHECK;
/** Closes the process's stdin after the queued data. Later data is ignored. Any thread, does
 * not block. */
void task_exec_stream_stdin_close(struct driver_exec *x);
/** Sets the size of the TTY, in characters. A failure is ignored. Any thread, does not block. */
void task_exec_stream_resize(struct driver_exec *x, unsigned height, unsigned width);
/** Lets `output` be called again after it has returned -EAGAIN. Any thread, does not block. */
void task_exec_stream_resume(struct driver_exec *x);
/** Releases @x. Call it when the client has disconnected or after `exited`. Ends the exec when it
 * still runs. After the function returns, no callback is running or will run. */
void task_exec_stream_close(struct driver_exec *x);

/* ---- networks ---- */
struct driver_network {
    char *path; /* netns file */
    struct kvs labels;
    bool created;
};
/** Finds or creates the network of an allocation's task group, which is a pause container.
 * @hostname: "" or NULL = none. Returns 0; -EINVAL for an invalid hostname; -ENOMEM; errors of
 * docker.h and image.h. Owner: caller, networks_created_done(). */
int networks_create(struct driver *d, const struct call *call, const char *alloc_id,
                    const char *hostname, struct driver_network *ret, struct err *err) MUST_CHECK;
void networks_created_done(struct driver_network *n);
/** @container_id: from the label of the network spec, "" = unknown. Returns 0, also when the
 * network does not exist; -errno. */
int networks_destroy(struct driver *d, const struct call *call, const char *alloc_id,
                     const char *container_id, struct err *err) MUST_CHECK;

/* ---- status and metrics ---- */
/** What `paddock status` shows: {"driver": {...}, "pin": {...}}. Owner: caller. Returns NULL when
 * out of memory. */
json_t *driver_status(struct driver *d);
/** The metrics as Prometheus text, "" before the driver is active. Owner: caller, free(). Returns
 * NULL when out of memory. */
char *driver_metrics(struct driver *d);
