#pragma once
/* The log pump: one process for all tasks (`paddock logpump`, src/pump) that carries container
 * output to Nomad's FIFOs and outlives plugin and agent. This is the plugin's side of it
 * (src/logs).
 *
 * 1. logpump_new: where the pump's folder is (one for each driver name and Nomad client), and how
 * the process is started;
 * 2. logpump_prepare for a task that is about to be started or is recovered, then logpump_begin;
 * 3. or logpump_follow, where Docker's answer matters. All three send one request, which is kept
 * and sent again to every other pump that is met;
 * 4. logpump_finish when the container has ended: all is delivered, and the FIFOs close;
 * 5. logpump_forget when the task is destroyed.
 *
 * Each line comes once and in order across every restart: the pump notes how far it has delivered.
 * Read from Docker's log file, that is a byte of a file. Read through Docker's API, it is Docker's
 * timestamp of a message and the message's number among those of that time. There, where the
 * machine's clock is set back (a slewed clock is not), the message itself is looked for until the
 * clock has caught up. Only a Docker before 23 can lose lines then: it leaves out each line whose
 * time is before `since`, even if newer ones came before it. */
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
    const char *program; /* path of our own executable (/proc/self/exe) */
    const char
        *run_dir; /* private folder (0700) for socket, lock and position files; made if absent */
    const char *endpoint, *tls_cert, *tls_key, *tls_ca; /* Docker's, as in docker_options */
    const char *allocs_dir; /* the Nomad client's: tasks of earlier pumps below it are taken over;
                               NULL = of none */
    uint64_t backlog_bytes; /* of held log files per task; 0 = 256 MB */
    const struct affinity *affinity; /* the CPUs that the pump may use, copied; NULL = those of the
                                        thread that starts it */
    struct loop *loop;               /* a running loop: watches whether the pump lives */
    struct pool *pool;               /* starts it again when it has died */
    /* A sentence for a task's events: lines that were lost, for example. Comes on the loop's
     * thread; must not block. NULL allowed. */
    void (*report)(void *ctx, const char *task_id, const char *text);
    void *ctx;
};

/** Makes nothing but the folder; no process is started before the first task. A pump of another
 * version or with other options is ended then, and the new one goes on with its tasks. */
int logpump_new(const struct logpump_options *o, struct logpump **ret, struct err *err) MUST_CHECK;
/** Ends our side only: the process goes on. After loop and pool have ended. */
void logpump_free(struct logpump *p);

/** The CPUs that the pump's threads may use from now on, and those of each pump that is started or
 * met later. @a is copied. Any thread; does not block. */
void logpump_set_affinity(struct logpump *p, const struct affinity *a);

struct logpump_task {
    const char *task_id, *container_id;
    const char *stdout_path, *stderr_path; /* Nomad's FIFOs */
    bool tty;
    bool recovered; /* not new: where nothing is known of it, its old output may be delivered */
    bool adopted; /* taken over from another driver: start after since_ns, not at the first line */
    int64_t since_ns; /* with adopted: since 1970 */
};
/** Before the container runs: a pump is there, and the FIFOs are open in it and here. Then comes
 * logpump_begin; false: it could not be, logpump_follow
 * does all, and says why not. Or logpump_drop, in both cases: the FIFOs are held. A container that
 * has ended meanwhile may be finished as any other. Context: as logpump_follow; does not wait for
 * Docker. */
bool logpump_prepare(struct logpump *p, const struct call *call,
                     const struct logpump_task *t) MUST_CHECK;
/** It runs: the output of what is prepared is followed. Waits for no answer, Docker's neither; what
 * Docker cannot give now is asked for again. Unknown tasks, and those that are followed: nothing.
 * Context: any thread; blocks up to 2 s for a pump that is busy. */
void logpump_begin(struct logpump *p, const char *task_id);
/** The FIFOs close, with what was not delivered. Unknown tasks: nothing. Waits up to 1 s. */
void logpump_drop(struct logpump *p, const char *task_id);
/** Follows the container's output. Also holds the FIFOs' write ends in this process, so that
 * Nomad's logmon sees no end of file while the task lives. 0 also when it is followed already;
 * -ENOSYS: its log driver cannot be read. Context: any thread, blocks up to the call's deadline. */
int logpump_follow(struct logpump *p, const struct call *call, const struct logpump_task *t,
                   struct err *err) MUST_CHECK;
/** The container has ended: waits until everything is delivered (or the deadline), then the FIFOs
 * close. @quiet_us: waits no longer than that for a reader that takes nothing, but on for a Docker
 * that is slow with the rest; 0 = the deadline alone. 0; -ETIMEDOUT (closed all the same);
 * -ECANCELED (the pump goes on with it). Unknown tasks: 0. Also 0, with nothing done, while
 * logpump_follow of the task is under way: who calls that looks afterwards whether the container
 * has ended meanwhile. */
int logpump_finish(struct logpump *p, const struct call *call, uint64_t quiet_us,
                   const char *task_id, struct err *err) MUST_CHECK;

/* The same without a thread that waits: begin, wait for the fd, read until the answer is there, and
 * end. */
struct logpump_finish;
/** Asks the pump. Returns 1 with *@ret (owner: caller, logpump_finish_end or logpump_finish_free);
 * 0 there is nothing to finish; -errno: not asked. Context: any thread; blocks up to the call's
 * deadline while a pump is found or started. */
int logpump_finish_begin(struct logpump *p, const struct call *call, const char *task_id,
                         struct logpump_finish **ret, struct err *err) MUST_CHECK;
/** To be watched for EPOLLIN. */
int logpump_finish_fd(const struct logpump_finish *f);
/** Reads what has come, without waiting. Returns 1 while the answer is not there; 0 everything is
 * delivered; -EPIPE the pump has ended: begin again; other -errno. */
int logpump_finish_read(struct logpump_finish *f, struct err *err) MUST_CHECK;
/** Closes the FIFOs and releases @f. @delivered false: whatever is left; blocks up to 1 s then. */
void logpump_finish_end(struct logpump_finish *f, bool delivered);
/** Releases @f alone: the pump goes on. NULL allowed. */
void logpump_finish_free(struct logpump_finish *f);

/** Opens one of Nomad's log FIFOs for writing: O_RDWR, so that its reader may come and go.
 *  @path: absolute, as Nomad gives it: <client's alloc_dir>/<alloc id>/alloc/logs/<FIFO>. Links are
 * followed up to the client's alloc_dir, and not below it. In a path of another layout none is
 * followed. "" and /dev/null mean that nothing is to be written.
 *  Returns 0 (@ret_fd -EBADF when nothing is to be written); -ELOOP a folder or the FIFO is a link;
 * -EINVAL no FIFO, which is then not opened, or @path is not absolute; -ENOENT; -errno.
 *  Owner: caller. Context: any thread. */
int logpump_fifo_open(const char *path, int *ret_fd) MUST_CHECK;

/** What the pump of the folder @run_dir reports: {"version", "settings", "tasks": [{"task", "way":
 * "file", "api" or "none", "lag_bytes", "lag_seconds", "lines_skipped", "bytes_dropped", "gaps"}]},
 * of each task's output, and "sum": {"file", "api", "none": tasks, and sums of what the tasks have;
 * "lag_seconds": the longest}. Returns NULL when none answers within @timeout_us. Starts none. Any
 * thread. Owner: caller. */
json_t *logpump_peek(const char *run_dir, uint64_t timeout_us);
/** As logpump_peek, of the plugin's own pump, or {"error":TEXT, "sum"}; and "starts", how many this
 * plugin has started. Blocks for 0.1 s at most. */
json_t *logpump_status(struct logpump *p);
/** The same as Prometheus text, added to @b. Returns 0; -ENOMEM; -EMSGSIZE. */
int logpump_metrics(struct logpump *p, struct buf *b) MUST_CHECK;

/** The task is destroyed: what is noted of its container's output goes. Any thread. */
void logpump_forget(struct logpump *p, const char *container_id);

/** Has process @pid the argument `docker_logger`, as the built-in driver's log process has?
 *  @proc_fd: a directory of /proc. False for what cannot be read. Any thread. */
bool logpump_is_docker_logger(int proc_fd, pid_t pid);

/** `paddock logpump ARGS`: the process. Returns the exit status. */
int logpump_main(int argc, char **argv);
