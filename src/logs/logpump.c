/* The plugin's side of the log pump. It holds each FIFO open (so that logmon sees no end of file
 * while the pump is being started again), starts the process when none answers, and again when it
 * has died while there are tasks: the pump itself knows from its position files what to go on with.
 */
#include "paddock/logpump.h"

#include "paddock/clock.h"
#include "paddock/docker.h"
#include "paddock/log.h"
#include "paddock/loop.h"
#include "paddock/pool.h"
#include "paddock/strv.h"

#include "src/pump/pump_dir.h"
#include "src/pump/pump_proto.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define SPAWN_TIMEOUT_US (10 * US_PER_SEC)
#define RESPAWN_PAUSE_US (50 * US_PER_MS)
#define REVIVE_PAUSE_US (5 * US_PER_SEC) /* after all attempts to start it have failed */
#define CONNECT_LIMIT_SEC 2

struct held {
    char *task_id;
    unsigned long number; /* this hold's: the task may be held anew while an end is waited for */
    int fd[2];
    bool following; /* the pump is being told: its end is not to be asked for yet */
    struct held *next;
};

struct logpump {
    char *program, *run_dir, *endpoint, *cert, *key, *ca;
    struct loop *loop;
    struct pool *pool;
    pthread_mutex_t spawning; /* held while a pump is started: many tasks begin at once */
    pthread_mutex_t lock;     /* of held, watched and children */
    struct held *held;
    unsigned long holds; /* so far */
    bool watched;        /* there is a watch, or somebody is about to set one */
    pid_t children[8];
    /* the loop's thread's */
    int watch_fd;
    struct loop_timer
        *again; /* another attempt, when it could not be started; or a look for its corpse */
    struct loop_watch *watch;
};

static int make_dir(const char *path) {
    AUTO_FREE char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(copy, 0755) < 0 && errno != EEXIST)
            return -errno;
        *p = '/';
    }
    return mkdir(copy, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

int logpump_new(const struct logpump_options *o, struct logpump **ret, struct err *err) {
    struct logpump *p = calloc(1, sizeof(*p));
    if (!p)
        return err_oom(err);
    int r = 0;
    p->program = str_dup(o->program, &r);
    p->run_dir = str_dup(o->run_dir, &r);
    p->endpoint = str_dup(o->endpoint, &r);
    p->cert = str_dup(o->tls_cert ? o->tls_cert : "", &r);
    p->key = str_dup(o->tls_key ? o->tls_key : "", &r);
    p->ca = str_dup(o->tls_ca ? o->tls_ca : "", &r);
    p->loop = o->loop;
    p->pool = o->pool;
    p->watch_fd = -EBADF;
    pthread_mutex_init(&p->spawning, NULL);
    pthread_mutex_init(&p->lock, NULL);
    if (r == 0)
        r = make_dir(o->run_dir);
    if (r < 0) {
        err_set(err, ERR_RECOVERABLE, -r, "folder %s: %s", o->run_dir, strerror(-r));
        logpump_free(p);
        return r;
    }
    pump_dir_sweep(p->run_dir);
    *ret = p;
    return 0;
}

static void held_free(struct held *h) {
    fd_close(h->fd[0]);
    fd_close(h->fd[1]);
    free(h->task_id);
    free(h);
}

/* A pump that lives sees to its folder itself. */
static void tidy_up(const struct logpump *p) {
    struct pump_dir dir;
    if (p->run_dir && pump_dir_open(p->run_dir, &dir) < 0)
        log_debug("logpump", LOG_KV("path", p->run_dir), "no folder to tidy up");
    if (p->run_dir)
        pump_dir_close(&dir);
}

void logpump_free(struct logpump *p) {
    if (!p)
        return;
    loop_watch_del(p->watch);
    loop_timer_del(p->again);
    fd_close(p->watch_fd);
    tidy_up(p);
    for (struct held *h = p->held, *next; h; h = next) {
        next = h->next;
        held_free(h);
    }
    pthread_mutex_destroy(&p->spawning);
    pthread_mutex_destroy(&p->lock);
    free(p->program);
    free(p->run_dir);
    free(p->endpoint);
    free(p->cert);
    free(p->key);
    free(p->ca);
    free(p);
}

/* ---- the process ---- */

static int connect_pump(const struct logpump *p) {
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", p->run_dir, PUMP_SOCKET);
    if (n < 0 || (size_t)n >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    /* A pump that does not accept must not hold us: connect() honours the send timeout. */
    struct timeval limit = {.tv_sec = CONNECT_LIMIT_SEC};
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
        connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return -errno;
    return TAKE_FD(fd);
}

static int fill_actions(posix_spawn_file_actions_t *a, int ready_fd) {
    int r = posix_spawn_file_actions_addopen(a, 0, "/dev/null", O_RDONLY, 0);
    if (r == 0)
        r = posix_spawn_file_actions_addopen(a, 1, "/dev/null", O_WRONLY, 0);
    if (r == 0)
        r = posix_spawn_file_actions_addopen(a, 2, "/dev/null", O_WRONLY, 0);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(a, ready_fd, 3);
    /* Libraries may hold fds without CLOEXEC (libcurl's wake-up pairs). */
    if (r == 0)
        r = posix_spawn_file_actions_addclosefrom_np(a, 4);
    return -r;
}

/* Its own session and stdio: it outlives the plugin, and the agent must see the plugin's stdio end
 * with the plugin. The magic cookie goes, so that nobody takes it for a plugin. */
static int spawn_process(const struct logpump *p, int ready_fd, pid_t *ret_pid) {
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
    char *argv[] = {p->program, (char *)"logpump", p->run_dir, p->endpoint, p->cert, p->key, p->ca,
                    NULL};
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
    int r = fill_actions(&actions, ready_fd);
    if (r == 0)
        r = -posix_spawn(ret_pid, p->program, &actions, &attr, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return r;
}

/* A pump that we started and that has ended is still our child. The few there can be are looked at
 * when the next is started and when the watch tells of an end. */
static void children_reap(struct logpump *p) {
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < ARRAY_LEN(p->children); i++)
        if (p->children[i] > 0 && waitpid(p->children[i], NULL, WNOHANG) != 0)
            p->children[i] = 0;
    pthread_mutex_unlock(&p->lock);
}

static void child_keep(struct logpump *p, pid_t pid) {
    children_reap(p);
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < ARRAY_LEN(p->children) && pid > 0; i++) {
        if (p->children[i] == 0) {
            p->children[i] = pid;
            pid = 0;
        }
    }
    pthread_mutex_unlock(&p->lock);
}

/* Starts it and waits until it listens (or has found that another one does, or has died). */
static int spawn(struct logpump *p, const struct call *call) {
    int ends[2];
    int r = make_dir(p->run_dir); /* /run is tidied up now and then */
    if (r < 0)
        return r;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    AUTO_FD int ours = ends[0];
    AUTO_FD int theirs = ends[1];
    if (theirs == 3) { /* dup2 to itself would keep CLOEXEC */
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
    child_keep(p, pid);
    theirs = fd_close(theirs);
    struct pollfd ready = {.fd = ours, .events = POLLIN};
    r = poll(&ready, 1, call_remaining_ms(call));
    return r < 0 ? -errno : r == 0 ? -ETIMEDOUT : 0;
}

/* As connect_pump, after starting one. -EAGAIN: somebody else is at it. */
static int start_and_connect(struct logpump *p, const struct call *call) {
    if (pthread_mutex_trylock(&p->spawning) != 0)
        return -EAGAIN;
    int fd = connect_pump(p);
    int r = fd < 0 ? spawn(p, call) : 0;
    pthread_mutex_unlock(&p->spawning);
    return fd >= 0 ? fd : r < 0 ? r : connect_pump(p);
}

/* A connection to a pump that lives, started when there is none. */
static int reach(struct logpump *p, const struct call *call, struct err *err) {
    struct call within = call_within(call, SPAWN_TIMEOUT_US);
    for (;;) {
        int fd = connect_pump(p);
        if (fd >= 0)
            return fd;
        int r = start_and_connect(p, &within);
        if (r >= 0)
            return r;
        /* One that just ends still holds the lock, one that begins does not listen yet: a moment,
         * and again. */
        if (call_sleep(&within, RESPAWN_PAUSE_US) < 0)
            return err_set(err, ERR_RECOVERABLE, -r, "the log pump cannot be started: %s",
                           strerror(-r));
    }
}

/* ---- watching it ---- */

static void watch_posted(void *arg);
static void again_posted(void *arg);
static void on_again(void *arg);

static bool has_tasks(struct logpump *p) {
    pthread_mutex_lock(&p->lock);
    bool any = p->held != NULL;
    pthread_mutex_unlock(&p->lock);
    return any;
}

/* Nobody watches it: tried again later. Any thread. */
static void watch_lost(struct logpump *p) {
    pthread_mutex_lock(&p->lock);
    p->watched = false;
    pthread_mutex_unlock(&p->lock);
    if (loop_post(p->loop, again_posted, p) < 0)
        log_warn("logpump", NULL, "out of memory: it is tried again with the next task");
}

/* On the pool: finds or starts a pump and hands the watching connection to the loop. */
static void revive_work(void *arg) {
    struct logpump *p = arg;
    struct err err = {0};
    struct call call = call_within(NULL, SPAWN_TIMEOUT_US);
    int fd = reach(p, &call, &err);
    if (fd >= 0 && send(fd, "{\"op\":\"watch\"}\n", 15, MSG_NOSIGNAL) == 15) {
        pthread_mutex_lock(&p->lock);
        p->watch_fd = fd; /* taken by watch_posted; none is set now: watched is taken once */
        pthread_mutex_unlock(&p->lock);
        if (loop_post(p->loop, watch_posted, p) == 0)
            return;
        pthread_mutex_lock(&p->lock);
        p->watch_fd = -EBADF;
        pthread_mutex_unlock(&p->lock);
    }
    fd_close(fd);
    if (err.set)
        log_error("logpump", NULL, "%s: logs stop, retrying", err.text);
    watch_lost(p);
}

static void again_posted(void *arg) {
    struct logpump *p = arg;
    if (p->again || loop_timer_new(p->loop, on_again, p, &p->again) == 0)
        loop_timer_at(p->again, clock_now_us() + REVIVE_PAUSE_US);
}

static void revive(struct logpump *p) {
    pthread_mutex_lock(&p->lock);
    bool start = !p->watched;
    p->watched = true;
    pthread_mutex_unlock(&p->lock);
    if (start && pool_run(p->pool, revive_work, p) < 0)
        watch_lost(p);
}

static void on_again(void *arg) {
    struct logpump *p = arg;
    children_reap(p);
    if (has_tasks(p))
        revive(p);
}

static void on_pump_gone(void *arg, uint32_t events) {
    struct logpump *p = arg;
    (void)events;
    p->watch = loop_watch_del(p->watch);
    pthread_mutex_lock(&p->lock);
    p->watch_fd = fd_close(p->watch_fd);
    p->watched = false;
    pthread_mutex_unlock(&p->lock);
    if (has_tasks(p))
        revive(p);
    again_posted(p); /* its connection ends a moment before it can be waited for */
}

static void watch_posted(void *arg) {
    struct logpump *p = arg;
    if (loop_watch_add(p->loop, p->watch_fd, EPOLLIN, on_pump_gone, p, &p->watch) < 0) {
        log_warn("logpump", NULL, "the log pump is not watched, retrying at the next task");
        pthread_mutex_lock(&p->lock);
        p->watch_fd = fd_close(p->watch_fd);
        p->watched = false;
        pthread_mutex_unlock(&p->lock);
    }
    again_posted(p); /* the one before may have been killed and not yet have been a corpse */
}

/* ---- requests ---- */

static int send_line(int fd, const json_t *rq) {
    AUTO_FREE char *text = json_dumps(rq, JSON_COMPACT);
    size_t len = text ? strlen(text) : 0;
    if (!text)
        return -ENOMEM;
    text[len] = '\n';
    return send(fd, text, len + 1, MSG_NOSIGNAL) == (ssize_t)len + 1 ? 0 : -EPIPE;
}

/* What the pump says to @rq: 0 or its error. */
static int take_answer(const char *line, size_t len, const json_t *rq, struct err *err) {
    json_t *answer = json_loadb(line, len, 0, NULL);
    int code = (int)json_integer_value(json_object_get(answer, "errno"));
    const char *text = json_string_value(json_object_get(answer, "error"));
    const char *note = json_string_value(json_object_get(answer, "note"));
    int r = code ? err_set(err, ERR_PLAIN, code, "%s", text ? text : strerror(code)) : 0;
    if (note)
        log_warn("logpump",
                 LOG_KV("task_id", json_string_value(json_object_get(rq, "task")), "note", note),
                 "the log pump has a remark, ignoring");
    json_decref(answer);
    return r;
}

/* As take_answer; -EPIPE: it died in between. @quiet_us: gives up sooner when nothing comes for so
 * long; 0 = not. */
static int read_answer(int fd, const struct call *call, uint64_t quiet_us, const json_t *rq,
                       struct err *err) {
    char line[1024];
    size_t len = 0;
    struct call within = quiet_us ? call_within(call, quiet_us) : *call;
    while (len < sizeof(line)) {
        struct pollfd p[2] = {{.fd = fd, .events = POLLIN},
                              {.fd = call->cancel ? call->cancel->fd : -1, .events = POLLIN}};
        int r = poll(p, 2, call_remaining_ms(&within));
        if (r == 0)
            return err_set(err, ERR_DEADLINE, ETIMEDOUT, "the log pump did not answer in time");
        if (r > 0 && p[1].revents)
            return err_set(err, ERR_PLAIN, ECANCELED, "cancelled");
        ssize_t n = recv(fd, line + len, sizeof(line) - len, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            continue; /* a signal ended the wait */
        if (n <= 0)
            return -EPIPE;
        len += (size_t)n;
        while (len > 0 && line[0] == PUMP_MOVES)
            memmove(line, line + 1, --len);
        if (quiet_us)
            within = call_within(call, quiet_us);
        if (memchr(line, '\n', len))
            return take_answer(line, len, rq, err);
    }
    return err_set(err, ERR_PLAIN, EPROTO, "the log pump does not answer in a line");
}

/* One request; a pump that dies in the middle is started again and asked again. */
static int ask(struct logpump *p, const struct call *call, uint64_t quiet_us, json_t *rq,
               struct err *err) {
    if (!rq)
        return err_oom(err);
    int r;
    do {
        AUTO_FD int fd = reach(p, call, err);
        r = fd < 0 ? fd : send_line(fd, rq);
        if (r == 0)
            r = read_answer(fd, call, quiet_us, rq, err);
    } while (r == -EPIPE && call_remaining_ms(call) != 0);
    json_decref(rq);
    return r == -EPIPE ? err_set(err, ERR_RECOVERABLE, EPIPE, "the log pump does not stay alive")
                       : r;
}

/* ---- tasks ---- */

static struct held **held_find(struct logpump *p, const char *task_id) {
    struct held **at = &p->held;
    while (*at && strcmp((*at)->task_id, task_id) != 0)
        at = &(*at)->next;
    return at;
}

static int hold(struct logpump *p, const struct logpump_task *t, struct err *err) {
    struct held *h = calloc(1, sizeof(*h));
    if (!h || !(h->task_id = strdup(t->task_id))) {
        free(h);
        return err_oom(err);
    }
    h->fd[0] = h->fd[1] = -EBADF;
    h->following = true;
    const char *paths[] = {t->stdout_path, t->stderr_path};
    for (int s = 0; s < 2; s++) {
        int r = logpump_fifo_open(paths[s], &h->fd[s]);
        if (r < 0) {
            held_free(h);
            return err_set(err, ERR_RECOVERABLE, -r, "log FIFO %s: %s", paths[s],
                           r == -ELOOP ? "it, or a folder of the allocation on the way to it, is a "
                                         "symbolic link"
                                       : strerror(-r));
        }
    }
    pthread_mutex_lock(&p->lock);
    struct held **at = held_find(p, t->task_id), *old = *at;
    h->number = ++p->holds;
    h->next = old ? old->next : NULL;
    *at = h;
    pthread_mutex_unlock(&p->lock);
    if (old)
        held_free(old);
    return 0;
}

/* @number: of the hold; 0 = whichever there is. */
static void let_go(struct logpump *p, const char *task_id, unsigned long number) {
    pthread_mutex_lock(&p->lock);
    struct held **at = held_find(p, task_id), *h = *at;
    if (h && number && h->number != number)
        h = NULL;
    if (h)
        *at = h->next;
    pthread_mutex_unlock(&p->lock);
    if (h)
        held_free(h);
}

/* The FIFOs close, whatever is left. */
static void close_task(struct logpump *p, const char *task_id) {
    struct call call = call_within(NULL, US_PER_SEC);
    if (ask(p, &call, 0, json_pack("{s:s,s:s}", "op", "close", "task", task_id), NULL) < 0)
        log_debug("logpump", LOG_KV("task_id", task_id),
                  "the pump does not close the task, ignoring");
}

static json_t *request(const char *op, const struct logpump_task *t) {
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:b,s:I}", "op", op, "task", t->task_id, "container",
                     t->container_id, "stdout", t->stdout_path, "stderr", t->stderr_path, "tty",
                     t->tty, "since_ns", t->adopted ? (json_int_t)t->since_ns : (json_int_t)0);
}

static void is_carried(struct logpump *p, const char *task_id) {
    pthread_mutex_lock(&p->lock);
    struct held *h = *held_find(p, task_id);
    if (h)
        h->following = false;
    pthread_mutex_unlock(&p->lock);
    revive(p); /* sets the watch when there is none */
}

bool logpump_prepare(struct logpump *p, const struct call *call, const struct logpump_task *t) {
    struct err err = {0};
    struct call within = call_within(call, SPAWN_TIMEOUT_US);
    int r = hold(p, t, &err);
    if (r == 0)
        r = ask(p, &within, 0, request("prepare", t), &err);
    /* It stays held: a FIFO without a writer for a moment is one that logmon is done with. */
    if (r < 0)
        log_debug("logpump", LOG_KV("task_id", t->task_id, "error", err.text), "not prepared");
    else
        is_carried(p, t->task_id);
    return r == 0;
}

void logpump_begin(struct logpump *p, const char *task_id) {
    AUTO_FD int fd = connect_pump(p);
    AUTO_JSON json_t *rq = json_pack("{s:s,s:s}", "op", "begin", "task", task_id);
    /* A pump that has died is started again, and begins with all that it finds. */
    if (fd < 0 || !rq || send_line(fd, rq) < 0)
        log_debug("logpump", LOG_KV("task_id", task_id), "the pump was not told, ignoring");
}

void logpump_drop(struct logpump *p, const char *task_id) {
    close_task(p, task_id);
    let_go(p, task_id, 0);
}

int logpump_follow(struct logpump *p, const struct call *call, const struct logpump_task *t,
                   struct err *err) {
    struct call within = call_within(call, SPAWN_TIMEOUT_US);
    int r = hold(p, t, err);
    if (r == 0)
        r = ask(p, &within, 0, request("follow", t), err);
    if (r < 0)
        logpump_drop(p, t->task_id); /* whatever the pump has of it */
    else
        is_carried(p, t->task_id);
    return r;
}

int logpump_finish(struct logpump *p, const struct call *call, uint64_t quiet_us,
                   const char *task_id, struct err *err) {
    pthread_mutex_lock(&p->lock);
    const struct held *h = *held_find(p, task_id);
    unsigned long number = h && !h->following ? h->number : 0;
    pthread_mutex_unlock(&p->lock);
    if (!number)
        return 0;
    int r = ask(p, call, quiet_us, json_pack("{s:s,s:s}", "op", "finish", "task", task_id), err);
    if (r < 0 && r != -ECANCELED)
        close_task(p, task_id); /* not taken in time: closed all the same */
    let_go(p, task_id, number);
    return r;
}

void logpump_forget(struct logpump *p, const char *container_id) {
    static const char *const names[] = {"", PUMP_DONE};
    char path[PATH_MAX];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s/%s%s", p->run_dir, PUMP_RECORDS, container_id,
                 names[i]);
        if (unlink(path) < 0 && errno != ENOENT)
            log_debug("logpump", LOG_KV("errno", strerror(errno), "path", path), "position file");
    }
}
