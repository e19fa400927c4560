/* SPDX-License-Identifier: MPL-2.0 */
/* Starts `paddock logpump`, and asks a running one for its version and settings. logpump.c and
 * logs_watch.c call it.
 *
 * A pump outlives the plugin that started it. So the first pump that a plugin meets may be of
 * another version. Then the plugin starts its own pump, which succeeds the other one
 * (pump_succeed.c). This happens once in a plugin's life. A pump that is found later was started by
 * another plugin of this client, and two plugins must not end each other's pumps in turns.
 *
 * A pump that ends by itself soon after its start is started again after a growing pause. One that
 * was killed from outside is started again immediately. */
#include "src/logs/logs_process.h"

#include "paddock/clock.h"
#include "paddock/docker.h"
#include "paddock/log.h"
#include "paddock/strv.h"

#include "src/logs/logs_socket.h"
#include "src/pump/pump_dir.h"
#include "src/pump/pump_proto.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#define HELLO_US (5 * US_PER_SEC)
#define LOOK_AGAIN_US (50 * US_PER_MS) /* between attempts: a pump that ends still has the lock */
#define START_PAUSE_FIRST_US (100 * US_PER_MS)
#define START_PAUSE_MAX_US (5 * US_PER_SEC)
/* A pump that lived for LIVED_US did not end because of its start. One with exit status 0 that
 * lived shorter than LIVED_WELL_US found another pump at work, or had nothing to do. */
#define LIVED_US (10 * US_PER_SEC)
#define LIVED_WELL_US (1 * US_PER_SEC)

struct logs_process {
    char *program, *run_dir, *settings;
    json_t *hello; /* the answer to `hello` of a pump of our version and settings */
    struct loop *loop;
    int log_fds[2];
    struct loop_watch *log_watch;
    char line[PIPE_BUF];
    size_t line_len;
    /* Held while a pump is started, because many tasks can start at the same time. */
    pthread_mutex_t starting;
    /* True after a pump of our version and settings was connected. */
    atomic_bool met;
    pthread_mutex_t lock;     /* protects the members below */
    struct affinity affinity; /* of the pump; valid with has_affinity */
    bool has_affinity;
    pid_t met_pid; /* the pump that was met last, and a pidfd of it; -EBADF: none */
    int met_fd;
    struct child {
        pid_t pid;
        uint64_t since_us;
    } children[8];
    unsigned starts, failures; /* all starts; starts in a row that failed */
    uint64_t not_before_us;
};

/* ---- log lines of the pump ---- */

static void pass_on(const char *line, size_t len) {
    if (len > 0 && line[0] == '{')
        log_pass(line, len);
    else if (len > 0)
        log_warn("logpump", NULL, "the log pump says: %.*s", (int)len, line);
}

static void on_log(void *arg, uint32_t events) {
    struct logs_process *p = arg;
    (void)events;
    ssize_t n = read(p->log_fds[0], p->line + p->line_len, sizeof(p->line) - p->line_len);
    if (n <= 0)
        return;
    p->line_len += (size_t)n;
    char *at = p->line, *end = p->line + p->line_len, *newline;
    while ((newline = memchr(at, '\n', (size_t)(end - at)))) {
        pass_on(at, (size_t)(newline - at));
        at = newline + 1;
    }
    /* A line that fills the buffer is longer than any line of the pump's logger. */
    if (at == p->line && end == p->line + sizeof(p->line)) {
        pass_on(at, (size_t)(end - at));
        at = end;
    }
    p->line_len = (size_t)(end - at);
    memmove(p->line, at, p->line_len);
}

static void log_watch_posted(void *arg) {
    struct logs_process *p = arg;
    if (loop_watch_add(p->loop, p->log_fds[0], EPOLLIN, on_log, p, &p->log_watch) < 0)
        log_warn("logpump", NULL, "the log pump's own log lines are lost, ignoring");
}

int logs_process_log_fd(const struct logs_process *p) {
    return p->log_fds[1];
}

/* ---- end of a pump ---- */

/* Logs the end of the pump @c and sets the time of the next start. The caller holds @lock. */
static void note_end(struct logs_process *p, const struct child *c, int status) {
    bool killed =
        WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM);
    bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    uint64_t now = clock_now_us();
    char pid[16], how[64];
    snprintf(pid, sizeof(pid), "%d", (int)c->pid);
    if (WIFSIGNALED(status))
        snprintf(how, sizeof(how), "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(how, sizeof(how), "exit status %d", WEXITSTATUS(status));
    if (killed || now - c->since_us >= (well ? LIVED_WELL_US : LIVED_US))
        p->failures = 0;
    else
        p->failures++;
    uint64_t pause = 0;
    if (p->failures > 0)
        pause = START_PAUSE_FIRST_US << (p->failures < 8 ? p->failures - 1 : 7);
    if (pause > START_PAUSE_MAX_US)
        pause = START_PAUSE_MAX_US;
    p->not_before_us = now + pause;
    if (well)
        log_debug("logpump", LOG_KV("pid", pid), "the log pump has ended");
    else
        log_warn("logpump", LOG_KV("pid", pid, "status", how),
                 "the log pump has ended: the next one starts %u ms later, retrying",
                 (unsigned)(pause / US_PER_MS));
}

/* Reaps the pumps that have ended. Returns true when another one still lives. The caller
 * holds @lock. */
static bool reap_pumps(struct logs_process *p) {
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(p->children); i++) {
        struct child *c = &p->children[i];
        int status;
        pid_t r = c->pid > 0 ? waitpid(c->pid, &status, WNOHANG) : 0;
        if (r == c->pid && r > 0)
            note_end(p, c, status);
        if (r != 0)
            c->pid = 0;
        any = any || c->pid > 0;
    }
    return any;
}

void logs_process_reap(struct logs_process *p) {
    pthread_mutex_lock(&p->lock);
    reap_pumps(p);
    pthread_mutex_unlock(&p->lock);
}

/* Sets the CPUs of the pump @pid. The caller holds @lock.
 *
 * A process inherits the CPU mask of the thread that spawns it. When the reserved cores change at
 * that moment, this mask is narrower or wider than the wanted one. A pump that is met can also have
 * the mask that was right for the plugin that started it. */
static void set_affinity(const struct logs_process *p, pid_t pid) {
    int r = p->has_affinity ? affinity_set_all(pid, &p->affinity) : 0;
    if (r < 0 && r != -ENOENT) /* -ENOENT: the pump has ended */
        log_debug("logpump", LOG_KV("errno", strerror(-r)), "the log pump's affinity was not set");
}

/* Remembers the child @pid. A pump that has ended stays a child until waitpid(). There are only
 * few, so they are checked when the next pump is started and when the watch notices an end. */
static void keep_child(struct logs_process *p, pid_t pid) {
    pthread_mutex_lock(&p->lock);
    set_affinity(p, pid);
    p->starts++;
    for (size_t i = 0; i < ARRAY_LEN(p->children) && pid > 0; i++) {
        if (p->children[i].pid == 0) {
            p->children[i] = (struct child){.pid = pid, .since_us = clock_now_us()};
            pid = 0;
        }
    }
    pthread_mutex_unlock(&p->lock);
}

unsigned logs_process_starts(struct logs_process *p) {
    pthread_mutex_lock(&p->lock);
    unsigned n = p->starts;
    pthread_mutex_unlock(&p->lock);
    return n;
}

/* ---- start of a pump ---- */

static int fill_actions(posix_spawn_file_actions_t *a, int log_fd, int ready_fd) {
    int r = posix_spawn_file_actions_addopen(a, 0, "/dev/null", O_RDONLY, 0);
    if (r == 0)
        r = posix_spawn_file_actions_addopen(a, 1, "/dev/null", O_WRONLY, 0);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(a, log_fd, 2);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(a, ready_fd, 3);
    /* Libraries may have descriptors without CLOEXEC (libcurl's wake-up pairs). */
    if (r == 0)
        r = posix_spawn_file_actions_addclosefrom_np(a, 4);
    return -r;
}

/* Spawns the pump with a session and stdio of its own. It outlives the plugin, and the agent must
 * see the plugin's stdio end together with the plugin. The magic cookie is removed from the
 * environment, so that the pump is not taken for a plugin. */
static int spawn_process(const struct logs_process *p, int ready_fd, pid_t *ret_pid) {
    extern char **environ;
    size_t n = 0, kept = 0;
    while (environ[n])
        n++;
    AUTO_FREE char **env = calloc(n + 1, sizeof(*env));
    if (!env)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "NOMAD_PLUGIN_MAGIC_COOKIE=", 26) != 0)
            env[kept++] = environ[i];
    /* When we have met a pump before, a pump of another kind belongs to another plugin. */
    const char *other = atomic_load(&p->met) ? "join" : "succeed";
    char *argv[] = {(char *)"paddock", (char *)"logpump", p->run_dir,
                    p->settings,       (char *)other,     NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGTERM);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    posix_spawnattr_setflags(&attr,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int r = fill_actions(&actions, p->log_fds[1], ready_fd);
    if (r == 0)
        r = -posix_spawn(ret_pid, p->program, &actions, &attr, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return r;
}

/* Starts a pump and waits until it listens. The wait also ends when the new pump has found another
 * one that listens, or has died. */
static int spawn_pump(struct logs_process *p, const struct call *call) {
    int ends[2];
    int r = pump_dir_make(p->run_dir); /* programs that clean up /run may have removed it */
    if (r < 0)
        return r;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    AUTO_FD int ours = ends[0];
    AUTO_FD int theirs = ends[1];
    if (theirs <= 3) { /* dup2 to itself would keep CLOEXEC */
        int other = fcntl(theirs, F_DUPFD_CLOEXEC, 10);
        if (other < 0)
            return -errno;
        fd_close(theirs);
        theirs = other;
    }
    pid_t pid;
    r = spawn_process(p, theirs, &pid);
    if (r < 0)
        return r;
    keep_child(p, pid);
    theirs = fd_close(theirs);
    struct pollfd ready = {.fd = ours, .events = POLLIN};
    r = poll(&ready, 1, call_remaining_ms(call));
    return r < 0 ? -errno : r == 0 ? -ETIMEDOUT : 0;
}

/* ---- connecting to a pump ---- */

/* True when the pump at @fd has our version and settings. */
static bool is_ours(const struct logs_process *p, int fd, const struct call *call) {
    struct call within = call_within(call, HELLO_US);
    AUTO_JSON json_t *rq = json_pack("{s:s}", "op", "hello");
    AUTO_JSON json_t *answer = NULL;
    return rq && logs_socket_send(fd, rq, -1) == 0 &&
           logs_socket_read(fd, &within, 0, &answer, NULL) == 0 && json_equal(answer, p->hello);
}

/* True when the pause after the last failed start is over. */
static bool may_start(struct logs_process *p) {
    pthread_mutex_lock(&p->lock);
    reap_pumps(p);
    bool may = clock_now_us() >= p->not_before_us;
    pthread_mutex_unlock(&p->lock);
    return may;
}

/* Connects to the running pump, or starts one. Returns the descriptor; -EAGAIN to try again later;
 * another -errno. The caller holds @starting. */
static int find_or_start(struct logs_process *p, const struct call *call) {
    int fd = logs_socket_connect(p->run_dir, LOGS_CONNECT_US);
    if (fd >= 0 && atomic_load(&p->met))
        return fd;
    bool ours = fd >= 0 && is_ours(p, fd, call);
    fd_close(fd);
    if (!ours && !may_start(p))
        return -EAGAIN;
    int r = ours ? 0 : spawn_pump(p, call);
    fd = r < 0 ? r : logs_socket_connect(p->run_dir, LOGS_CONNECT_US);
    if (fd < 0 || atomic_load(&p->met))
        return fd;
    ours = ours || is_ours(p, fd, call);
    atomic_store(&p->met, ours);
    fd_close(fd);
    return ours ? logs_socket_connect(p->run_dir, LOGS_CONNECT_US) : -EAGAIN;
}

int logs_process_reach(struct logs_process *p, const struct call *call, struct err *err) {
    for (;;) {
        int r = atomic_load(&p->met) ? logs_socket_connect(p->run_dir, LOGS_CONNECT_US) : -EAGAIN;
        if (r < 0 && pthread_mutex_trylock(&p->starting) == 0) {
            r = find_or_start(p, call);
            pthread_mutex_unlock(&p->starting);
        }
        if (r >= 0)
            return r;
        if (call_sleep(call, LOOK_AGAIN_US) < 0)
            return err_set(err, ERR_RECOVERABLE, -r, "the log pump cannot be started: %s",
                           r == -EAGAIN ? "the last ones ended" : strerror(-r));
    }
}

/* ---- CPU affinity ---- */

static bool is_alive(int pidfd) {
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    return pidfd >= 0 && poll(&p, 1, 0) == 0;
}

void logs_process_met(struct logs_process *p, pid_t pid) {
    pthread_mutex_lock(&p->lock);
    fd_close(p->met_fd);
    p->met_pid = pid;
    p->met_fd = pidfd_open(pid, 0);
    if (is_alive(p->met_fd))
        set_affinity(p, pid);
    pthread_mutex_unlock(&p->lock);
}

void logs_process_set_affinity(struct logs_process *p, const struct affinity *a) {
    pthread_mutex_lock(&p->lock);
    p->affinity = *a;
    p->has_affinity = true;
    if (is_alive(p->met_fd)) /* otherwise the process id may belong to another process */
        set_affinity(p, p->met_pid);
    pthread_mutex_unlock(&p->lock);
}

/* ---- creation and release ---- */

int logs_process_new(const char *program, const char *run_dir, json_t *settings,
                     const struct affinity *affinity, struct loop *loop,
                     struct logs_process **ret) {
    struct logs_process *p = calloc(1, sizeof(*p));
    if (!p || !settings) {
        free(p);
        json_decref(settings);
        return -ENOMEM;
    }
    int r = 0;
    p->loop = loop;
    p->has_affinity = affinity != NULL;
    if (affinity)
        p->affinity = *affinity;
    p->log_fds[0] = p->log_fds[1] = p->met_fd = -EBADF;
    pthread_mutex_init(&p->starting, NULL);
    pthread_mutex_init(&p->lock, NULL);
    p->program = str_dup(program, &r);
    p->run_dir = str_dup(run_dir, &r);
    p->settings = json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS);
    p->hello = json_pack("{s:s,s:o}", "version", PADDOCK_VERSION, "settings", settings);
    if (!p->settings || !p->hello)
        r = -ENOMEM;
    if (r == 0)
        r = pump_dir_make(run_dir);
    if (r == 0 && pipe2(p->log_fds, O_CLOEXEC | O_NONBLOCK) < 0)
        r = -errno;
    if (r == 0)
        r = loop_post(loop, log_watch_posted, p);
    if (r < 0)
        logs_process_free(TAKE_PTR(p));
    *ret = p;
    return r;
}

void logs_process_free(struct logs_process *p) {
    if (!p)
        return;
    loop_watch_del(p->log_watch);
    fd_close(p->log_fds[0]);
    fd_close(p->log_fds[1]);
    fd_close(p->met_fd);
    pthread_mutex_destroy(&p->starting);
    pthread_mutex_destroy(&p->lock);
    json_decref(p->hello);
    free(p->program);
    free(p->run_dir);
    free(p->settings);
    free(p);
}
