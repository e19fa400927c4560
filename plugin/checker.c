/* SPDX-License-Identifier: MPL-2.0 */
/* Runs the check for the page and keeps its last result. serve.c makes the checker, and the page's
 * status document contains the result.
 *
 * One child runs at a time. It is killed after 30 s. The process is waited for only after its
 * output has ended, so the wait returns immediately. */
#include "plugin/checker.h"
#include "plugin/handshake.h"

#include "paddock/buf.h"
#include "paddock/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX (1u << 20)
#define LIMIT_US (30 * US_PER_SEC)

struct checker {
    struct loop *loop;
    char *program;
    json_t *last;
    uint64_t asked_us; /* when the last child was started; 0 = never */
    /* ---- of the running child ---- */
    pid_t pid; /* 0 = none */
    int fd;
    struct loop_watch *watch;
    struct loop_timer *limit;
    struct buf out;
};

static void child_done(struct checker *c) {
    loop_watch_del(c->watch);
    c->watch = NULL;
    c->fd = fd_close(c->fd);
    kill(c->pid, SIGKILL);
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    c->pid = 0;
    json_t *doc = json_loadb(buf_text(&c->out), c->out.len, 0, NULL);
    if (json_is_object(doc)) {
        json_decref(c->last);
        c->last = json_incref(doc);
    }
    json_decref(doc);
    buf_done(&c->out);
}

static void on_output(void *ctx, uint32_t events) {
    struct checker *c = ctx;
    char chunk[4096];
    (void)events;
    ssize_t n = read(c->fd, chunk, sizeof(chunk));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || buf_append(&c->out, chunk, (size_t)n) < 0)
        child_done(c);
}

static void on_limit(void *ctx) {
    struct checker *c = ctx;
    if (c->pid)
        child_done(c);
}

/* Copies our environment without the agent's cookie, which would make the child a plugin.
 * Owner: caller, free(). */
static char **child_environment(void) {
    const char *cookie = HANDSHAKE_COOKIE_NAME "=";
    size_t n = 0, kept = 0;
    while (environ[n])
        n++;
    char **env = calloc(n + 1, sizeof(*env));
    for (size_t i = 0; env && i < n; i++)
        if (strncmp(environ[i], cookie, strlen(cookie)) != 0)
            env[kept++] = environ[i];
    return env;
}

static int spawn_check(struct checker *c, int out_fd) {
    AUTO_FREE char **env = child_environment();
    char *args[] = {(char *)"paddock", (char *)"check", (char *)"--json", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t all, none;
    if (!env)
        return -ENOMEM;
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int r = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, out_fd, 1);
    if (r == 0)
        r = posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    if (r == 0)
        r = posix_spawn(&c->pid, c->program, &actions, &attr, args, env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    if (r != 0)
        c->pid = 0;
    return -r;
}

static void start_child(struct checker *c) {
    int fds[2];
    c->asked_us = clock_now_us();
    if (pipe2(fds, O_CLOEXEC) < 0)
        return;
    AUTO_FD int ours = fds[0], childs = fds[1];
    buf_init(&c->out, OUTPUT_MAX);
    if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0 || spawn_check(c, childs) < 0)
        return;
    c->fd = TAKE_FD(ours);
    if (loop_watch_add(c->loop, c->fd, EPOLLIN, on_output, c, &c->watch) < 0)
        child_done(c);
    else
        loop_timer_at(c->limit, clock_now_us() + LIMIT_US);
}

json_t *checker_last(struct checker *c) {
    if (!c->pid && (!c->asked_us || clock_now_us() - c->asked_us > CHECKER_AGE_S * US_PER_SEC))
        start_child(c);
    return c->last;
}

int checker_new(struct loop *l, const char *program, struct checker **ret) {
    struct checker *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->loop = l;
    c->fd = -EBADF;
    c->program = strdup(program);
    int r = c->program ? loop_timer_new(l, on_limit, c, &c->limit) : -ENOMEM;
    if (r < 0)
        checker_free(c);
    else
        *ret = c;
    return r;
}

void checker_free(struct checker *c) {
    if (!c)
        return;
    if (c->pid)
        child_done(c);
    loop_timer_del(c->limit);
    json_decref(c->last);
    free(c->program);
    free(c);
}
