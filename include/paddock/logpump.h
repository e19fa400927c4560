/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The plugin's side of the log pump (src/logs).
 *
 * The pump is one process for all tasks (`paddock logpump`, src/pump). It carries container output
 * to Nomad's FIFOs, and it outlives the plugin and the agent.
 *
 * 1. logpump_new() sets the pump's folder and how the process is started. Each pair of driver name
 *    and Nomad client has its own folder.
 * 2. logpump_prepare() is called for a task that is about to be started or is recovered.
 *    logpump_begin() follows when the container runs.
 * 3. logpump_follow() does both steps and waits for Docker's answer. All three functions send
 *    the same request. The plugin keeps the request and sends it again to every other pump that
 *    it meets.
 * 4. logpump_finish() is called when the container has ended: all output is delivered, then the
 *    FIFOs close.
 * 5. logpump_forget() is called when the task is destroyed.
 *
 * Each line is delivered once and in order across every restart, because the pump records how far
 * it has delivered. For Docker's log file, the position is a byte of a file. For Docker's API, the
 * position is Docker's timestamp of a message and the message's number among those with the same
 * timestamp. When the machine's clock is set back, the pump searches the API's log for the message
 * itself until the clock has caught up. A slewed clock needs no such search. Lines can then be lost
 * only with a Docker before version 23: it leaves out each line whose time is before `since`, even
 * after newer lines. */
#include "paddock/call.h"
#include "paddock/err.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct logpump;

struct affinity;
struct buf;
struct loop;
struct pool;

struct logpump_options {
    /* Path of our own executable. /proc/self/exe stays ours when an upgrade replaces the file; a
     * pump of another version than the plugin's would not be accepted. */
    const char *program;
    const char *run_dir; /* private folder (0700): socket, lock, position files; made if absent */
    const char *endpoint, *tls_cert, *tls_key, *tls_ca; /* Docker's; as in docker_options */
    /* The Nomad client's folder of allocations. The pump takes over tasks of earlier pumps when
     * their FIFOs are below this folder. NULL: it takes over none. */
    const char *allocs_dir;
    uint64_t backlog_bytes; /* limit of held log files per task; 0 = 256 MB */
    /* The CPUs that the pump may use; copied. NULL: the CPUs of the thread that starts it. */
    const struct affinity *affinity;
    struct loop *loop; /* a running loop; it watches whether the pump lives */
    struct pool *pool; /* starts the pump again when it has died */
    /* Receives a sentence for a task's events, for example that lines were lost. Runs on the loop's
     * thread and must not block. NULL allowed. */
    void (*report)(void *ctx, const char *task_id, const char *text);
    void *ctx;
};

/** Makes the folder. The first task starts the process, not this function. That start also ends a
 * pump of another version or with other options, and the new pump continues its tasks. Returns 0;
 * -ENOMEM; -errno. Owner: caller, logpump_free(). */
int logpump_new(const struct logpump_options *o, struct logpump **ret, struct err *err) MUST_CHECK;
/** Releases the plugin's side only; the process continues. Call it after loop and pool have ended.
 * NULL allowed. */
void logpump_free(struct logpump *p);

/** Sets the CPUs that the pump's threads may use from now on. Each pump that is started or met
 * later gets them, too. @a is copied. Any thread; does not block. */
void logpump_set_affinity(struct logpump *p, const struct affinity *a);

struct logpump_task {
    const char *task_id, *container_id;
    const char *stdout_path, *stderr_path; /* Nomad's FIFOs */
    bool tty;
    /* The task is not new. When no position of it is known, its earlier output may have been
     * delivered already, so the pump starts at the present. */
    bool recovered;
    /* Taken over from another driver: delivery starts after since_ns, not at the first line. */
    bool adopted;
    int64_t since_ns; /* with adopted: nanoseconds since 1970 */
};
/** Prepares a task before its container runs: a pump is running, and the FIFOs are open in the pump
 * and in this process. A container that has ended since then can be finished like any other.
 *
 * Returns true when the pump is ready; call logpump_begin() next. Returns false when it is not;
 * call logpump_follow() instead, which does all steps and reports the reason. In both cases the
 * FIFOs may be held open, and logpump_drop() undoes this call. Context: as logpump_follow(); does
 * not wait for Docker. */
bool logpump_prepare(struct logpump *p, const struct call *call,
                     const struct logpump_task *t) MUST_CHECK;
/** Starts forwarding the output of a prepared task whose container runs. Waits for no answer,
 * neither the pump's nor Docker's: the pump asks Docker again for what it cannot get now. Does
 * nothing for an unknown task or one that is followed already. Context: any thread; blocks up to
 * 2 s when the pump is busy. */
void logpump_begin(struct logpump *p, const char *task_id);
/** Closes the FIFOs and drops what was not delivered. Does nothing for an unknown task. Context:
 * any thread; waits up to 1 s. */
void logpump_drop(struct logpump *p, const char *task_id);
/** Follows the container's output. This process also holds the FIFOs' write ends, so that Nomad's
 * logmon sees no end of file while the task lives. Returns 0, also when the output is followed
 * already; -ENOSYS when the container's log driver cannot be read; -errno. Context: any thread;
 * blocks up to the call's deadline. */
int logpump_follow(struct logpump *p, const struct call *call, const struct logpump_task *t,
                   struct err *err) MUST_CHECK;
/** Finishes a task whose container has ended: waits until everything is delivered (or the
 * deadline), then closes the FIFOs.
 *
 * @quiet_us: gives up earlier when the reader takes nothing for so long; keeps waiting while Docker
 * is slow with the rest. 0: only the deadline counts.
 *
 * Returns 0; -ETIMEDOUT, the FIFOs are closed all the same; -ECANCELED, the pump continues the
 * delivery; -errno. Returns 0 for an unknown task. Also returns 0, and does nothing, while
 * logpump_follow() of the task runs: the caller of logpump_follow() checks afterwards whether the
 * container has ended. */
int logpump_finish(struct logpump *p, const struct call *call, uint64_t quiet_us,
                   const char *task_id, struct err *err) MUST_CHECK;

/* logpump_finish() without a waiting thread: begin, wait for the descriptor, read until the answer
 * is complete, and end. */
struct logpump_finish;
/** Asks the pump to finish the task. Returns 1 with *@ret (owner: caller, logpump_finish_end() or
 * logpump_finish_free()); 0 when there is nothing to finish; -errno when the pump was not asked.
 * Context: any thread; blocks up to the call's deadline while a pump is found or started. */
int logpump_finish_begin(struct logpump *p, const struct call *call, const char *task_id,
                         struct logpump_finish **ret, struct err *err) MUST_CHECK;
/** The descriptor to watch for EPOLLIN. Owner: @f. */
int logpump_finish_fd(const struct logpump_finish *f);
/** Reads what has arrived, without waiting. Returns 1 while the answer is incomplete; 0 when
 * everything is delivered; -EPIPE when the pump has ended, begin again then; another -errno. */
int logpump_finish_read(struct logpump_finish *f, struct err *err) MUST_CHECK;
/** Closes the FIFOs and releases @f. @delivered: false closes them whatever is left, and then
 * blocks up to 1 s. */
void logpump_finish_end(struct logpump_finish *f, bool delivered);
/** Releases @f only; the pump continues. NULL allowed. */
void logpump_finish_free(struct logpump_finish *f);

/** Opens one of Nomad's log FIFOs for writing. Uses O_RDWR, so that its reader may come and go.
 *
 * @path: absolute, in Nomad's form <client's alloc_dir>/<alloc id>/alloc/logs/<FIFO>. Symbolic
 * links are followed up to the client's alloc_dir and not below it. In a path of another layout no
 * link is followed. "" and /dev/null mean that nothing is to be written.
 *
 * Returns 0, with *@ret_fd -EBADF when nothing is to be written; -ELOOP when a folder or the FIFO
 * is a link; -EINVAL when it is not a FIFO, which is then not opened, or when @path is not
 * absolute; -ENOENT; -errno. Owner: caller. Context: any thread. */
int pump_fifo_open(const char *path, int *ret_fd) MUST_CHECK;

/** Asks the pump of the folder @run_dir for its status. The answer is {"version", "settings",
 * "tasks": [{"task", "way": "file", "api" or "none", "lag_bytes", "lag_seconds", "lines_skipped",
 * "bytes_dropped", "gaps"}], "sum"}. "tasks" has one object per task, about its output. "sum" has
 * the number of tasks by way ("file", "api", "none"), the sums of the tasks' counters, and as
 * "lag_seconds" the longest.
 *
 * Returns NULL when no pump answers within @timeout_us. Never starts a pump. Owner: caller.
 * Context: any thread. */
json_t *logs_status_peek(const char *run_dir, uint64_t timeout_us);
/** Like logs_status_peek(), for the plugin's own pump. Returns {"error":TEXT, "sum"} when it does
 * not answer. Adds "starts", the number of pumps that this plugin has started. Blocks for at most
 * 0.1 s. */
json_t *logpump_status(struct logpump *p);
/** Appends the same status to @b as Prometheus text. Returns 0; -ENOMEM; -EMSGSIZE. */
int logpump_metrics(struct logpump *p, struct buf *b) MUST_CHECK;

/** Removes the position files of the container's output, because the task is destroyed.
 * Any thread. */
void logpump_forget(struct logpump *p, const char *container_id);

/** Returns true when process @pid has the argument `docker_logger`, as the built-in driver's log
 * process has. @proc_fd: a directory of /proc. Returns false when the process cannot be read.
 * Any thread. */
bool pump_rival_is_docker_logger(int proc_fd, pid_t pid);

/** The main function of `paddock logpump ARGS`. Returns the exit status. */
int pump_main(int argc, char **argv);
