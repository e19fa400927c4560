/* SPDX-License-Identifier: MPL-2.0 */
/* What the driver sends Nomad about a Docker that is not healthy. Nomad writes a node event for
 * each new text. The same fault must therefore give the same bytes, however many probes there are.
 * The faults: no socket, a socket without a listener, a hang, a connection that is closed or reset,
 * a name that DNS does not know, TLS errors, and error texts of Docker that differ each time. */
#include "src/task/driver_priv.h"

#include "fake/fingerprint_world.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PROBES 12

/* ---- A server that is not Docker ---- */

enum manner { MANNER_CLOSE, MANNER_RESET, MANNER_TURNS, MANNER_GARBAGE };

struct server {
    int fd, stop[2];
    enum manner manner;
    unsigned served;
    pthread_t thread;
};

static void serve_one(struct server *s, int fd) {
    char request[4096];
    enum manner manner = s->manner;
    if (manner == MANNER_TURNS)
        manner = s->served % 2 ? MANNER_RESET : MANNER_CLOSE;
    s->served++;
    (void)recv(fd, request, 1, manner == MANNER_RESET ? MSG_PEEK : 0);
    if (manner == MANNER_CLOSE)
        while (recv(fd, request, sizeof(request), MSG_DONTWAIT) > 0)
            ;
    if (manner == MANNER_GARBAGE)
        (void)send(fd, "SSH-2.0-none\r\n", 14, MSG_NOSIGNAL);
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    if (manner == MANNER_RESET)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(fd);
}

static void *serve(void *arg) {
    struct server *s = arg;
    for (;;) {
        struct pollfd p[2] = {{.fd = s->fd, .events = POLLIN},
                              {.fd = s->stop[0], .events = POLLIN}};
        if (poll(p, 2, -1) < 0 || p[1].revents)
            return NULL;
        int fd = accept(s->fd, NULL, NULL);
        if (fd >= 0)
            serve_one(s, fd);
    }
}

/* Listens on a free port of loopback. */
static unsigned port_of(int fd) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    return ntohs(a.sin_port);
}

static unsigned server_start(struct server *s, enum manner manner) {
    *s = (struct server){.manner = manner, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    unsigned port = port_of(s->fd);
    assert_int_equal(listen(s->fd, 64), 0);
    assert_int_equal(pipe(s->stop), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    return port;
}

static void server_done(struct server *s) {
    close(s->stop[1]);
    pthread_join(s->thread, NULL);
    close(s->stop[0]);
    close(s->fd);
}

/* ---- Probes ---- */

static int setup(void **state) {
    fingerprint_world_setup(state, 10000);
    return 0;
}

static int setup_hasty(void **state) {
    fingerprint_world_setup(state, 300);
    return 0;
}

/* A new driver for @endpoint (NULL = the fake's). */
static void begin(struct fingerprint_world *x, const char *endpoint) {
    world_driver_free(&x->w);
    char keep[sizeof(x->w.fake.endpoint)];
    memcpy(keep, x->w.fake.endpoint, sizeof(keep));
    if (endpoint)
        snprintf(x->w.fake.endpoint, sizeof(x->w.fake.endpoint), "%s", endpoint);
    world_driver_new(&x->w, "{}");
    memcpy(x->w.fake.endpoint, keep, sizeof(keep));
    fingerprint_world_subscribe(x);
}

struct awaited {
    struct fingerprint_world *x;
    size_t n;
};

static bool have_come(void *ctx) {
    const struct awaited *a = ctx;
    return fingerprint_world_n(a->x) >= a->n;
}

/* Waits for @n results, each of a probe of its own. */
static void probe_until(struct fingerprint_world *x, size_t n) {
    for (size_t have = fingerprint_world_n(x); have < n; have = fingerprint_world_n(x)) {
        struct awaited next = {x, have + 1};
        fingerprint_docker_lost(x->w.d->fingerprint);
        world_until(have_come, &next, "the next result");
    }
}

static void check_all_alike(struct fingerprint_world *x, size_t from, const char *has) {
    size_t n = fingerprint_world_n(x);
    for (size_t i = from; i < n; i++) {
        if (!strstr(x->all[i].description, has))
            fail_msg("no \"%s\" in: %s", has, x->all[i].description);
        assert_int_equal(x->all[i].health, x->all[from].health);
        assert_string_equal(x->all[i].description, x->all[from].description);
        assert_int_equal(x->all[i].n_attrs, 0);
    }
}

static void check_endpoint(struct fingerprint_world *x, const char *endpoint, const char *has) {
    begin(x, endpoint);
    probe_until(x, PROBES);
    check_all_alike(x, 0, has);
}

/* ---- Tests ---- */

static void test_health_text__no_socket__one_text(void **state) {
    check_endpoint(*state, "unix:///tmp/paddock-no-such.sock",
                   "paddock-no-such.sock: No such file or directory");
}

static void test_health_text__socket_without_listener__one_text(void **state) {
    struct fingerprint_world *x = *state;
    fake_stop(&x->w.fake);
    unlink(x->w.fake.socket);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", x->w.fake.socket);
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    check_endpoint(x, NULL, "Connection refused");
    unlink(x->w.fake.socket);
    fake_start_again(&x->w.fake, NULL);
}

static void test_health_text__port_refuses__one_text(void **state) {
    AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char endpoint[64];
    snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", port_of(fd));
    check_endpoint(*state, endpoint, "Connection refused");
}

static void test_health_text__hangs_from_the_start__one_text(void **state) {
    struct fingerprint_world *x = *state;
    fake_rules(&x->w.fake, "GET * hang\n");
    check_endpoint(x, NULL, "in time");
}

static void test_health_text__healthy_then_hangs__one_text(void **state) {
    struct fingerprint_world *x = *state;
    begin(x, NULL);
    probe_until(x, 1);
    assert_int_equal(x->all[0].health, DRIVER_HEALTHY);
    fake_rules(&x->w.fake, "GET * hang\n");
    probe_until(x, PROBES);
    size_t sick = 0;
    while (sick < x->n && x->all[sick].health == DRIVER_HEALTHY)
        sick++;
    assert_true(x->n - sick > PROBES / 2);
    check_all_alike(x, sick, "in time");
}

static void check_server(struct fingerprint_world *x, enum manner manner, const char *scheme,
                         const char *has) {
    struct server s;
    char endpoint[64];
    snprintf(endpoint, sizeof(endpoint), "%s://127.0.0.1:%u", scheme, server_start(&s, manner));
    check_endpoint(x, endpoint, has);
    fan_unsubscribe(TAKE_PTR(x->sub));
    world_driver_free(&x->w);
    server_done(&s);
}

static void test_health_text__closes_each_connection__one_text(void **state) {
    check_server(*state, MANNER_CLOSE, "tcp", "was lost");
}

static void test_health_text__resets_each_connection__one_text(void **state) {
    check_server(*state, MANNER_RESET, "tcp", "was lost");
}

static void test_health_text__closes_and_resets_by_turns__one_text(void **state) {
    check_server(*state, MANNER_TURNS, "tcp", "was lost");
}

static void test_health_text__is_no_http__one_text(void **state) {
    check_server(*state, MANNER_GARBAGE, "tcp", "gave no valid answer");
}

static void test_health_text__is_no_tls__one_text(void **state) {
    check_server(*state, MANNER_GARBAGE, "https", "cannot connect to Docker at https://127.0.0.1");
}

static void test_health_text__tls_reset_by_turns__one_text(void **state) {
    check_server(*state, MANNER_TURNS, "https", "cannot connect to Docker at https://127.0.0.1");
}

/* ".invalid" never exists (RFC 6761). The reason may also be a resolver that does not answer in
 * time, but there must be only one. */
static void test_health_text__unknown_host__one_text(void **state) {
    check_endpoint(*state, "tcp://docker.invalid:2375", "ocker");
}

/* Docker's text differs each time, with and without numbers. */
static void test_health_text__words_differ__the_first_stays(void **state) {
    struct fingerprint_world *x = *state;
    AUTO_BUF struct buf rules;
    buf_init(&rules, 0);
    for (int i = 0; i < 4 * PROBES; i++)
        assert_int_equal(buf_printf(&rules,
                                    "GET /version times=1 status=500 type=application/json "
                                    "body={\"message\":\"request %c%d has failed\"}\n",
                                    'a' + i % 26, i * 7),
                         0);
    world_driver_free(&x->w); /* its probes would use up the first answers */
    fake_rules(&x->w.fake, rules.data);
    check_endpoint(x, NULL, "request a0 has failed");
}

/* A fault that changes into another one is reported after two probes. */
static void test_health_text__other_fault__shown(void **state) {
    struct fingerprint_world *x = *state;
    fake_rules(&x->w.fake, "GET /version status=500 body=no disk\n");
    begin(x, NULL);
    probe_until(x, 3);
    check_all_alike(x, 0, "no disk");
    fake_rules(&x->w.fake, "GET /version status=500 body=no memory\n");
    probe_until(x, 6);
    assert_non_null(strstr(x->all[x->n - 1].description, "no memory"));
}

static bool has_attr(const struct driver_fingerprint *f, const char *key) {
    for (size_t i = 0; i < f->n_attrs; i++)
        if (strcmp(f->attrs[i].key, key) == 0)
            return true;
    return false;
}

/* One failed request removes no attribute. That would cause two updates of the node. */
static void test_health_text__info_fails_at_times__attributes_stay(void **state) {
    struct fingerprint_world *x = *state;
    begin(x, NULL);
    probe_until(x, 1);
    fake_rules(&x->w.fake, "GET /info times=2 status=500 body=busy\n"
                           "GET /networks/bridge times=2 status=500 body=busy\n");
    probe_until(x, 4);
    for (size_t i = 0; i < x->n; i++) {
        assert_int_equal(x->all[i].health, DRIVER_HEALTHY);
        assert_true(has_attr(&x->all[i], "driver.docker.runtimes"));
        assert_true(has_attr(&x->all[i], "driver.docker.os_type"));
        assert_true(has_attr(&x->all[i], "driver.docker.bridge_ip"));
    }
    fake_rules(&x->w.fake, "GET /networks/bridge status=404 body={\"message\":\"none\"}\n");
    probe_until(x, 6);
    assert_false(has_attr(&x->all[x->n - 1], "driver.docker.bridge_ip"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, fingerprint_world_teardown)
#define HASTY(name) cmocka_unit_test_setup_teardown(name, setup_hasty, fingerprint_world_teardown)

static const struct CMUnitTest tests[] = {
    CASE(test_health_text__no_socket__one_text),
    CASE(test_health_text__socket_without_listener__one_text),
    CASE(test_health_text__port_refuses__one_text),
    HASTY(test_health_text__hangs_from_the_start__one_text),
    HASTY(test_health_text__healthy_then_hangs__one_text),
    CASE(test_health_text__closes_each_connection__one_text),
    CASE(test_health_text__resets_each_connection__one_text),
    CASE(test_health_text__closes_and_resets_by_turns__one_text),
    CASE(test_health_text__is_no_http__one_text),
    CASE(test_health_text__is_no_tls__one_text),
    CASE(test_health_text__tls_reset_by_turns__one_text),
    CASE(test_health_text__unknown_host__one_text),
    CASE(test_health_text__words_differ__the_first_stays),
    CASE(test_health_text__other_fault__shown),
    CASE(test_health_text__info_fails_at_times__attributes_stay),
};
WORLD_MAIN(tests)
