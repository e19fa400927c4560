/* SPDX-License-Identifier: MPL-2.0 */
/* Starts a fake_dockerd for a test, stops it, and sends it control requests. Every fake test uses
 * these functions; fake_client.h has their contracts. */
#include "fake/fake_client.h"
#include "paddock/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define REPLY_MAX (4u << 20)

extern char **environ;

void fake_start_again(struct fake *f, const char *const *args) {
    const char *argv[16] = {FAKE_DOCKERD, f->socket};
    int n = 2, in[2], out[2];
    for (; args && *args && n < 15; args++)
        argv[n++] = *args;
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_t a;
    posix_spawn_file_actions_init(&a);
    posix_spawn_file_actions_adddup2(&a, in[0], 0);
    posix_spawn_file_actions_adddup2(&a, out[1], 1);
    assert_int_equal(posix_spawn(&f->pid, argv[0], &a, NULL, (char *const *)argv, environ), 0);
    posix_spawn_file_actions_destroy(&a);
    close(in[0]);
    close(out[1]);
    f->stdin_fd = in[1];
    char ready[6];
    assert_int_equal(read(out[0], ready, sizeof(ready)), sizeof(ready));
    close(out[0]);
}

void fake_start(struct fake *f, const char *const *args) {
    *f = (struct fake){.stdin_fd = -EBADF};
    snprintf(f->dir, sizeof(f->dir), "/tmp/paddock-fake-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->socket, sizeof(f->socket), "%s/docker.sock", f->dir);
    snprintf(f->endpoint, sizeof(f->endpoint), "unix://%s", f->socket);
    fake_start_again(f, args);
}

void fake_stop(struct fake *f) {
    int status;
    f->stdin_fd = fd_close(f->stdin_fd);
    assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
    assert_int_equal(status, 0);
    f->pid = 0;
}

void fake_done(struct fake *f) {
    if (f->pid)
        fake_stop(f);
    unlink(f->socket);
    rmdir(f->dir);
}

void fake_control(const struct fake *f, const char *method, const char *path, const char *body,
                  char *out, size_t size) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", f->socket);
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    AUTO_FREE char *text = NULL;
    int n = asprintf(&text, "%s /_fake/%s HTTP/1.1\r\nContent-Length: %zu\r\n\r\n%s", method, path,
                     strlen(body), body);
    assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
    shutdown(fd, SHUT_WR);
    AUTO_FREE char *reply = malloc(REPLY_MAX);
    assert_non_null(reply);
    size_t len = 0;
    for (ssize_t got; len < REPLY_MAX - 1; len += (size_t)got) {
        got = recv(fd, reply + len, REPLY_MAX - 1 - len, 0);
        if (got <= 0)
            break;
    }
    reply[len] = '\0';
    assert_non_null(strstr(reply, "HTTP/1.1 20"));
    if (out)
        snprintf(out, size, "%s", strstr(reply, "\r\n\r\n") + 4);
}

void fake_rules(const struct fake *f, const char *rules) {
    fake_control(f, "POST", "rules", rules, NULL, 0);
}

int fake_count(const struct fake *f, const char *request) {
    char text[60000];
    fake_control(f, "GET", "requests", "", text, sizeof(text));
    AUTO_JSON json_t *j = json_loads(text, 0, NULL);
    assert_non_null(j);
    return (int)json_integer_value(json_object_get(j, request));
}

json_t *fake_log(const struct fake *f, const char *request) {
    AUTO_FREE char *text = malloc(REPLY_MAX);
    assert_non_null(text);
    fake_control(f, "GET", "log", "", text, REPLY_MAX);
    AUTO_JSON json_t *all = json_loads(text, 0, NULL);
    assert_non_null(all);
    json_t *out = json_array(), *row;
    size_t i;
    json_array_foreach(all, i, row) {
        const char *what = json_string_value(json_object_get(row, "request"));
        if (request[0] == '\0' || strcmp(what, request) == 0)
            json_array_append(out, row);
    }
    return out;
}

struct docker *fake_docker(const struct fake *f) {
    struct docker_options o = {.endpoint = f->endpoint};
    struct docker *d = NULL;
    assert_int_equal(docker_new(&o, &d, NULL), 0);
    return d;
}

int fake_pair_setup(void **state) {
    struct fake_pair *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    fake_start(&x->fake, NULL);
    x->docker = fake_docker(&x->fake);
    *state = x;
    return 0;
}

int fake_pair_teardown(void **state) {
    struct fake_pair *x = *state;
    docker_free(x->docker);
    fake_done(&x->fake);
    free(x);
    return 0;
}

struct call fake_call(void) {
    return call_within(NULL, 20 * US_PER_SEC);
}
