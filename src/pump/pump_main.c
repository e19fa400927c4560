/* `paddock logpump RUN_DIR SETTINGS`: the process.
 *
 * One loop, and a thread that only opens log files. It takes the lock of its folder (where a pump
 * of another kind has it, that one ends), goes on with every task whose position it finds, and
 * serves its socket. It ends 2 s after the last task and the last connection are gone; after ten
 * minutes in which no plugin was connected and no log stream open (Docker is away for good, or all
 * containers have ended); or at SIGTERM. What is not delivered then is the next pump's, by its
 * position file; without one the folder goes too. Started by the plugin with a session and stdio of
 * its own; a byte on fd 3 says ready. */
#include "paddock/logpump.h"

#include "paddock/clock.h"
#include "paddock/docker.h"
#include "paddock/docker_multi.h"
#include "paddock/log.h"
#include "paddock/loop.h"
#include "paddock/parse.h"

#include "pump_conn.h"
#include "pump_dir.h"
#include "pump_entry.h"
#include "pump_proto.h"
#include "pump_succeed.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

/* A busy container's output is taken together so often: a line comes at most this much later. Not
 * longer: dockerd sends line by line, and a Unix socket of the usual size holds about 280 of them
 * (by what they cost the kernel, not by their bytes), which dockerd prints in 1.5 ms at its best.
 * On a machine that has enough to do the read itself comes late: with 1 ms dockerd found the socket
 * full 450 times a second, with 0.5 ms 80 times. */
#define GATHER_US (US_PER_MS / 2)
#define IDLE_EXIT_US (2 * US_PER_SEC)
/* So many times the wait for one answer of Docker's: ten minutes. Looked at as often in that time.
 */
#define ALONE_LOOKS 10
#define ANSWER_US (60 * US_PER_SEC)
#define FOLDER_LOOK_US (100 * US_PER_MS) /* from a removal in the folder to the look at it */
#define READY_FD 3
#define BACKLOG_BYTES UINT64_C(256000000) /* unless the plugin says otherwise */

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
    uint64_t alone_us, alone_since_us; /* the limit; when it was not alone last */
};

/* ---- whether it is still wanted ---- */

/* Connections or entries have changed. */
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

/* No plugin is there. Goes on while there is anything to carry. */
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

/* With a plugin there, it was logmon or the plugin; without one it may be the built-in driver,
 * which took the tasks over: then their logs are no longer ours. */
static void on_fifo_opened(void *ctx) {
    struct pump *p = ctx;
    if (!pump_conns_any(p->conns))
        pump_entries_yield(p->entries);
}

static void on_report(void *ctx, const char *task_id, const char *text) {
    struct pump *p = ctx;
    pump_conns_report(p->conns, task_id, text);
}

/* ---- its folder ---- */

static void folder_watch(struct pump *p) {
    if (p->inotify_fd >= 0 &&
        inotify_add_watch(p->inotify_fd, p->dir.path, IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR) < 0)
        log_debug("logpump", LOG_KV("errno", strerror(errno)), "the folder is not watched");
}

/* Another pump was faster to make the folder again. It gets the positions, and the plugin, which
 * notices our end, asks it to carry the tasks. */
static void leave_to_other(struct pump *p) {
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", p->dir.path, PUMP_RECORDS);
    AUTO_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        pump_entries_move(p->entries, fd);
    log_info("logpump", LOG_KV("folder", p->dir.path),
             "the pump's folder was removed and another pump serves it now: this one ends");
}

/* Somebody tidied /run. The positions are still in memory. */
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
        return 0; /* all instances are in use: it goes without */
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

/* PADDOCK_DOCKER_TIMEOUT_MS shortens it, as every wait for Docker. */
static uint64_t patience_us(void) {
    const char *text = getenv("PADDOCK_DOCKER_TIMEOUT_MS");
    uint64_t ms;
    bool given = text && parse_u64(text, 3600000, &ms) == 0 && ms > 0;
    return given ? ms * US_PER_MS : ANSWER_US;
}

static const char *setting(const struct pump *p, const char *name) {
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

static int start(struct pump *p, struct err *err) {
    struct docker_options o = {.endpoint = setting(p, "endpoint"),
                               .tls_cert = setting(p, "cert"),
                               .tls_key = setting(p, "key"),
                               .tls_ca = setting(p, "ca")};
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

static void stop(struct pump *p) {
    if (p->loop)
        loop_run_posted(p->loop); /* while the entries are there */
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
    pump_held_done(&p->held);
    pump_dir_close(&p->dir);
}

/* ---- the process ---- */

/* Says ready to the plugin that waits. */
static void say_ready(int ready_fd) {
    if (ready_fd >= 0 && write(ready_fd, "\n", 1) < 0)
        log_debug("logpump", NULL, "nobody waits");
    fd_close(ready_fd);
}

/* Six descriptors a task, and the held files: the usual soft limit of 1024 is for programs that use
 * select(). */
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
    signal(SIGINT, SIG_IGN); /* a terminal's Ctrl-C is for the agent */
}

/* Takes the folder, from an older pump where one has it. Returns 0; 1: another one serves it well;
 * -errno. */
static int take_folder(struct pump *p, const char *path, bool succeed) {
    int r = pump_dir_open(path, &p->dir);
    if (r == 1 && succeed) {
        pump_dir_close(&p->dir);
        r = pump_succeed_here(path, p->hello, &p->held);
        if (r == 0)
            r = pump_dir_open(path, &p->dir);
    }
    if (r == 0) {
        pump_succeed_siblings(&p->dir, setting(p, "allocs"), &p->held);
        pump_dir_sweep(path);
    }
    return r;
}

static int serve(struct pump *p, const char *run_dir, bool succeed, int ready_fd) {
    struct err err = {0};
    int r = take_folder(p, run_dir, succeed);
    if (r == 1) {
        say_ready(ready_fd);
        return 0;
    }
    if (r == 0)
        r = start(p, &err);
    pump_held_done(&p->held); /* the tasks have opened their own */
    if (r < 0) {
        log_error("logpump", LOG_KV("folder", run_dir, "errno", strerror(-r)),
                  "the log pump cannot start: %s", err.text);
        return r;
    }
    say_ready(ready_fd);
    return loop_run(p->loop);
}

int logpump_main(int argc, char **argv) {
    json_t *settings = argc == 4 ? json_loads(argv[2], 0, NULL) : NULL;
    if (!settings) {
        fprintf(stderr, "usage: paddock logpump RUN_DIR SETTINGS succeed|join\n"
                        "Started by the plugin; carries container output to Nomad.\n");
        return 2;
    }
    /* Before anything is opened, which would take its number. */
    int ready_fd = fcntl(READY_FD, F_GETFD) >= 0 ? READY_FD : -EBADF;
    raise_fd_limit();
    set_signals();
    if (log_never_wait() < 0)
        log_debug("logpump", NULL, "its stderr may make it wait");
    struct pump p = {.signal_fd = -EBADF,
                     .inotify_fd = -EBADF,
                     .dir = {.fd = -EBADF, .lock_fd = -EBADF, .records_fd = -EBADF},
                     .hello =
                         json_pack("{s:s,s:o}", "version", PADDOCK_VERSION, "settings", settings)};
    int r = p.hello ? serve(&p, argv[1], strcmp(argv[3], "succeed") == 0, ready_fd) : -ENOMEM;
    stop(&p);
    json_decref(p.hello);
    return r < 0 ? 1 : 0;
}
