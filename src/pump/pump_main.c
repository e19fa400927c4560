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
#include "paddock/log.h"
#include "paddock/parse.h"

#include "pump_priv.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
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
#define READY_FD 3

void pump_idle_check(struct pump *p) {
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

static int start(struct pump *p, const struct docker_options *o, struct err *err) {
    p->patience_us = patience_us();
    p->alone_us = ALONE_LOOKS * p->patience_us;
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
        r = pump_entry_watch_rivals(p);
    if (r == 0)
        docker_multi_gather(p->http, GATHER_US);
    if (r == 0)
        r = loop_timer_new(p->loop, on_idle, p, &p->idle);
    if (r == 0)
        r = loop_timer_new(p->loop, on_alone, p, &p->alone);
    if (r == 0)
        r = loop_timer_new(p->loop, pump_conn_beat, p, &p->beat);
    if (r == 0)
        r = loop_timer_new(p->loop, pump_conn_go_on, p, &p->accept_again);
    if (r == 0)
        r = pump_entry_resume(p);
    if (r == 0)
        r = pump_conn_listen(p);
    if (r == 0)
        pump_idle_check(p);
    return r;
}

static void stop(struct pump *p) {
    if (p->loop)
        loop_run_posted(p->loop); /* while the entries are there */
    while (p->conns)
        pump_conn_free(p->conns);
    for (struct entry *e = p->entries, *next; e; e = next) {
        next = e->next;
        pump_task_free(e->task);
        free(e);
    }
    docker_multi_free(p->http);
    loop_timer_del(p->idle);
    loop_timer_del(p->alone);
    loop_timer_del(p->beat);
    loop_timer_del(p->rival_look);
    loop_timer_del(p->accept_again);
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
