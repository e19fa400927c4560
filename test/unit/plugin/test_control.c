/* SPDX-License-Identifier: MPL-2.0 */
/* The control socket and the metrics port, with requests as their clients send them. */
#include "plugin/cli_ask.h"
#include "plugin/control.h"
#include "unit/cm.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

static char dir[64];
static struct loop *loop;
static struct control *control;
static pthread_t thread;

static json_t *give_status(void *ctx) {
    (void)ctx;
    return json_pack("{s:s}", "hello", "status");
}

/* More text than a socket's buffer holds. */
static char *give_metrics(void *ctx) {
    char *text = malloc(4000001);
    (void)ctx;
    if (text) {
        memset(text, 'm', 4000000);
        text[4000000] = '\0';
    }
    return text;
}

static void *run(void *arg) {
    (void)arg;
    assert_int_equal(loop_run(loop), 0);
    return NULL;
}

static struct control_options options(void) {
    return (struct control_options){.dir = dir,
                                    .name = "docker",
                                    .listen = "127.0.0.1:0",
                                    .status = give_status,
                                    .metrics = give_metrics};
}

static int setup(void **state) {
    struct control_options o = options();
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/paddock-control-XXXXXX");
    if (!mkdtemp(dir) || loop_new(&loop) < 0 || control_new(loop, &o, &control) < 0)
        return -1;
    return pthread_create(&thread, NULL, run, NULL);
}

static int teardown(void **state) {
    (void)state;
    loop_stop(loop);
    pthread_join(thread, NULL);
    control_free(control);
    loop_free(loop);
    return rmdir(dir); /* fails when files are left in it */
}

static void test_control__status_and_metrics(void **state) {
    struct stat st;
    (void)state;
    assert_int_equal(stat(control_path(control), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    json_t *all = cli_ask(dir, NULL, "status", CLI_WAIT_US);
    assert_int_equal(json_array_size(all), 1);
    assert_string_equal(cli_ask_text(json_array_get(all, 0), "hello"), "status");
    json_decref(all);
    all = cli_ask(dir, control_path(control), "metrics", CLI_WAIT_US);
    assert_int_equal(strlen(cli_ask_text(json_array_get(all, 0), "metrics")), 4000000);
    json_decref(all);
}

static void test_control__two_plugins_and_a_killed_one(void **state) {
    struct control_options o = options();
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct loop *other;
    struct control *second;
    (void)state;
    snprintf(a.sun_path, sizeof(a.sun_path), "%s/control-docker-1.sock", dir);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(dead, (const struct sockaddr *)&a, sizeof(a)), 0);
    close(dead);
    o.listen = "";
    assert_int_equal(loop_new(&other), 0);
    assert_int_equal(control_new(other, &o, &second), 0);
    assert_int_not_equal(access(a.sun_path, F_OK), 0);
    assert_string_not_equal(control_path(second), control_path(control));
    control_free(second);
    loop_free(other);
}

static int dial(void) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", control_path(control));
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static void assert_answered(int fd) {
    char answer[256] = "";
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_true(recv(fd, answer, sizeof(answer) - 1, 0) > 0);
    assert_string_equal(answer, "{\"hello\":\"status\",\"metrics\":"
                                "{\"listen\":\"127.0.0.1:0\",\"error\":\"\"}}");
}

/* As many clients as it serves are connected and send nothing. The next client is served when one
 * of them disconnects. */
static void test_control__too_many_clients__wait_for_their_turn(void **state) {
    int silent[64];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(silent); i++)
        silent[i] = dial();
    AUTO_FD int last = dial();
    assert_int_equal(send(last, "status\n", 7, MSG_NOSIGNAL), 7);
    struct pollfd early = {.fd = last, .events = POLLIN};
    assert_int_equal(poll(&early, 1, 200), 0);
    close(silent[7]);
    assert_answered(last);
    for (size_t i = 0; i < ARRAY_LEN(silent); i++)
        if (i != 7)
            close(silent[i]);
}

static uint64_t cpu_us(void) {
    clockid_t id;
    struct timespec t;
    assert_int_equal(pthread_getcpuclockid(thread, &id), 0);
    assert_int_equal(clock_gettime(id, &t), 0);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Without a free descriptor the loop does not spin. The client is served later. */
static void test_control__no_fd_left__pauses_then_serves(void **state) {
    struct rlimit limit;
    (void)state;
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", control_path(control));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {.rlim_cur = (rlim_t)fd + 1, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int r = connect(fd, (const struct sockaddr *)&a, sizeof(a));
    ssize_t n = send(fd, "status\n", 7, MSG_NOSIGNAL);
    uint64_t before = cpu_us();
    struct pollfd early = {.fd = fd, .events = POLLIN};
    int replied = poll(&early, 1, 300); /* the test is that nothing happens */
    uint64_t used = cpu_us() - before;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(r, 0);
    assert_int_equal(n, 7);
    assert_int_equal(replied, 0);
    assert_true(used < 50000);
    assert_answered(fd);
}

static size_t http(const char *request, char *out, size_t size) {
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)control_port(control))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
    size_t total = 0;
    ssize_t n;
    char rest[65536];
    while ((n = recv(fd, rest, sizeof(rest), 0)) > 0) {
        for (ssize_t i = 0; i < n && total + (size_t)i + 1 < size; i++)
            out[total + (size_t)i] = rest[i];
        total += (size_t)n;
        out[total < size ? total : size - 1] = '\0';
    }
    return total;
}

static void assert_reply(const char *request, const char *part) {
    char out[2048] = "";
    http(request, out, sizeof(out));
    if (!strstr(out, part))
        fail_msg("\"%s\" is not in the reply to %s:\n%s", part, request, out);
}

static void test_http__metrics(void **state) {
    char out[1024];
    (void)state;
    assert_true(http("GET /metrics?x=1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n", out, sizeof(out)) >
                4000000);
    assert_non_null(strstr(out, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(out, "Content-Length: 4000000\r\n"));
    assert_true(http("HEAD /metrics HTTP/1.1\r\n\r\n", out, sizeof(out)) < 1000);
    assert_non_null(strstr(out, "Content-Length: 4000000\r\n"));
    assert_reply("GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text\r\n\r\n",
                 "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n");
}

static void test_http__page(void **state) {
    (void)state;
    assert_reply("GET / HTTP/1.1\r\nHost: 127.0.0.1:9103\r\n\r\n",
                 "Content-Security-Policy: default-src 'none'; style-src 'nonce-");
    assert_reply("GET / HTTP/1.1\r\n\r\n", "<!doctype html>");
}

static void test_http__invalid_requests__refused(void **state) {
    char *large = malloc(200001);
    (void)state;
    assert_reply("GET /x HTTP/1.1\r\n\r\n", " 404 Not Found\r\n");
    assert_reply("POST /metrics HTTP/1.1\r\n\r\n", " 405 Method Not Allowed\r\n");
    assert_reply("POST / HTTP/1.1\r\n\r\n", "\r\nAllow: GET, HEAD\r\n");
    assert_reply("GET / HTTP/1.1\r\nHost: evil.example:9103\r\n\r\n", " 403 Forbidden\r\n");
    assert_reply("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", " 403 Forbidden\r\n");
    assert_reply("hello\r\n\r\n", " 400 Bad Request\r\n");
    /* A head with 30 KB of cookies is read. A head of 65536 bytes is refused. */
    assert_non_null(large);
    snprintf(large, 200001, "GET /metrics HTTP/1.1\r\nCookie: %0*d\r\n\r\n", 30000, 0);
    assert_reply(large, " 200 OK\r\n");
    snprintf(large, 200001, "GET /metrics HTTP/1.1\r\nCookie: %0*d", 65536, 0);
    assert_reply(large, " 431 ");
    free(large);
}

static void test_control__bad_listen__einval(void **state) {
    static const char *const bad[] = {"x",      "127.0.0.1", "127.0.0.1:99999",
                                      "host:1", ":1",        "[::1:1"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct control_options o = options();
        struct loop *l;
        struct control *c;
        o.name = "other";
        o.listen = bad[i];
        assert_int_equal(loop_new(&l), 0);
        assert_int_equal(control_new(l, &o, &c), -EINVAL);
        loop_free(l);
    }
}

/* ---- Port or socket in use at the start ---- */

/* A second plugin of the name "other" with its own loop, while the fixture's runs. */
struct second {
    struct loop *loop;
    struct control *control;
    pthread_t thread;
};

static void *run_second(void *arg) {
    struct second *x = arg;
    assert_int_equal(loop_run(x->loop), 0);
    return NULL;
}

static void second_start(struct second *x, const char *name, const char *listen) {
    struct control_options o = options();
    o.name = name;
    o.listen = listen;
    assert_int_equal(loop_new(&x->loop), 0);
    assert_int_equal(control_new(x->loop, &o, &x->control), 0);
    assert_int_equal(pthread_create(&x->thread, NULL, run_second, x), 0);
}

static void second_end(struct second *x) {
    loop_stop(x->loop);
    pthread_join(x->thread, NULL);
    control_free(x->control);
    loop_free(x->loop);
}

/* Reads the error of the metrics port from the status on @path; "-" when no driver answers. */
static void metrics_error(const char *path, char *ret, size_t size) {
    json_auto_t *all = cli_ask(dir, path, "status", CLI_WAIT_US);
    const json_t *metrics = json_object_get(json_array_get(all, 0), "metrics");
    snprintf(ret, size, "%s", json_array_size(all) ? cli_ask_text(metrics, "error") : "-");
}

static void await_metrics_error(const char *path, const char *want) {
    struct timespec nap = {.tv_nsec = 10000000};
    char error[128];
    for (int i = 0; i < 2000; i++) {
        metrics_error(path, error, sizeof(error));
        if (strcmp(error, want) == 0)
            return;
        nanosleep(&nap, NULL);
    }
    fail_msg("the port's error is \"%s\", want \"%s\"", error, want);
}

static void test_control__port_in_use__status_served_and_port_opened_later(void **state) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    struct second x;
    char listen_on[64], error[128], path[128];
    (void)state;
    int holder = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(holder, (const struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(holder, 1), 0);
    assert_int_equal(getsockname(holder, (struct sockaddr *)&a, &len), 0);
    snprintf(listen_on, sizeof(listen_on), "127.0.0.1:%u", ntohs(a.sin_port));
    second_start(&x, "other", listen_on);
    snprintf(path, sizeof(path), "%s/control-other.sock", dir);
    metrics_error(path, error, sizeof(error));
    assert_string_equal(error, "Address already in use");
    close(holder);
    await_metrics_error(path, "");
    AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    second_end(&x);
}

/* Another plugin has called bind() and not yet listen(). Its socket refuses connections, but must
 * not be removed. */
static void test_control__other_plugin_opens_its_socket__not_removed(void **state) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct second x;
    char own[128];
    (void)state;
    int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(folder, LOCK_EX), 0);
    snprintf(a.sun_path, sizeof(a.sun_path), "%s/control-other.sock", dir);
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    second_start(&x, "other", "127.0.0.1:0");
    assert_int_equal(access(a.sun_path, F_OK), 0);
    assert_int_equal(listen(fd, 4), 0);
    close(folder);
    snprintf(own, sizeof(own), "%s/control-other-%d.sock", dir, (int)getpid());
    await_metrics_error(own, "");
    assert_int_equal(access(a.sun_path, F_OK), 0);
    second_end(&x);
    assert_int_equal(unlink(a.sun_path), 0);
}

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_control__status_and_metrics, setup, teardown),
        cmocka_unit_test_setup_teardown(test_control__two_plugins_and_a_killed_one, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_control__too_many_clients__wait_for_their_turn, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_control__no_fd_left__pauses_then_serves, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_http__metrics, setup, teardown),
        cmocka_unit_test_setup_teardown(test_http__page, setup, teardown),
        cmocka_unit_test_setup_teardown(test_http__invalid_requests__refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_control__bad_listen__einval, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_control__port_in_use__status_served_and_port_opened_later, setup, teardown),
        cmocka_unit_test_setup_teardown(test_control__other_plugin_opens_its_socket__not_removed,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
