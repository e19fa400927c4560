/* SPDX-License-Identifier: MPL-2.0 */
/* The exit code of an exec, and the end of an exec whose caller has stopped waiting. task_exec.c
 * and task_exec_stream.c use these functions.
 *
 * Docker has no call that ends an exec. This file therefore kills the exec's process itself. The
 * pid comes from Docker and may have been reused since, so the process is pinned by a pidfd and
 * must be in the container's cgroup before it is killed. */
#include "src/task/exec.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>

#define EXEC_POLL_FIRST_US (2 * US_PER_MS)
#define EXEC_POLL_MAX_US (100 * US_PER_MS)
#define EXEC_KILL_LIMIT_US (30 * US_PER_SEC) /* for an exec that Docker is still starting */
#define EXEC_KILL_LAST_US (200 * US_PER_MS)  /* a last attempt when the plugin ends */
/* The code that Docker reports for a command that it could not start. */
#define EXEC_NEVER_RAN 126

int exec_code(const struct docker_exec_state *s) {
    return s->ended ? s->code : EXEC_NEVER_RAN;
}

int exec_wait_code(struct driver *d, const struct call *call, const char *exec_id, int *ret_code,
                   struct err *err) {
    for (uint64_t wait = EXEC_POLL_FIRST_US;;
         wait = wait * 2 > EXEC_POLL_MAX_US ? EXEC_POLL_MAX_US : wait * 2) {
        struct docker_exec_state state;
        struct call within = call_within(call, d->timeout_us);
        int r = docker_exec_inspect(d->docker, &within, exec_id, &state, err);
        if (r < 0)
            return r;
        if (!state.running) {
            *ret_code = exec_code(&state);
            return 0;
        }
        r = call_sleep(call, wait);
        if (r < 0)
            return r;
    }
}

/* Returns whether the process is in the container. The path of the container's cgroup contains
 * the container's id, whatever the parent of the cgroup. The pid may have been reused by
 * another process. */
static bool is_in_container(const struct driver *d, pid_t pid, const char *container_id) {
    char name[64], text[8192];
    snprintf(name, sizeof(name), "%d/cgroup", (int)pid);
    AUTO_FD int fd = openat(d->proc_fd, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (n <= 0)
        return false;
    text[n] = '\0';
    return container_id[0] && strstr(text, container_id) != NULL;
}

/* Kills the process and what it has started: a shell's commands are in its process group, which is
 * its own. The pidfd is opened before the check, because at the time of the signal the pid could
 * belong to another process. */
static void kill_group(const struct driver *d, pid_t pid, const char *container_id) {
    AUTO_FD int fd = pidfd_open(pid, 0);
    if (fd < 0 || !is_in_container(d, pid, container_id))
        return;
    if (getpgid(pid) == pid && pidfd_send_signal(fd, 0, NULL, 0) == 0)
        (void)kill(-pid, SIGKILL);
    if (pidfd_send_signal(fd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
        log_debug("exec", LOG_KV("errno", strerror(errno)),
                  "the command could not be ended, ignoring");
}

struct exec_kill {
    struct driver *d;
    char container_id[65], exec_id[65];
};

/* Docker continues a start after its caller has stopped waiting, and reports the pid after the
 * start. Waits for the pid and kills the process. Returns 0, or -errno when the pid could not be
 * found out. */
static int kill_when_started(const struct exec_kill *k, const struct call *call) {
    struct docker_exec_state state;
    for (uint64_t wait = EXEC_POLL_FIRST_US;;
         wait = wait * 2 > EXEC_POLL_MAX_US ? EXEC_POLL_MAX_US : wait * 2) {
        int r = docker_exec_inspect(k->d->docker, call, k->exec_id, &state, NULL);
        if (r < 0 || state.ended)
            return r;
        if (state.pid > 1) {
            kill_group(k->d, state.pid, k->container_id);
            return 0;
        }
        r = call_sleep(call, wait);
        if (r < 0)
            return r;
    }
}

static void kill_work(void *arg) {
    struct exec_kill *k = arg;
    uint64_t limit = k->d->timeout_us < EXEC_KILL_LIMIT_US ? k->d->timeout_us : EXEC_KILL_LIMIT_US;
    struct call call = call_within(NULL, limit);
    call.cancel = &k->d->ended;
    if (kill_when_started(k, &call) == -ECANCELED) {
        call = call_within(NULL, EXEC_KILL_LAST_US);
        if (kill_when_started(k, &call) < 0)
            log_debug("exec", LOG_KV("container_id", k->container_id),
                      "a command may run on after the plugin's end, ignoring");
    }
    free(k);
}

void exec_kill(struct driver *d, const char *container_id, const char *exec_id) {
    struct exec_kill *k = malloc(sizeof(*k));
    if (k) {
        k->d = d;
        snprintf(k->container_id, sizeof(k->container_id), "%s", container_id);
        snprintf(k->exec_id, sizeof(k->exec_id), "%s", exec_id);
    }
    if (!k || pool_run(d->pool, kill_work, k) < 0) {
        log_warn("exec", LOG_KV("container_id", container_id),
                 "no thread to end a command that no call waits for: it runs on, ignoring");
        free(k);
    }
}
