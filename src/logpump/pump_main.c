/* `paddock logpump RUN_DIR ENDPOINT [CERT KEY CA]`: the process.
 *
 * One thread, one loop. It takes the lock of its folder (a second pump there ends at once), goes on
 * with every task whose position it finds, and serves its socket. It ends 2 s after the last task
 * and the last connection are gone; after ten minutes in which no plugin was connected and no log
 * stream open (Docker is away for good, or all containers have ended); or at SIGTERM. What is not
 * delivered then is the next pump's, by its position file; without one the folder goes too.
 * Started by the plugin with a session and stdio of its own; a byte on fd 3 says ready. */
#include "paddock/logpump.h"

#include "paddock/clock.h"
#include "paddock/code_pages.h"
#include "paddock/docker.h"
#include "paddock/docker_multi.h"
#include "paddock/log.h"
#include "paddock/loop.h"
#include "paddock/parse.h"

#include "pump_dir.h"
#include "pump_proto.h"
#include "pump_rival.h"
#include "pump_task.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A busy container's output is taken together so often: a line comes at most this much later. Not
 * longer: dockerd sends line by line, and a Unix socket of the usual size holds about 280 of them
 * (by what they cost the kernel, not by their bytes), which dockerd prints in 1.5 ms at its best.
 */
#define GATHER_US (1 * US_PER_MS)
#define IDLE_EXIT_US (2 * US_PER_SEC)
/* So many times the wait for one answer of Docker's: ten minutes. Looked at as often in that time.
 */
#define ALONE_LOOKS 10
#define ANSWER_US (60 * US_PER_SEC)
#define BEAT_US (1 * US_PER_SEC)
#define READY_FD 3

struct pump;

/* A connection: its request, then waiting for its answer or its end. */
struct conn {
    struct pump *pump;
    int fd;
    struct loop_watch *watch;
    char line[PUMP_LINE_MAX];
    size_t len;
    bool asked;
    struct entry *waits_open, *waits_drained;
    struct conn *next;
};

struct entry {
    struct pump *pump;
    struct pump_task *task;
    bool opened, drained, moves;
    int open_r;
    const char *note; /* for whoever asked to follow it; NULL */
    struct entry *next;
};

struct pump {
    struct loop *loop;
    struct docker *docker;
    struct docker_multi *http;
    struct pump_dir dir;
    int listen_fd, signal_fd, inotify_fd, proc_fd;
    struct loop_watch *listen_watch, *signal_watch, *inotify_watch;
    struct loop_timer *idle, *alone, *beat;
    uint64_t alone_us, alone_since_us; /* the limit; when it was not alone last */
    struct conn *conns;
    struct entry *entries;
};

static void idle_check(struct pump *p) {
    uint64_t now = clock_now_us();
    loop_timer_at(p->idle, p->conns || p->entries ? 0 : now + IDLE_EXIT_US);
    loop_timer_at(p->alone, p->conns || !p->entries ? 0 : now + p->alone_us / ALONE_LOOKS);
    p->alone_since_us = now;
}

static void on_idle(void *arg) {
    struct pump *p = arg;
    loop_stop(p->loop);
}

/* No plugin is there. Goes on while there is anything to carry. */
static void on_alone(void *arg) {
    struct pump *p = arg;
    uint64_t now = clock_now_us();
    for (const struct entry *e = p->entries; e; e = e->next)
        if (pump_task_is_open(e->task))
            p->alone_since_us = now;
    if (now - p->alone_since_us >= p->alone_us)
        loop_stop(p->loop);
    else
        loop_timer_at(p->alone, now + p->alone_us / ALONE_LOOKS);
}

/* ---- connections ---- */

static void conn_free(struct conn *c) {
    for (struct conn **at = &c->pump->conns; *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    loop_watch_del(c->watch);
    fd_close(c->fd);
    idle_check(c->pump);
    free(c);
}

/* Answers and ends the connection. @text: the error's; of a success a note, or NULL. */
static void answer(struct conn *c, int r, const char *text) {
    char line[512];
    int n = r < 0  ? snprintf(line, sizeof(line), "{\"errno\":%d,\"error\":\"%s\"}\n", -r, text)
            : text ? snprintf(line, sizeof(line), "{\"ok\":true,\"note\":\"%s\"}\n", text)
                   : snprintf(line, sizeof(line), "{\"ok\":true}\n");
    /* A few bytes into an empty socket: taken, or nobody is there. */
    if (send(c->fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_debug("logpump", LOG_KV("errno", strerror(errno)), "nobody reads the answer");
    conn_free(c);
}

static void answer_opened(struct conn *c, const struct entry *e) {
    int r = e->open_r;
    answer(c, r,
           r == -ENOSYS ? "the container's log driver cannot be read"
           : r < 0      ? strerror(-r)
                        : e->note);
}

/* Those that wait for @e; it may go after this. */
static void answer_waiting(struct entry *e) {
    for (struct conn *c = e->pump->conns, *next; c; c = next) {
        next = c->next;
        if (c->waits_open == e && e->opened)
            answer_opened(c, e);
        else if (c->waits_drained == e && e->drained)
            answer(c, 0, NULL);
    }
}

/* ---- tasks ---- */

/* How far a task's output was delivered is kept beyond its end, for a plugin that has died may ask
 * for it once more: DestroyTask takes it away. */
static void put_away(struct pump *p, const char *container_id) {
    char done[PUMP_DONE_MAX];
    snprintf(done, sizeof(done), "%s%s", container_id, PUMP_DONE);
    if (renameat(p->dir.records_fd, container_id, p->dir.records_fd, done) < 0)
        log_debug("logpump", LOG_KV("errno", strerror(errno)), "position file");
}

/* The FIFOs are closed when those that wait for it are told. */
static void entry_forget(struct entry *e, bool ended) {
    struct pump *p = e->pump;
    for (struct entry **at = &p->entries; *at; at = &(*at)->next) {
        if (*at == e) {
            *at = e->next;
            break;
        }
    }
    const char *container_id = pump_task_record(e->task)->container_id;
    if (ended)
        put_away(p, container_id);
    else if (unlinkat(p->dir.records_fd, container_id, 0) < 0)
        log_debug("logpump", LOG_KV("errno", strerror(errno)), "position file");
    pump_task_free(e->task);
    for (struct conn *c = p->conns, *next; c; c = next) {
        next = c->next;
        if (c->waits_open == e || c->waits_drained == e)
            answer(c, 0, NULL);
    }
    free(e);
    idle_check(p);
}

static void on_opened(void *ctx, struct pump_task *t, int r) {
    struct entry *e = ctx;
    (void)t;
    e->opened = true;
    e->open_r = r;
    answer_waiting(e);
}

static void forget_posted(void *ctx) {
    entry_forget(ctx, true);
}

/* Not freed from within its own callback. */
static void on_drained(void *ctx, struct pump_task *t) {
    struct entry *e = ctx;
    (void)t;
    e->drained = true;
    if (loop_post(e->pump->loop, forget_posted, e) < 0)
        log_warn("logpump", NULL, "out of memory: a task's FIFOs stay open, ignoring");
}

static const struct pump_task_ops task_ops = {.opened = on_opened, .drained = on_drained};

static struct entry *entry_find(struct pump *p, const char *task_id) {
    for (struct entry *e = p->entries; e; e = e->next)
        if (!e->drained && strcmp(pump_task_record(e->task)->task_id, task_id) == 0)
            return e;
    return NULL;
}

/* @record is taken over. */
static int entry_add(struct pump *p, struct pump_record *record, struct entry **ret) {
    struct entry *e = calloc(1, sizeof(*e));
    if (!e) {
        pump_record_close(record);
        return -ENOMEM;
    }
    e->pump = p;
    int r = pump_task_new(p->loop, p->http, record, &task_ops, e, &e->task);
    if (r < 0) {
        free(e);
        return r;
    }
    e->next = p->entries;
    p->entries = e;
    /* A watch goes with its FIFO. Refused ones cost nothing but the notice. */
    for (int s = 0; s < 2; s++)
        if (p->inotify_fd >= 0 && record->path[s][0] &&
            inotify_add_watch(p->inotify_fd, record->path[s], IN_OPEN) < 0)
            log_debug("logpump", LOG_KV("errno", strerror(errno), "path", record->path[s]),
                      "no watch");
    idle_check(p);
    *ret = e;
    return 0;
}

/* Somebody opened a FIFO. With a plugin there it is logmon or the plugin; without one it may be
 * the built-in driver, which took the tasks over: then its logs are no longer ours. */
static void on_fifo_opened(void *arg, uint32_t events) {
    struct pump *p = arg;
    char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    (void)events;
    while (read(p->inotify_fd, buf, sizeof(buf)) > 0) {
    }
    struct pump_rivals rivals;
    if (p->conns || pump_rivals_find(p->proc_fd, &rivals) < 0)
        return;
    for (struct entry *e = p->entries, *next; e; e = next) {
        next = e->next;
        const struct pump_record *rec = pump_task_record(e->task);
        if (e->drained ||
            (!pump_rivals_have(&rivals, rec->path[0]) && !pump_rivals_have(&rivals, rec->path[1])))
            continue;
        log_info("logpump", LOG_KV("task_id", rec->task_id),
                 "the built-in driver has taken over the task's logs");
        entry_forget(e, false);
    }
    pump_rivals_done(&rivals);
}

static int watch_rivals(struct pump *p) {
    p->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    p->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (p->inotify_fd < 0)
        return 0; /* all instances are in use: it goes without */
    return loop_watch_add(p->loop, p->inotify_fd, EPOLLIN, on_fifo_opened, p, &p->inotify_watch);
}

/* ---- requests ---- */

/* @known_ns: what is older was delivered; 0 = as the request says. */
static int fill_record(struct pump_record *rec, const json_t *rq, int64_t known_ns) {
    const char *task, *container, *out, *err;
    int tty;
    json_int_t since = 0;
    if (json_unpack((json_t *)rq, "{s:s,s:s,s:s,s:s,s:b,s?I}", "task", &task, "container",
                    &container, "stdout", &out, "stderr", &err, "tty", &tty, "since_ns",
                    &since) < 0)
        return -EINVAL;
    if (strlen(task) >= sizeof(rec->task_id) || strlen(container) >= sizeof(rec->container_id) ||
        strlen(out) >= sizeof(rec->path[0]) || strlen(err) >= sizeof(rec->path[1]))
        return -ENAMETOOLONG;
    snprintf(rec->task_id, sizeof(rec->task_id), "%s", task);
    snprintf(rec->container_id, sizeof(rec->container_id), "%s", container);
    snprintf(rec->path[0], sizeof(rec->path[0]), "%s", out);
    snprintf(rec->path[1], sizeof(rec->path[1]), "%s", err);
    rec->tty = tty != 0;
    if (known_ns)
        since = known_ns;
    /* Taken over from another driver: what it has delivered is behind us. */
    rec->stream[0].at.time_ns = rec->stream[1].at.time_ns = since;
    atomic_store(&rec->resume_ns, since);
    rec->magic = PUMP_RECORD_MAGIC; /* last: now it counts */
    return 0;
}

static bool is_container_id(const char *id) {
    return id && strlen(id) == 64 && strspn(id, "0123456789abcdef") == 64;
}

/* The task's record: as an earlier pump left it, or a fresh one. One whose layout is not known
 * gives way to a fresh one, for the task must not fail because of it. */
static int take_record(struct pump *p, const char *id, const json_t *rq, struct pump_record **ret,
                       bool *ret_fresh, const char **ret_note) {
    char done[PUMP_DONE_MAX];
    int64_t known_ns = 0;
    snprintf(done, sizeof(done), "%s%s", id, PUMP_DONE);
    if (renameat(p->dir.records_fd, done, p->dir.records_fd, id) == 0)
        log_debug("logpump", LOG_KV("container_id", id), "asked for again after its end");
    int r = pump_record_open(p->dir.records_fd, id, ret, ret_fresh);
    if (r == -EPROTO) {
        r = pump_record_drop(p->dir.records_fd, id, clock_wall_ns(), &known_ns);
        if (r == 0)
            r = pump_record_open(p->dir.records_fd, id, ret, ret_fresh);
        *ret_note = "its position file was written by another version: some log lines may be "
                    "missing or come twice";
    }
    if (r == 0 && *ret_fresh && (r = fill_record(*ret, rq, known_ns)) < 0)
        pump_record_close(*ret);
    return r;
}

static int add_task(struct pump *p, const char *id, const json_t *rq, struct entry **ret) {
    struct pump_record *rec;
    bool fresh = false;
    const char *note = NULL;
    int r = take_record(p, id, rq, &rec, &fresh, &note);
    if (r == 0)
        r = entry_add(p, rec, ret);
    if (r == 0)
        (*ret)->note = note;
    else if (fresh)
        unlinkat(p->dir.records_fd, id, 0);
    return r;
}

static void do_follow(struct conn *c, const json_t *rq) {
    struct pump *p = c->pump;
    const char *task = json_string_value(json_object_get(rq, "task"));
    const char *id = json_string_value(json_object_get(rq, "container"));
    if (!task || !is_container_id(id)) {
        answer(c, -EINVAL, "follow: task or container is not valid");
        return;
    }
    struct entry *e = entry_find(p, task);
    if (e && strcmp(pump_task_record(e->task)->container_id, id) != 0) {
        entry_forget(e, false); /* the task's earlier container: it was replaced */
        e = NULL;
    }
    int r = e ? pump_task_reopen(e->task) : add_task(p, id, rq, &e);
    if (r < 0)
        answer(c, r, strerror(-r));
    else if (e->opened)
        answer_opened(c, e);
    else
        c->waits_open = e;
}

/* Those that wait for a task's last lines hear that they are still coming. */
static void on_beat(void *arg) {
    struct pump *p = arg;
    bool any = false;
    for (struct entry *e = p->entries; e; e = e->next)
        e->moves = !e->drained && pump_task_moves(e->task);
    for (const struct conn *c = p->conns; c; c = c->next) {
        any = any || c->waits_drained;
        if (c->waits_drained && c->waits_drained->moves &&
            send(c->fd, &(char){PUMP_MOVES}, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            log_debug("logpump", LOG_KV("errno", strerror(errno)), "nobody waits any more");
    }
    if (any)
        loop_timer_at(p->beat, clock_now_us() + BEAT_US);
}

static void do_task(struct conn *c, const char *op, const json_t *rq) {
    const char *task = json_string_value(json_object_get(rq, "task"));
    struct entry *e = task ? entry_find(c->pump, task) : NULL;
    if (!e) {
        answer(c, 0, NULL);
    } else if (strcmp(op, "close") == 0) {
        c->waits_drained = e;
        entry_forget(e, true); /* answers too */
    } else {
        c->waits_drained = e;
        loop_timer_at(c->pump->beat, clock_now_us() + BEAT_US);
        pump_task_finish(e->task);
    }
}

static void serve(struct conn *c) {
    c->asked = true;
    json_t *rq = json_loadb(c->line, c->len, 0, NULL);
    const char *op = json_string_value(json_object_get(rq, "op"));
    if (!op)
        answer(c, -EINVAL, "no request");
    else if (strcmp(op, "follow") == 0)
        do_follow(c, rq);
    else if (strcmp(op, "finish") == 0 || strcmp(op, "close") == 0)
        do_task(c, op, rq);
    else if (strcmp(op, "watch") != 0)
        answer(c, -EINVAL, "unknown op");
    json_decref(rq);
}

static void on_conn(void *arg, uint32_t events) {
    struct conn *c = arg;
    (void)events;
    ssize_t n = recv(c->fd, c->line + c->len, sizeof(c->line) - c->len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || c->asked) {
        conn_free(c);
        return;
    }
    c->len += (size_t)n;
    if (memchr(c->line, '\n', c->len))
        serve(c);
    else if (c->len == sizeof(c->line))
        answer(c, -EMSGSIZE, "request too long");
}

static void on_listen(void *arg, uint32_t events) {
    struct pump *p = arg;
    (void)events;
    AUTO_FD int fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct conn *c = fd < 0 ? NULL : calloc(1, sizeof(*c));
    if (!c)
        return;
    *c = (struct conn){.pump = p, .fd = fd};
    if (loop_watch_add(p->loop, fd, EPOLLIN, on_conn, c, &c->watch) < 0) {
        free(c);
        return;
    }
    fd = -EBADF;
    c->next = p->conns;
    p->conns = c;
    idle_check(p);
}

/* ---- start ---- */

static void on_sigterm(void *arg, uint32_t events) {
    struct pump *p = arg;
    (void)events;
    loop_stop(p->loop);
}

/* The signal has been blocked since before anything was made, so none is lost. */
static int take_sigterm(struct pump *p) {
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    p->signal_fd = signalfd(-1, &term, SFD_CLOEXEC | SFD_NONBLOCK);
    if (p->signal_fd < 0)
        return -errno;
    return loop_watch_add(p->loop, p->signal_fd, EPOLLIN, on_sigterm, p, &p->signal_watch);
}

/* Bound beside its place and moved there: a plugin that connects finds a pump that listens. */
static int listen_at(struct pump *p) {
    const char *dir = p->dir.path;
    struct sockaddr_un addr = {.sun_family = AF_UNIX}, place = {.sun_family = AF_UNIX};
    int n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s.new", dir, PUMP_SOCKET);
    if (n < 0 || (size_t)n >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    snprintf(place.sun_path, sizeof(place.sun_path), "%s/%s", dir, PUMP_SOCKET);
    unlink(addr.sun_path);
    p->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->listen_fd < 0 || bind(p->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        listen(p->listen_fd, 128) < 0 || rename(addr.sun_path, place.sun_path) < 0)
        return -errno;
    return loop_watch_add(p->loop, p->listen_fd, EPOLLIN, on_listen, p, &p->listen_watch);
}

/* Goes on with what an earlier pump was at. What cannot be (its FIFOs are gone) is dropped. */
static int resume_records(struct pump *p) {
    int fd = openat(p->dir.fd, PUMP_RECORDS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        fd_close(fd);
        return -errno;
    }
    for (struct dirent *e; (e = readdir(d));) {
        struct pump_record *rec;
        struct entry *entry;
        bool fresh;
        if (!is_container_id(e->d_name) ||
            pump_record_open(p->dir.records_fd, e->d_name, &rec, &fresh) < 0)
            continue;
        int r = fresh ? -ENODATA : 0;
        if (fresh)
            pump_record_close(rec);
        else
            r = entry_add(p, rec, &entry);
        if (r < 0)
            log_warn("logpump", LOG_KV("container_id", e->d_name, "errno", strerror(-r)),
                     "its logs cannot be followed any more, ignoring");
        if (r < 0 && r != -ENOMEM && r != -EMFILE && r != -ENFILE) /* the next pump may have room */
            unlinkat(p->dir.records_fd, e->d_name, 0);
    }
    closedir(d);
    return 0;
}

/* PADDOCK_DOCKER_TIMEOUT_MS shortens it, as every wait for Docker. */
static uint64_t alone_limit_us(void) {
    const char *text = getenv("PADDOCK_DOCKER_TIMEOUT_MS");
    uint64_t ms;
    bool given = text && parse_u64(text, 3600000, &ms) == 0 && ms > 0;
    return ALONE_LOOKS * (given ? ms * US_PER_MS : ANSWER_US);
}

static int start(struct pump *p, const struct docker_options *o, struct err *err) {
    p->alone_us = alone_limit_us();
    int r = docker_global_init();
    if (r == 0)
        r = docker_new(o, &p->docker, err);
    if (r == 0)
        r = loop_new(&p->loop);
    if (r == 0)
        r = take_sigterm(p);
    if (r == 0)
        r = docker_multi_new(p->docker, p->loop, &p->http);
    if (r == 0)
        r = watch_rivals(p);
    if (r == 0)
        docker_multi_gather(p->http, GATHER_US);
    if (r == 0)
        r = loop_timer_new(p->loop, on_idle, p, &p->idle);
    if (r == 0)
        r = loop_timer_new(p->loop, on_alone, p, &p->alone);
    if (r == 0)
        r = loop_timer_new(p->loop, on_beat, p, &p->beat);
    if (r == 0)
        r = resume_records(p);
    if (r == 0)
        r = listen_at(p);
    if (r == 0)
        idle_check(p);
    return r;
}

static void stop(struct pump *p) {
    if (p->loop)
        loop_run_posted(p->loop); /* while the entries are there */
    while (p->conns)
        conn_free(p->conns);
    for (struct entry *e = p->entries, *next; e; e = next) {
        next = e->next;
        pump_task_free(e->task);
        free(e);
    }
    docker_multi_free(p->http);
    loop_timer_del(p->idle);
    loop_timer_del(p->alone);
    loop_timer_del(p->beat);
    loop_watch_del(p->listen_watch);
    loop_watch_del(p->signal_watch);
    loop_watch_del(p->inotify_watch);
    loop_free(p->loop);
    docker_free(p->docker);
    fd_close(p->listen_fd);
    fd_close(p->signal_fd);
    fd_close(p->inotify_fd);
    fd_close(p->proc_fd);
    pump_dir_close(&p->dir);
}

/* Says ready to the plugin that waits. */
static void say_ready(int ready_fd) {
    if (ready_fd >= 0 && write(ready_fd, "\n", 1) < 0)
        log_debug("logpump", NULL, "nobody waits");
    fd_close(ready_fd);
}

/* Three descriptors a task: the usual soft limit of 1024 is for programs that use select(). */
static void raise_fd_limit(void) {
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &l) < 0)
            log_debug("logpump", NULL, "the limit of open files stays");
    }
}

int logpump_main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: paddock logpump RUN_DIR ENDPOINT [CERT KEY CA]\n"
                        "Started by the plugin; carries container output to Nomad.\n");
        return 2;
    }
    /* Before anything is opened, which would take its number. */
    int ready_fd = fcntl(READY_FD, F_GETFD) >= 0 ? READY_FD : -EBADF;
    raise_fd_limit();
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &term, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* a terminal's Ctrl-C is for the agent */
    struct pump p = {
        .listen_fd = -EBADF, .signal_fd = -EBADF, .inotify_fd = -EBADF, .proc_fd = -EBADF};
    int r = pump_dir_open(argv[1], &p.dir);
    if (r != 0) {
        if (r < 0)
            fprintf(stderr, "paddock logpump: %s: %s\n", argv[1], strerror(-r));
        else
            say_ready(ready_fd); /* another one serves this folder */
        pump_dir_close(&p.dir);
        return r < 0;
    }
    struct docker_options o = {.endpoint = argv[2],
                               .tls_cert = argc > 3 ? argv[3] : "",
                               .tls_key = argc > 4 ? argv[4] : "",
                               .tls_ca = argc > 5 ? argv[5] : ""};
    struct err err = {0};
    r = start(&p, &o, &err);
    if (r < 0) {
        log_error("logpump", LOG_KV("errno", strerror(-r)), "cannot start: %s", err.text);
    } else {
        say_ready(ready_fd);
        r = loop_run(p.loop);
    }
    stop(&p);
    return r < 0 ? 1 : 0;
}
