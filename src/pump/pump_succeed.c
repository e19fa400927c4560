/* SPDX-License-Identifier: MPL-2.0 */
/* Ends the pumps that this one succeeds. pump_main.c calls it at the start, before the loop runs.
 *
 * A pump can be ended at any byte, because its position files contain what was delivered. The order
 * matters only for logmon: first all FIFOs are opened here, then the other pump is ended. The
 * kernel reports which process has the other end of a socket. So this works with a pump of any
 * version, and with one that does not answer. */
#include "src/pump/pump_succeed.h"

#include "paddock/call.h"
#include "paddock/clock.h"
#include "paddock/docker.h"
#include "paddock/log.h"
#include "paddock/logpump.h"

#include "src/pump/pump_proto.h"
#include "src/pump/pump_record.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#define HELLO_US (5 * US_PER_SEC)
#define TERM_MS 5000
#define KILL_MS 5000

/* ---- FIFOs ---- */

/* Opens the FIFO @path and keeps its descriptor in @h. Failures are ignored. */
static void hold_fifo(struct pump_held *h, const char *path) {
    int fd = -EBADF;
    int *more = reallocarray(h->fds, h->n + 1, sizeof(*h->fds));
    if (!more)
        return;
    h->fds = more;
    if (pump_fifo_open(path, &fd) == 0 && fd >= 0)
        h->fds[h->n++] = fd;
}

void pump_succeed_held_done(struct pump_held *h) {
    for (size_t i = 0; i < h->n; i++)
        close(h->fds[i]);
    free(h->fds);
    *h = (struct pump_held){0};
}

/* ---- position files ---- */

static DIR *records_of(const char *dir) {
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", dir, PUMP_RECORDS);
    return opendir(path);
}

static bool is_below(const char *path, const char *dir) {
    size_t len = strlen(dir);
    return strncmp(path, dir, len) == 0 && path[len] == '/';
}

/* Opens the FIFOs of all tasks whose FIFOs are below @allocs (NULL: of all tasks). Returns the
 * number of these tasks. */
static size_t hold_all(const char *dir, const char *allocs, struct pump_held *held) {
    char paths[2][PUMP_FIFO_PATH_MAX];
    size_t n = 0;
    DIR *d = records_of(dir);
    for (const struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.' || pump_record_read_paths(dirfd(d), e->d_name, paths) < 0 ||
            (allocs && !is_below(paths[0], allocs) && !is_below(paths[1], allocs)))
            continue;
        n++;
        if (strstr(e->d_name, PUMP_DONE))
            continue; /* the FIFOs of a finished task are closed already */
        hold_fifo(held, paths[0]);
        hold_fifo(held, paths[1]);
    }
    if (d)
        closedir(d);
    return n;
}

/* Moves all position files of @dir to @to_fd, because all of them belong to one client. When we
 * have a file of that name already, ours is newer and the other one is removed. */
static void take_all(const char *dir, int to_fd) {
    DIR *d = records_of(dir);
    for (const struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        if (renameat2(dirfd(d), e->d_name, to_fd, e->d_name, RENAME_NOREPLACE) < 0 &&
            (errno != EEXIST || unlinkat(dirfd(d), e->d_name, 0) < 0))
            log_warn("logpump",
                     LOG_KV("container_id", e->d_name, "folder", dir, "errno", strerror(errno)),
                     "a task's position file could not be taken over, ignoring");
    }
    if (d)
        closedir(d);
}

/* ---- the other pump's process ---- */

/* Connects to the pump of the folder @dir. Returns the descriptor, with a pidfd of the process;
 * -ECONNREFUSED or -ENOENT when no pump listens there; another -errno. */
static int connect_to(const char *dir, int *ret_pidfd) {
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct ucred who;
    socklen_t len = sizeof(who);
    struct timeval limit = {.tv_sec = HELLO_US / US_PER_SEC};
    int n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", dir, PUMP_SOCKET);
    if (n < 0 || (size_t)n >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
        connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
        return -errno;
    *ret_pidfd = pidfd_open(who.pid, 0);
    return *ret_pidfd < 0 ? -errno : TAKE_FD(fd);
}

/* Returns true when the pump at @fd has the version and settings of @hello; false also when it does
 * not answer. */
static bool is_same(int fd, const json_t *hello) {
    static const char question[] = "{\"op\":\"hello\"}\n";
    char line[PUMP_LINE_MAX];
    size_t len = 0;
    struct call call = call_within(NULL, HELLO_US);
    if (send(fd, question, sizeof(question) - 1, MSG_NOSIGNAL) < 0)
        return false;
    while (len < sizeof(line) && !memchr(line, '\n', len) && call_wait_fd(&call, fd, POLLIN) == 0) {
        ssize_t n = recv(fd, line + len, sizeof(line) - len, 0);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    AUTO_JSON json_t *answer = json_loadb(line, len, 0, NULL);
    return answer && json_equal(answer, hello);
}

static bool has_ended(int pidfd, int wait_ms) {
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    return poll(&p, 1, wait_ms) > 0;
}

/* Ends the process with SIGTERM, and with SIGKILL when it does not end. Returns 0;
 * -ETIMEDOUT; -errno. */
static int end_process(int pidfd) {
    if (pidfd_send_signal(pidfd, SIGTERM, NULL, 0) < 0 && errno != ESRCH)
        return -errno;
    if (has_ended(pidfd, TERM_MS))
        return 0;
    if (pidfd_send_signal(pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
        return -errno;
    return has_ended(pidfd, KILL_MS) ? 0 : -ETIMEDOUT;
}

int pump_succeed_here(const char *dir, const json_t *hello, struct pump_held *held) {
    AUTO_FD int pidfd = -EBADF;
    AUTO_FD int fd = connect_to(dir, &pidfd);
    if (fd == -ECONNREFUSED || fd == -ENOENT || fd == -ESRCH || (fd >= 0 && is_same(fd, hello)))
        return 1;
    if (fd < 0)
        return fd;
    hold_all(dir, NULL, held);
    log_info("logpump", LOG_KV("folder", dir),
             "a pump of another version or with other settings ends, this one goes on");
    return end_process(pidfd);
}

struct siblings {
    const struct pump_dir *own;
    const char *allocs;
    struct pump_held *held;
};

static void succeed_sibling(void *ctx, const char *path) {
    struct siblings *s = ctx;
    struct pump_dir dir;
    if (hold_all(path, s->allocs, s->held) == 0)
        return;
    int r = pump_dir_open(path, &dir);
    if (r == 1) {
        pump_dir_close(&dir);
        AUTO_FD int pidfd = -EBADF;
        AUTO_FD int fd = connect_to(path, &pidfd);
        r = fd < 0 ? fd : end_process(pidfd);
        if (r == 0)
            r = pump_dir_open(path, &dir);
        else
            dir = (struct pump_dir){.fd = -EBADF, .lock_fd = -EBADF, .records_fd = -EBADF};
    }
    if (r == 0)
        take_all(path, s->own->records_fd);
    pump_dir_close(&dir);
    if (r == 0)
        log_info("logpump", LOG_KV("folder", path), "goes on with what an earlier pump was at");
    else
        log_warn("logpump", LOG_KV("folder", path, "errno", strerror(r < 0 ? -r : EBUSY)),
                 "an earlier pump's tasks could not be taken over, ignoring");
}

void pump_succeed_siblings(const struct pump_dir *own, const char *allocs, struct pump_held *held) {
    struct siblings s = {own, allocs, held};
    if (allocs[0])
        pump_dir_each_sibling(own->path, succeed_sibling, &s);
}
