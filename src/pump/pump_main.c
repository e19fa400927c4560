/* SPDX-License-Identifier: MPL-2.0 */
/* The log pump's process: `paddock logpump RUN_DIR SETTINGS succeed|join`.
 *
 * It has one loop, and a thread that only opens log files. It takes the lock of its folder; with
 * `succeed` it first ends a pump of another kind that has the lock. Then it continues every task
 * whose position file it finds, and serves its socket.
 *
 * It ends:
 * - 2 s after the last task and the last connection are gone;
 * - after ten minutes in which no plugin was connected and no log stream was open (Docker is
 *   unavailable for good, or all containers have ended);
 * - when its folder was removed and cannot be made again, or another pump serves it now;
 * - at SIGTERM.
 *
 * The next pump delivers the rest, by the position files. When no position file is left, the folder
 * is removed, too. The plugin starts the pump with a session and stdio of its own. The pump
 * writes a byte to descriptor 3 when it is ready. */
#include "paddock/logpump.h"

#include "paddock/clock.h"
#include "paddock/docker.h"
#include "paddock/docker_multi.h"
#include "paddock/log.h"
#include "paddock/loop.h"
#include "paddock/parse.h"

#include "src/pump/pump_conn.h"
#include "src/pump/pump_dir.h"
#include "src/pump/pump_entry.h"
#include "src/pump/pump_proto.h"
#include "src/pump/pump_succeed.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

/* The output of a busy container is gathered for this time, so a line arrives at most this much
 * later. A longer time would be worse: dockerd sends line by line, and a Unix socket of the usual
 * size holds about 280 lines (the limit is what they cost the kernel, not their bytes). dockerd
 * prints them in 1.5 ms at its best. On a busy machine the read itself is late: with 1 ms dockerd
 * found the socket full 450 times a second, with 0.5 ms 80 times. */
#define GATHER_US (US_PER_MS / 2)
#define IDLE_EXIT_US (2 * US_PER_SEC)
/* The pump exits after it was alone for ALONE_LOOKS times the wait for one answer of Docker, which
 * is ten minutes. It checks ALONE_LOOKS times in that time. */
#define ALONE_LOOKS 10
#define ANSWER_US (60 * US_PER_SEC)
#define FOLDER_LOOK_US (100 * US_PER_MS) /* from a removal in the folder to the check of it */
#define READY_FD 3
#define BACKLOG_BYTES UINT64_C(256000000) /* when the plugin's settings have no log_backlog */

struct pump {
    struct loop *loop;
    struct docker *docker;
    struct docker_multi *http;
    struct pump_files files;
    struct pump_locate *locate;
    struct pump_dir dir;
    json_t *hello; /* {"version":..., "settings":...} */
    struct pump_held held;
    struct pump_entries *entries;
    struct pump_conns *conns;
    int signal_fd, inotify_fd;
    struct loop_watch *signal_watch, *folder_watch;
    struct loop_timer *idle, *alone, *folder_look;
    uint64_t alone_us, alone_since_us; /* the limit; the last time it was not alone */
};

/* ---- when to end ---- */

/* Called when connections or entries have changed: sets the timers `idle` and `alone`. */
static void on_changed(void *ctx) {
    struct pump *p = ctx;
    uint64_t now = clock_now_us();
    bool conns = p->conns && pump_conns_any(p->conns);
    bool entries = p->entries && pump_entries_any(p->entries);
    loop_timer_at(p->idle, conns || entries ? 0 : now + IDLE_EXIT_US);
    loop_timer_at(p->alone, conns || !entries ? 0 : now + p->alone_us / ALONE_LOOKS);
    p->alone_since_us = now;
}

static void on_idle(void *arg) {
    struct pump *p = arg;
    loop_stop(p->loop);
}

/* No plugin is connected. Continues while any log stream is open. */
static void on_alone(void *arg) {
    struct pump *p = arg;
    uint64_t now = clock_now_us();
    if (pump_entries_any_open(p->entries))
        p->alone_since_us = now;
    if (now - p->alone_since_us >= p->alone_us)
        loop_stop(p->loop);
    else
        loop_timer_at(p->alone, now + p->alone_us / ALONE_LOOKS);
}

/* A process has opened a FIFO. While a plugin is connected, it was logmon or the plugin. Otherwise
 * it may be the built-in driver, which has taken over tasks. Then their logs are no longer ours. */
static void on_fifo_opened(void *ctx) {
    struct pump *p = ctx;
    if (!pump_conns_any(p->conns))
        pump_entries_yield(p->entries);
}

static void on_report(void *ctx, const char *task_id, const char *text) {
    struct pump *p = ctx;
    pump_conns_report(p->conns, task_id, text);
}

/* ---- the pump's folder ---- */

static void folder_watch(struct pump *p) {
    if (p->inotify_fd >= 0 &&
        inotify_add_watch(p->inotify_fd, p->dir.path, IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR) < 0)
        log_debug("logpump", LOG_KV("errno", strerror(errno)), "the folder is not watched");
}

/* Another pump made the folder again first. It gets the position files. The plugin notices our end
 * and asks that pump to carry the tasks. */
static void leave_to_other(struct pump *p) {
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", p->dir.path, PUMP_RECORDS);
    AUTO_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        pump_entries_move(p->entries, fd);
    log_info("logpump", LOG_KV("folder", p->dir.path),
             "the pump's folder was removed and another pump serves it now: this one ends");
}

/* Called after a removal in the folder, for example by a program that cleans up /run. The positions
 * are still in memory. */
static void on_folder_look(void *arg) {
    struct pump *p = arg;
    int r = pump_dir_restore(&p->dir);
    if (r == 1) {
        log_warn("logpump", LOG_KV("folder", p->dir.path),
                 "the pump's folder was removed, retrying");
        pump_entries_move(p->entries, p->dir.records_fd);
        r = pump_conns_listen(p->conns);
        folder_watch(p);
    }
    if (r == -EBUSY)
        leave_to_other(p);
    else if (r < 0)
        log_error("logpump", LOG_KV("folder", p->dir.path, "errno", strerror(-r)),
                  "the pump's folder was removed and cannot be made again: the pump ends");
    if (r < 0)
        loop_stop(p->loop);
}

static void on_folder(void *arg, uint32_t events) {
    struct pump *p = arg;
    char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    (void)events;
    while (read(p->inotify_fd, buf, sizeof(buf)) > 0) {
    }
    loop_timer_at(p->folder_look, clock_now_us() + FOLDER_LOOK_US);
}

static int start_folder(struct pump *p) {
    p->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (p->inotify_fd < 0)
        return 0; /* all inotify instances are in use: the folder is not watched */
    int r = loop_timer_new(p->loop, on_folder_look, p, &p->folder_look);
    if (r == 0)
        r = loop_watch_add(p->loop, p->inotify_fd, EPOLLIN, on_folder, p, &p->folder_watch);
    folder_watch(p);
    return r;
}

/* ---- start ---- */

static void on_sigterm(void *arg, uint32_t events) {
    struct pump *p = arg;
    (void)events;
    loop_stop(p->loop);
}

/* SIGTERM was blocked before anything was made, so none is lost. */
static int take_sigterm(struct pump *p) {
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    p->signal_fd = signalfd(-1, &term, SFD_CLOEXEC | SFD_NONBLOCK);
    if (p->signal_fd < 0)
        return -errno;
    return loop_watch_add(p->loop, p->signal_fd, EPOLLIN, on_sigterm, p, &p->signal_watch);
}

/* Returns the time to wait for an answer of Docker. PADDOCK_DOCKER_TIMEOUT_MS changes it, like
 * every wait for Docker. */
static uint64_t patience_us(void) {
    const char *text = getenv("PADDOCK_DOCKER_TIMEOUT_MS");
    uint64_t ms;
    bool given = text && parse_u64(text, 3600000, &ms) == 0 && ms > 0;
    return given ? ms * US_PER_MS : ANSWER_US;
}

/* Returns the text of a setting; "" when it is missing. */
static const char *setting_text(const struct pump *p, const char *name) {
    const char *text =
        json_string_value(json_object_get(json_object_get(p->hello, "settings"), name));
    return text ? text : "";
}

static uint64_t backlog_bytes(const struct pump *p) {
    json_int_t bytes =
        json_integer_value(json_object_get(json_object_get(p->hello, "settings"), "log_backlog"));
    return bytes > 0 ? (uint64_t)bytes : BACKLOG_BYTES;
}

static int start_tasks(struct pump *p) {
    const struct pump_task_shared tasks = {.loop = p->loop,
                                           .http = p->http,
                                           .files = &p->files,
                                           .locate = p->locate,
                                           .patience_us = patience_us()};
    const struct pump_entries_options entries = {.tasks = tasks,
                                                 .records_fd = p->dir.records_fd,
                                                 .changed = on_changed,
                                                 .fifo_opened = on_fifo_opened,
                                                 .report = on_report,
                                                 .ctx = p};
    int r = pump_entries_new(&entries, &p->entries);
    const struct pump_conns_options conns = {.loop = p->loop,
                                             .dir = p->dir.path,
                                             .entries = p->entries,
                                             .hello = p->hello,
                                             .changed = on_changed,
                                             .ctx = p};
    if (r == 0)
        r = pump_conns_new(&conns, &p->conns);
    if (r == 0)
        r = pump_entries_resume(p->entries);
    return r;
}

static int start_parts(struct pump *p, struct err *err) {
    struct docker_options o = {.endpoint = setting_text(p, "endpoint"),
                               .tls_cert = setting_text(p, "cert"),
                               .tls_key = setting_text(p, "key"),
                               .tls_ca = setting_text(p, "ca")};
    p->alone_us = ALONE_LOOKS * patience_us();
    int r = docker_global_init();
    if (r == 0)
        r = docker_new(&o, &p->docker, err);
    if (r == 0)
        r = loop_new(&p->loop);
    if (r == 0)
        r = take_sigterm(p);
    if (r == 0)
        r = docker_multi_new(p->docker, p->loop, &p->http);
    if (r == 0)
        docker_multi_gather(p->http, GATHER_US);
    if (r == 0)
        r = pump_files_init(&p->files, p->loop, backlog_bytes(p));
    if (r == 0)
        r = pump_locate_new(p->docker, p->http, &p->locate);
    if (r == 0)
        r = loop_timer_new(p->loop, on_idle, p, &p->idle);
    if (r == 0)
        r = loop_timer_new(p->loop, on_alone, p, &p->alone);
    if (r == 0)
        r = start_tasks(p);
    if (r == 0)
        r = start_folder(p);
    if (r == 0)
        on_changed(p);
    return r;
}

static void stop_parts(struct pump *p) {
    if (p->loop)
        loop_run_posted(p->loop); /* posted callbacks need the entries */
    pump_conns_free(TAKE_PTR(p->conns));
    pump_entries_free(TAKE_PTR(p->entries));
    pump_locate_free(p->locate);
    pump_files_done(&p->files);
    docker_multi_free(p->http);
    loop_timer_del(p->idle);
    loop_timer_del(p->alone);
    loop_timer_del(p->folder_look);
    loop_watch_del(p->signal_watch);
    loop_watch_del(p->folder_watch);
    loop_free(p->loop);
    docker_free(p->docker);
    fd_close(p->signal_fd);
    fd_close(p->inotify_fd);
    pump_succeed_held_done(&p->held);
    pump_dir_close(&p->dir);
}

/* ---- the process ---- */

/* Reports to the waiting plugin that the pump is ready. */
static void say_ready(int ready_fd) {
    if (ready_fd >= 0 && write(ready_fd, "\n", 1) < 0)
        log_debug("logpump", NULL, "no client waits");
    fd_close(ready_fd);
}

/* Raises the limit of open files. A task needs six descriptors and those of its held files. The
 * usual soft limit of 1024 exists for programs that use select(). */
static void raise_fd_limit(void) {
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &l) < 0)
            log_debug("logpump", NULL, "the limit of open files stays");
    }
}

static void set_signals(void) {
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &term, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* Ctrl-C in a terminal is for the agent */
}

/* Takes the folder. @succeed: also from a pump of another kind that has it. Returns 0; 1 when
 * another pump serves the folder and may go on; -errno. */
static int take_folder(struct pump *p, const char *path, bool succeed) {
    int r = pump_dir_open(path, &p->dir);
    if (r == 1 && succeed) {
        pump_dir_close(&p->dir);
        r = pump_succeed_here(path, p->hello, &p->held);
        if (r == 0)
            r = pump_dir_open(path, &p->dir);
    }
    if (r == 0) {
        pump_succeed_siblings(&p->dir, setting_text(p, "allocs"), &p->held);
        pump_dir_sweep(path);
    }
    return r;
}

static int serve_plugin(struct pump *p, const char *run_dir, bool succeed, int ready_fd) {
    struct err err = {0};
    int r = take_folder(p, run_dir, succeed);
    if (r == 1) {
        say_ready(ready_fd);
        return 0;
    }
    if (r == 0)
        r = start_parts(p, &err);
    pump_succeed_held_done(&p->held); /* the tasks have opened their own descriptors */
    if (r < 0) {
        log_error("logpump", LOG_KV("folder", run_dir, "errno", strerror(-r)),
                  "the log pump cannot start: %s", err.text);
        return r;
    }
    say_ready(ready_fd);
    return loop_run(p->loop);
}

int pump_main(int argc, char **argv) {
    json_t *settings = argc == 4 ? json_loads(argv[2], 0, NULL) : NULL;
    if (!settings) {
        fprintf(stderr, "usage: paddock logpump RUN_DIR SETTINGS succeed|join\n"
                        "Started by the plugin; carries container output to Nomad.\n");
        return 2;
    }
    /* Before anything is opened, because a new descriptor could get this number. */
    int ready_fd = fcntl(READY_FD, F_GETFD) >= 0 ? READY_FD : -EBADF;
    /* Otherwise the process has the name of the file in /proc by which it was executed. */
    pthread_setname_np(pthread_self(), "paddock-logpump");
    raise_fd_limit();
    set_signals();
    if (log_never_wait() < 0)
        log_debug("logpump", NULL, "its stderr may make it wait");
    struct pump p = {.signal_fd = -EBADF,
                     .inotify_fd = -EBADF,
                     .dir = {.fd = -EBADF, .lock_fd = -EBADF, .records_fd = -EBADF},
                     .hello =
                         json_pack("{s:s,s:o}", "version", PADDOCK_VERSION, "settings", settings)};
    int r =
        p.hello ? serve_plugin(&p, argv[1], strcmp(argv[3], "succeed") == 0, ready_fd) : -ENOMEM;
    stop_parts(&p);
    json_decref(p.hello);
    return r < 0 ? 1 : 0;
}
