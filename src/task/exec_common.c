#include "exec_common.h"

#include "paddock/clock.h"
#include "paddock/log.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>

#define EXEC_POLL_FIRST_US (2 * US_PER_MS)
#define EXEC_POLL_MAX_US (100 * US_PER_MS)

int exec_wait_code(struct driver *d, const struct call *call, const char *exec_id, int *ret_code,
                   struct err *err) {
    for (uint64_t wait = EXEC_POLL_FIRST_US;;
         wait = wait * 2 > EXEC_POLL_MAX_US ? EXEC_POLL_MAX_US : wait * 2) {
        bool running;
        struct call within = call_within(call, d->timeout_us);
        int r = docker_exec_inspect(d->docker, &within, exec_id, &running, ret_code, NULL, err);
        if (r < 0 || !running)
            return r;
        r = call_sleep(call, wait);
        if (r < 0)
            return r;
    }
}

/* In this container: its cgroup's path has the id in it, whatever the cgroup's parent. A pid may be
 * anybody's. */
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

void exec_kill(struct driver *d, const char *container_id, const char *exec_id) {
    struct call call = call_within(NULL, d->timeout_us);
    bool running = false;
    int code;
    pid_t pid = 0;
    if (docker_exec_inspect(d->docker, &call, exec_id, &running, &code, &pid, NULL) < 0 || !running)
        return;
    /* Held before it is looked at: at the signal the number could be another process's. */
    AUTO_FD int fd = pid > 1 ? pidfd_open(pid, 0) : -EBADF;
    if (fd >= 0 && is_in_container(d, pid, container_id) &&
        pidfd_send_signal(fd, SIGKILL, NULL, 0) < 0)
        log_debug("exec", LOG_KV("errno", strerror(errno)),
                  "the command could not be ended, ignoring");
}
