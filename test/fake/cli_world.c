/* SPDX-License-Identifier: MPL-2.0 */
/* What the tests of the command line share (cli_world.h): a double of the plugin, in a thread, and
 * the program as a child process whose output the test reads. */
#include "fake/cli_world.h"

#include "paddock/cleanup.h"
#include "paddock/clock.h"
#include "unit/tmp_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_US (20 * US_PER_SEC)

extern char **environ;

const char cli_status_doc[] =
    "{\"driver\": {\"name\": \"docker\", \"version\": \"1.2\", \"pid\": 7},"
    " \"pin\": {\"host\": {\"cpus\": 4, \"disabled\": \"\"}, \"counters\": {},"
    " \"tasks\": [{\"alloc_id\": \"0123456789abcdef\", \"task\": \"web\", \"kind\": \"shared\","
    " \"wanted\": \"2-3\", \"actual\": \"0-3\", \"state\": \"pinned\", \"corrections\": 5,"
    " \"history\": []}]}}";

/* ---- The double of the plugin ---- */

char cli_dir[64], cli_socket[128];
static int listener;
static pthread_t peer_thread;
static atomic_bool peer_stop;
static _Atomic(const char *) peer_text; /* NULL = no answer */
atomic_size_t peer_cut;
atomic_bool peer_dribbles;
static pthread_mutex_t peer_lock = PTHREAD_MUTEX_INITIALIZER;
static char peer_asked[64]; /* under the lock */

static void play(int fd) {
    struct pollfd client = {.fd = fd, .events = POLLIN};
    const char *text = atomic_load(&peer_text);
    char asked[sizeof(peer_asked)] = "";
    if (recv(fd, asked, sizeof(asked) - 1, 0) < 0)
        return;
    pthread_mutex_lock(&peer_lock);
    memcpy(peer_asked, asked, sizeof(asked));
    pthread_mutex_unlock(&peer_lock);
    if (text && !atomic_load(&peer_dribbles)) {
        size_t len = strlen(text), cut = atomic_load(&peer_cut);
        (void)!send(fd, text, cut && cut < len ? cut : len, MSG_NOSIGNAL);
        return;
    }
    client.events = 0; /* its end alone */
    while (!atomic_load(&peer_stop) && poll(&client, 1, 20) == 0)
        if (atomic_load(&peer_dribbles) && send(fd, " ", 1, MSG_NOSIGNAL) != 1)
            return;
}

static void *peer(void *arg) {
    struct pollfd p = {.fd = listener, .events = POLLIN};
    (void)arg;
    while (!atomic_load(&peer_stop)) {
        if (poll(&p, 1, 20) <= 0)
            continue;
        AUTO_FD int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            play(fd);
    }
    return NULL;
}

void peer_assert_asked(const char *want) {
    pthread_mutex_lock(&peer_lock);
    assert_string_equal(peer_asked, want);
    pthread_mutex_unlock(&peer_lock);
}

bool peer_was_asked(void) {
    pthread_mutex_lock(&peer_lock);
    bool asked = peer_asked[0];
    pthread_mutex_unlock(&peer_lock);
    return asked;
}

void peer_says(const char *text) {
    atomic_store(&peer_cut, 0);
    atomic_store(&peer_dribbles, false);
    atomic_store(&peer_text, text);
}

int cli_world_setup(void **state) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)state;
    snprintf(cli_dir, sizeof(cli_dir), "/tmp/paddock-cli-XXXXXX");
    assert_non_null(mkdtemp(cli_dir));
    snprintf(cli_socket, sizeof(cli_socket), "%s/control-docker.sock", cli_dir);
    snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", cli_socket);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(listener, 8), 0);
    peer_says(cli_status_doc);
    peer_asked[0] = '\0';
    atomic_store(&peer_stop, false);
    return pthread_create(&peer_thread, NULL, peer, NULL);
}

int cli_world_teardown(void **state) {
    (void)state;
    atomic_store(&peer_stop, true);
    pthread_join(peer_thread, NULL);
    close(listener);
    return tmp_dir_remove(cli_dir);
}

/* ---- The program ---- */

void ran_start_on(struct ran *r, int out[2], const char *const *args) {
    const char *argv[12] = {"paddock"};
    int err[2], n = 1;
    for (; args && *args; args++)
        argv[n++] = *args;
    *r = (struct ran){.status = -1};
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    posix_spawn_file_actions_t a;
    posix_spawn_file_actions_init(&a);
    posix_spawn_file_actions_adddup2(&a, out[1], 1);
    posix_spawn_file_actions_adddup2(&a, err[1], 2);
    assert_int_equal(posix_spawn(&r->pid, PADDOCK_PROGRAM, &a, NULL, (char *const *)argv, environ),
                     0);
    posix_spawn_file_actions_destroy(&a);
    close(out[1]);
    close(err[1]);
    r->out_fd = out[0];
    r->err_fd = err[0];
}

void ran_start(struct ran *r, const char *const *args) {
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    ran_start_on(r, out, args);
}

void ran_start_on_terminal(struct ran *r, const char *const *args) {
    int out[2] = {posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), -1};
    assert_true(out[0] >= 0 && grantpt(out[0]) == 0 && unlockpt(out[0]) == 0);
    out[1] = open(ptsname(out[0]), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(out[1] >= 0);
    ran_start_on(r, out, args);
}

/* A terminal ends with EIO. */
void ran_read_some(struct ran *r) {
    struct pollfd p[2] = {{.fd = r->out_fd, .events = POLLIN}, {.fd = r->err_fd, .events = POLLIN}};
    poll(p, 2, 100);
    for (int i = 0; i < 2; i++) {
        char *to = i ? r->err : r->out;
        size_t have = strlen(to), size = i ? sizeof(r->err) : sizeof(r->out);
        ssize_t n = p[i].revents ? read(p[i].fd, to + have, size - 1 - have) : -1;
        bool ended = n == 0 || (n < 0 && p[i].revents && errno == EIO);
        if (ended && i)
            r->err_fd = fd_close(r->err_fd);
        else if (ended)
            r->out_fd = fd_close(r->out_fd);
    }
}

void ran_read_on(struct ran *r, const char *text) {
    uint64_t end = clock_now_us() + WAIT_US;
    while (!(text && (strstr(r->out, text) || strstr(r->err, text))) &&
           (r->out_fd >= 0 || r->err_fd >= 0)) {
        if (clock_now_us() > end)
            fail_msg("not in time: \"%s\", \"%s\"", r->out, r->err);
        ran_read_some(r);
    }
}

void ran_finish(struct ran *r) {
    int status;
    fd_close(r->out_fd);
    fd_close(r->err_fd);
    assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
    r->status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void ran_run(struct ran *r, const char *const *args) {
    ran_start(r, args);
    ran_read_on(r, NULL);
    ran_finish(r);
}

void assert_says(const char *text, const char *part) {
    if (!strstr(text, part))
        fail_msg("no \"%s\" in: %s", part, text);
}
