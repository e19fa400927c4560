/* SPDX-License-Identifier: MPL-2.0 */
/* The client of a dockerd that refuses requests, sends wrong answers, is slow, or dies during
 * an answer. */
#include "fake/fake_client.h"
#include "paddock/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define SECOND US_PER_SEC

struct fixture {
    struct fake fake;
    struct docker *docker;
};

static int setup(void **state) {
    struct fixture *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    static const char *const args[] = {"--containers", "3", NULL};
    fake_start(&x->fake, args);
    x->docker = fake_docker(&x->fake);
    *state = x;
    return 0;
}

static int teardown(void **state) {
    struct fixture *x = *state;
    docker_free(x->docker);
    fake_done(&x->fake);
    free(x);
    return 0;
}

static int inspect(struct fixture *x, struct err *err) {
    struct docker_state s;
    struct call call = call_within(NULL, 20 * SECOND);
    return docker_container_inspect(x->docker, &call, "task-1", &s, NULL, err);
}

static void test_docker_http_do__each_status__its_errno_and_dockers_message(void **state) {
    static const struct {
        int status, r;
        enum err_class cls;
    } rows[] = {
        {400, -EINVAL, ERR_INVALID},   {401, -EACCES, ERR_PLAIN}, {403, -EACCES, ERR_PLAIN},
        {404, -ENOENT, ERR_NOT_FOUND}, {409, -EEXIST, ERR_PLAIN}, {500, -EIO, ERR_PLAIN},
        {503, -EIO, ERR_PLAIN},        {418, -EPROTO, ERR_PLAIN}, {302, -EPROTO, ERR_PLAIN},
    };
    struct fixture *x = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char rule[200];
        snprintf(rule, sizeof(rule),
                 "GET /containers/*/json times=1 status=%d body={\"message\":\"row %zu\"}",
                 rows[i].status, i);
        fake_rules(&x->fake, rule);
        struct err err = {0};
        assert_int_equal(inspect(x, &err), rows[i].r);
        char want[32];
        snprintf(want, sizeof(want), "row %zu", i);
        assert_string_equal(err.text, want);
        assert_int_equal(err.cls, rows[i].cls);
    }
}

static void test_docker_http_do__error_that_is_not_json__status_and_first_part(void **state) {
    struct fixture *x = *state;
    struct err err = {0};
    fake_rules(&x->fake,
               "GET /containers/*/json status=502 type=text/html body=<h1>Bad gateway</h1>");
    assert_int_equal(inspect(x, &err), -EIO);
    assert_string_equal(err.text,
                        "Docker answered 502 to GET /containers/task-1/json: <h1>Bad gateway</h1>");
}

static void test_docker_http_do__bodies_that_are_no_answer__eproto(void **state) {
    static const char *const rules[] = {
        "GET /containers/*/json times=1 body={\"Id\":",
        "GET /containers/*/json times=1 body=[]",
        "GET /containers/*/json times=1 body={}",
        "GET /containers/*/json times=1 body={\"Id\":\"x\",\"State\":7}",
        "GET /containers/*/json times=1 type=text/plain body=hello",
        "GET /containers/*/json times=1 raw close body=SSH-2.0-OpenSSH\\r\\n\\r\\n",
    };
    struct fixture *x = *state;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        struct err err = {0};
        fake_rules(&x->fake, rules[i]);
        assert_int_equal(inspect(x, &err), -EPROTO);
        assert_true(err.set);
    }
    assert_int_equal(inspect(x, NULL), 0);
}

static void test_docker_http_do__cut_off_in_the_body__enotconn(void **state) {
    struct fixture *x = *state;
    for (int chunked = 0; chunked < 2; chunked++) {
        struct err err = {0};
        char rule[128];
        snprintf(rule, sizeof(rule), "GET /containers/*/json times=1 size=50000 cut=20000 %s",
                 chunked ? "chunked" : "");
        fake_rules(&x->fake, rule);
        assert_int_equal(inspect(x, &err), -ENOTCONN);
        assert_non_null(strstr(err.text, "was lost"));
    }
}

static void test_docker_http_do__reply_beyond_its_limit__emsgsize(void **state) {
    struct fixture *x = *state;
    struct err err = {0};
    fake_rules(&x->fake, "GET /containers/*/json times=1 size=9000000 chunked");
    assert_int_equal(inspect(x, &err), -EMSGSIZE);
    assert_non_null(strstr(err.text, "larger than 8388608 bytes"));
    /* A long error is cut, not refused. */
    err_clear(&err);
    fake_rules(&x->fake, "GET /containers/*/json times=1 status=500 size=9000000");
    assert_int_equal(inspect(x, &err), -EIO);
}

static void test_docker_http_do__hangs__etimedout_at_the_deadline(void **state) {
    struct fixture *x = *state;
    struct err err = {0};
    struct docker_state s;
    assert_int_equal(inspect(x, NULL), 0);
    fake_rules(&x->fake, "GET /containers/*/json hang");
    uint64_t before = clock_now_us();
    struct call call = call_within(NULL, 100 * US_PER_MS);
    assert_int_equal(docker_container_inspect(x->docker, &call, "task-1", &s, NULL, &err),
                     -ETIMEDOUT);
    assert_int_equal(err.cls, ERR_DEADLINE);
    uint64_t took = clock_now_us() - before;
    assert_true(took >= 100 * US_PER_MS && took < 5 * SECOND);
}

static void test_docker_http_do__never_answers_the_first_ping__etimedout(void **state) {
    struct fixture *x = *state;
    struct docker_state s;
    fake_rules(&x->fake, "GET /_ping hang");
    struct call call = call_within(NULL, 50 * US_PER_MS);
    assert_int_equal(docker_container_inspect(x->docker, &call, "task-1", &s, NULL, NULL),
                     -ETIMEDOUT);
}

struct firing {
    struct fixture *x;
    struct cancel cancel;
    uint64_t fired_us;
};

/* Cancels the call when the server has got the request. */
static void *fire_when_asked(void *arg) {
    struct firing *f = arg;
    while (fake_count(&f->x->fake, "GET /containers/task-1/json") == 0)
        ;
    f->fired_us = clock_now_us();
    cancel_fire(&f->cancel);
    return NULL;
}

static void test_docker_http_do__cancelled__returns_immediately(void **state) {
    struct fixture *x = *state;
    struct firing f = {.x = x};
    struct err err = {0};
    struct docker_state s;
    pthread_t thread;
    fake_rules(&x->fake, "GET /containers/*/json hang");
    assert_int_equal(cancel_init(&f.cancel), 0);
    struct call call = {.deadline_us = clock_now_us() + 60 * SECOND, .cancel = &f.cancel};
    assert_int_equal(pthread_create(&thread, NULL, fire_when_asked, &f), 0);
    assert_int_equal(docker_container_inspect(x->docker, &call, "task-1", &s, NULL, &err),
                     -ECANCELED);
    uint64_t now = clock_now_us();
    pthread_join(thread, NULL);
    /* far below the deadline, also on a busy machine */
    assert_true(now - f.fired_us < 2 * SECOND);
    /* A call that is already cancelled is not sent. */
    int asked = fake_count(&x->fake, "GET /containers/task-1/json");
    assert_int_equal(docker_container_inspect(x->docker, &call, "task-1", &s, NULL, NULL),
                     -ECANCELED);
    assert_int_equal(fake_count(&x->fake, "GET /containers/task-1/json"), asked);
    cancel_done(&f.cancel);
}

static int count_bytes(void *ctx, const char *data, size_t len) {
    (void)data;
    *(size_t *)ctx += len;
    return 0;
}

static void test_docker_http_do__stream_becomes_silent__idle_timeout(void **state) {
    struct fixture *x = *state;
    size_t got = 0;
    struct docker_request rq = {.method = "GET",
                                .path = "/events",
                                .on_data = count_bytes,
                                .ctx = &got,
                                .idle_timeout_us = 100 * US_PER_MS};
    assert_int_equal(docker_http_do(x->docker, NULL, &rq, NULL, NULL, NULL), -ETIMEDOUT);
}

static int refuse(void *ctx, const char *data, size_t len) {
    (void)ctx;
    (void)data;
    (void)len;
    return -ENOSPC;
}

static void test_docker_http_do__on_data_refuses__its_error(void **state) {
    struct fixture *x = *state;
    struct docker_request rq = {.method = "GET", .path = "/containers/json", .on_data = refuse};
    assert_int_equal(docker_http_do(x->docker, NULL, &rq, NULL, NULL, NULL), -ENOSPC);
}

static void test_docker_http_do__server_restarted__kept_connection_does_no_harm(void **state) {
    struct fixture *x = *state;
    static const char *const args[] = {"--containers", "3", NULL};
    struct call call = call_within(NULL, 20 * SECOND);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(inspect(x, NULL), 0);
        fake_stop(&x->fake);
        fake_start_again(&x->fake, args);
        assert_int_equal(docker_container_stop(x->docker, &call, "task-1", 1, NULL), 0);
    }
}

static void test_docker_http_do__kept_connection_dies_under_a_post__sent_again(void **state) {
    struct fixture *x = *state;
    struct call call = call_within(NULL, 20 * SECOND);
    assert_int_equal(inspect(x, NULL), 0);
    fake_rules(&x->fake, "POST /containers/*/stop times=1 drop");
    assert_int_equal(docker_container_stop(x->docker, &call, "task-1", 1, NULL), 0);
    assert_int_equal(fake_count(&x->fake, "POST /containers/task-1/stop"), 2);
}

static void test_docker_http_do__many_calls__one_connection(void **state) {
    struct fixture *x = *state;
    char before[128], after[128];
    assert_int_equal(inspect(x, NULL), 0);
    fake_control(&x->fake, "GET", "connections", "", before, sizeof(before));
    for (int i = 0; i < 50; i++)
        assert_int_equal(inspect(x, NULL), 0);
    fake_control(&x->fake, "GET", "connections", "", after, sizeof(after));
    int a, b;
    assert_int_equal(sscanf(strstr(before, "accepted"), "accepted\":%d", &a), 1);
    assert_int_equal(sscanf(strstr(after, "accepted"), "accepted\":%d", &b), 1);
    assert_int_equal(b, a + 1); /* this request itself */
}

static void test_docker_http_do__no_listener__enotconn(void **state) {
    struct fixture *x = *state;
    struct err err = {0};
    fake_stop(&x->fake);
    assert_int_equal(inspect(x, &err), -ENOTCONN);
    assert_non_null(strstr(err.text, "cannot connect to Docker at /tmp/"));
}

/* ---- Version ---- */

#define PATH_1 "/containers/task-1/json"

static void check_ping(struct fixture *x, const char *header, int want_r, const char *want_text) {
    struct err err = {0};
    char rule[128];
    struct docker *d = fake_docker(&x->fake);
    struct docker_version v;
    snprintf(rule, sizeof(rule), "GET /_ping times=1 status=200 header=%s type=text/plain body=OK",
             header);
    fake_rules(&x->fake, rule);
    assert_int_equal(docker_system_version(d, NULL, &v, &err), want_r);
    if (want_text)
        assert_non_null(strstr(err.text, want_text));
    docker_free(d);
}

static void test_docker_version__negotiation(void **state) {
    struct fixture *x = *state;
    check_ping(x, "Api-Version:1.41", 0, NULL);
    check_ping(x, "Api-Version:1.99", 0, NULL);
    check_ping(x, "Api-Version:1.40", -EPROTO, "1.40 is too old: at least 1.41");
    check_ping(x, "Api-Version:", -EPROTO, NULL);
    check_ping(x, "Api-Version:2.0", -EPROTO, "is not known here");
}

static void test_docker_version__replaced_by_another__asked_again(void **state) {
    struct fixture *x = *state;
    assert_int_equal(inspect(x, NULL), 0);
    assert_int_equal(fake_count(&x->fake, "GET /_ping"), 1);
    fake_rules(&x->fake,
               "GET /containers/*/json times=1 status=400 body={\"message\":\"client version 1.47 "
               "is too new. Maximum supported API version is 1.41\"}");
    assert_int_equal(inspect(x, NULL), 0);
    assert_int_equal(fake_count(&x->fake, "GET /_ping"), 2);
    /* a newer dockerd, which no longer supports the older version */
    fake_rules(&x->fake,
               "GET /containers/*/json times=1 status=400 body={\"message\":\"client version 1.41 "
               "is too old. Minimum supported API version is 1.44\"}");
    assert_int_equal(inspect(x, NULL), 0);
    assert_int_equal(fake_count(&x->fake, "GET /_ping"), 3);
    /* It answers this every time: an error, not an endless loop. */
    fake_rules(&x->fake,
               "GET /containers/*/json status=400 body={\"message\":\"client version 1.47 "
               "is too new. Maximum supported API version is 1.41\"}");
    assert_int_equal(inspect(x, NULL), -EINVAL);
}

static void check_asked_once(struct fixture *x) {
    struct err err = {0};
    int before = fake_count(&x->fake, "GET " PATH_1);
    assert_int_equal(inspect(x, &err), -EPROTO);
    assert_non_null(strstr(err.text, "paddock speaks Docker's API up to version 1."));
    assert_non_null(strstr(err.text, "Minimum supported API version is 1.99"));
    assert_int_equal(fake_count(&x->fake, "GET " PATH_1), before + 1);
}

/* Another version would be refused, too. No request is repeated. */
static void
test_docker_version__dockers_minimum_is_above_ours__reported_and_asked_once(void **state) {
    struct fixture *x = *state;
    fake_rules(&x->fake,
               "GET /_ping status=200 header=Api-Version:1.120 type=text/plain body=OK\n"
               "GET /containers/*/json status=400 body={\"message\":\"client version 1.56 is too "
               "old. Minimum supported API version is 1.99, please upgrade your client\"}");
    check_asked_once(x);
    check_asked_once(x);
    assert_int_equal(fake_count(&x->fake, "GET /_ping"), 1);
    /* also for an answer that is read later */
    struct err err = {0};
    struct call call = call_within(NULL, 20 * SECOND);
    struct docker_begun *b = docker_http_begin(x->docker, "GET", PATH_1);
    assert_non_null(b);
    assert_int_equal(docker_http_end(b, &call, NULL, &err), -EPROTO);
    assert_non_null(strstr(err.text, "paddock speaks Docker's API up to version 1."));
    assert_int_equal(fake_count(&x->fake, "GET /_ping"), 1);
}

/* ---- Answers that are read later ---- */

#define LATER "/containers/task-1/json"

static int later(struct docker_begun *b, uint64_t within_us, json_t **ret) {
    struct call call = call_within(NULL, within_us);
    assert_non_null(b);
    return docker_http_end(b, &call, ret, NULL);
}

static void test_docker_http_begin__two_together__each_gets_its_answer(void **state) {
    struct fixture *x = *state;
    assert_null(docker_http_begin(x->docker, "GET", LATER)); /* the version is not known yet */
    assert_int_equal(inspect(x, NULL), 0);
    /* The first request is answered after the second one, which is sent and answered in between. */
    fake_rules(&x->fake, "GET " LATER " times=1 delay=300\n");
    struct docker_begun *b = docker_http_begin(x->docker, "GET", LATER);
    struct docker_version v;
    assert_int_equal(docker_system_version(x->docker, &(struct call){0}, &v, NULL), 0);
    AUTO_JSON json_t *j = NULL;
    assert_int_equal(later(b, 20 * SECOND, &j), 0);
    assert_non_null(json_object_get(j, "State"));
}

static void test_docker_http_end__fails_as_a_call_does(void **state) {
    struct fixture *x = *state;
    assert_int_equal(inspect(x, NULL), 0);
    fake_rules(&x->fake, "GET " LATER " times=1 status=404\nGET " LATER " times=1 hang\n");
    assert_int_equal(later(docker_http_begin(x->docker, "GET", LATER), 20 * SECOND, NULL), -ENOENT);
    assert_int_equal(later(docker_http_begin(x->docker, "GET", LATER), 100000, NULL), -ETIMEDOUT);
    struct cancel cancel;
    assert_int_equal(cancel_init(&cancel), 0);
    cancel_fire(&cancel);
    struct call call = call_within(&(struct call){.cancel = &cancel}, 20 * SECOND);
    struct docker_begun *b = docker_http_begin(x->docker, "GET", LATER);
    assert_non_null(b);
    assert_int_equal(docker_http_end(b, &call, NULL, NULL), -ECANCELED);
    cancel_done(&cancel);
    docker_http_begun_free(docker_http_begin(x->docker, "GET", LATER));
    docker_http_begun_free(NULL);
    assert_int_equal(inspect(x, NULL), 0);
}

static void test_docker_http_end__replaced_by_another_version__asked_again(void **state) {
    struct fixture *x = *state;
    assert_int_equal(inspect(x, NULL), 0);
    fake_rules(&x->fake, "GET " LATER " times=1 status=400 body={\"message\":\"client version 1.47 "
                         "is too new. Maximum supported API version is 1.41\"}");
    AUTO_JSON json_t *j = NULL;
    assert_int_equal(later(docker_http_begin(x->docker, "GET", LATER), 20 * SECOND, &j), 0);
    assert_non_null(json_object_get(j, "State"));
    assert_int_equal(fake_count(&x->fake, "GET /_ping"), 2);
}

/* ---- Calls ---- */

static void test_docker_container__whole_life(void **state) {
    struct fixture *x = *state;
    struct call call = call_within(NULL, 20 * SECOND);
    struct docker *d = x->docker;
    AUTO_JSON json_t *body =
        json_pack("{s:s,s:[s],s:{s:s}}", "Image", "busybox", "Cmd", "run", "Labels", "k", "v");
    char id[65];
    struct docker_state s;
    assert_int_equal(docker_container_create(d, &call, "web/a b", body, id, NULL), 0);
    assert_int_equal(docker_container_create(d, &call, "web/a b", body, id, NULL), -EEXIST);
    assert_int_equal(docker_container_start(d, &call, id, NULL), 0);
    assert_int_equal(docker_container_start(d, &call, id, NULL), 0); /* 304 */
    assert_int_equal(docker_container_inspect(d, &call, id, &s, NULL, NULL), 0);
    assert_string_equal(s.name, "web/a b");
    assert_string_equal(s.id, id);
    assert_string_equal(s.log_driver, "json-file");
    assert_true(s.running && s.pid == 999999999 && s.started_ns > 0 && s.finished_ns == 0);
    AUTO_JSON json_t *filters = json_pack("{s:[s]}", "label", "k=v");
    AUTO_JSON json_t *list = NULL;
    assert_int_equal(docker_container_list(d, &call, false, filters, &list, &(size_t){0}, NULL), 0);
    assert_int_equal(json_array_size(list), 1);
    AUTO_JSON json_t *stats = NULL; /* with a number beyond int64 */
    assert_int_equal(docker_container_stats(d, &call, id, &stats, NULL), 0);
    assert_true(json_number_value(
                    json_object_get(json_object_get(stats, "memory_stats"), "usage")) == 4096);
    assert_int_equal(docker_container_kill(d, &call, id, "SIGKILL", NULL), 0);
    assert_int_equal(docker_container_kill(d, &call, id, "", NULL), -EEXIST);
    assert_int_equal(docker_container_stop(d, &call, id, 0, NULL), 0); /* 304 */
    assert_int_equal(docker_container_inspect(d, &call, id, &s, NULL, NULL), 0);
    assert_true(!s.running && s.exit_code == 137 && s.finished_ns >= s.started_ns);
    assert_int_equal(docker_container_remove(d, &call, id, true, NULL), 0);
    assert_int_equal(docker_container_inspect(d, &call, id, &s, NULL, NULL), -ENOENT);
}

static void test_docker_endpoint__table(void **state) {
    static const struct {
        const char *endpoint;
        int r;
    } rows[] = {
        {"unix:///run/docker.sock", 0},
        {"tcp://127.0.0.1:2375", 0},
        {"https://h:2376/", 0},
        {"http://[::1]:2375", 0},
        {"unix://run/x", -EINVAL},
        {"/run/docker.sock", -EINVAL},
        {"ssh://h", -EINVAL},
        {"tcp://", -EINVAL},
        {"tcp://h:1/base", -EINVAL},
        {"tcp://user@h:1", -EINVAL},
        {"npipe:////./pipe/x", -EINVAL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct docker_options o = {.endpoint = rows[i].endpoint};
        struct docker *d = NULL;
        struct err err = {0};
        assert_int_equal(docker_new(&o, &d, &err), rows[i].r);
        assert_int_equal(err.set ? err.cls : ERR_INVALID, ERR_INVALID);
        docker_free(d);
    }
}

/* ---- exec ---- */

static struct docker_stream *open_exec(struct fixture *x, const char *a, const char *b, bool tty,
                                       char id[65]) {
    struct call call = call_within(NULL, 20 * SECOND);
    const char *argv[] = {a, b, NULL};
    struct docker_exec_options o = {.argv = argv, .tty = tty, .stdin_open = true};
    struct docker_stream *s = NULL;
    assert_int_equal(docker_exec_create(x->docker, &call, "task-1", &o, id, NULL), 0);
    assert_int_equal(docker_exec_start(x->docker, &call, id, tty, &s, NULL), 0);
    return s;
}

static size_t read_to_end(struct docker_stream *s, char *out, size_t size) {
    size_t len = 0;
    uint64_t until = clock_now_us() + 20 * SECOND;
    for (;;) {
        ssize_t n = docker_stream_read(s, out + len, size - len);
        assert_true(clock_now_us() < until);
        if (n == 0)
            return len;
        assert_true(n > 0 || n == -EAGAIN);
        len += n > 0 ? (size_t)n : 0;
    }
}

static void test_docker_exec__output_and_code(void **state) {
    struct fixture *x = *state;
    char id[65], out[256];
    struct docker_stream *s = open_exec(x, "echo", "hello", false, id);
    assert_int_equal(read_to_end(s, out, sizeof(out)), 13);
    assert_memory_equal(out, "\1\0\0\0\0\0\0\5hello", 13);
    docker_stream_free(s);
    s = open_exec(x, "exit", "7", false, id);
    assert_int_equal(read_to_end(s, out, sizeof(out)), 0);
    docker_stream_free(s);
    struct docker_exec_state end;
    assert_int_equal(docker_exec_inspect(x->docker, NULL, id, &end, NULL), 0);
    assert_true(end.ended && !end.running);
    assert_int_equal(end.code, 7);
}

static void test_docker_exec__stdin_and_its_end(void **state) {
    struct fixture *x = *state;
    char id[65], out[256];
    struct docker_stream *s = open_exec(x, "cat", NULL, true, id);
    assert_int_equal(docker_stream_write(s, "ping", 4), 4);
    assert_int_equal(docker_stream_close_write(s), 0);
    assert_int_equal(read_to_end(s, out, sizeof(out)), 4);
    assert_memory_equal(out, "ping", 4);
    docker_stream_free(s);
}

static void test_docker_exec__refused__message_and_errno(void **state) {
    struct fixture *x = *state;
    struct err err = {0};
    struct docker_stream *s = NULL;
    struct call call = call_within(NULL, 20 * SECOND);
    assert_int_equal(docker_exec_start(x->docker, &call, "nope", false, &s, &err), -ENOENT);
    assert_string_equal(err.text, "No such exec instance: nope");
    assert_int_equal(inspect(x, NULL), 0); /* the version is known now */
    err_clear(&err);
    assert_int_equal(docker_exec_start(x->docker, &call, "nope", false, &s, &err), -ENOENT);
    assert_string_equal(err.text, "No such exec instance: nope");
    err_clear(&err);
    fake_rules(&x->fake, "POST /exec/*/start hang");
    call = call_within(NULL, 50 * US_PER_MS);
    assert_int_equal(docker_exec_start(x->docker, &call, "nope", false, &s, &err), -ETIMEDOUT);
    assert_null(s);
}

/* A server of Docker's API may refuse a body whose type is not JSON, and a type without a body. */
static void test_docker_http_do__content_type__of_each_body(void **state) {
    static const char *const requests[][2] = {
        {"POST /containers/create", "application/json"},   {"POST /containers/web/start", ""},
        {"POST /containers/web/exec", "application/json"}, {"GET /containers/web/json", ""},
        {"POST /exec/nope/start", "application/json"},     {"DELETE /containers/web", ""},
    };
    struct fixture *x = *state;
    struct call call = call_within(NULL, 20 * SECOND);
    AUTO_JSON json_t *body = json_pack("{s:s}", "Image", "app");
    char id[65];
    struct docker_state s;
    struct docker_stream *stream = NULL;
    assert_int_equal(docker_container_create(x->docker, &call, "web", body, id, NULL), 0);
    assert_int_equal(docker_container_start(x->docker, &call, "web", NULL), 0);
    static const char *const argv[] = {"cat", NULL};
    struct docker_exec_options exec = {.argv = argv};
    assert_int_equal(docker_exec_create(x->docker, &call, "web", &exec, id, NULL), 0);
    assert_int_equal(docker_exec_start(x->docker, &call, "nope", false, &stream, NULL), -ENOENT);
    assert_int_equal(docker_container_inspect(x->docker, &call, "web", &s, NULL, NULL), 0);
    assert_int_equal(docker_container_remove(x->docker, &call, "web", true, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        AUTO_JSON json_t *log = fake_log(&x->fake, requests[i][0]);
        const json_t *type = json_object_get(json_array_get(log, 0), "type");
        print_message("%s\n", requests[i][0]);
        assert_true(json_is_string(type));
        assert_string_equal(json_string_value(type), requests[i][1]);
    }
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        T(test_docker_http_do__each_status__its_errno_and_dockers_message),
        T(test_docker_http_do__error_that_is_not_json__status_and_first_part),
        T(test_docker_http_do__bodies_that_are_no_answer__eproto),
        T(test_docker_http_do__cut_off_in_the_body__enotconn),
        T(test_docker_http_do__reply_beyond_its_limit__emsgsize),
        T(test_docker_http_do__hangs__etimedout_at_the_deadline),
        T(test_docker_http_do__never_answers_the_first_ping__etimedout),
        T(test_docker_http_do__cancelled__returns_immediately),
        T(test_docker_http_do__stream_becomes_silent__idle_timeout),
        T(test_docker_http_do__on_data_refuses__its_error),
        T(test_docker_http_do__server_restarted__kept_connection_does_no_harm),
        T(test_docker_http_do__kept_connection_dies_under_a_post__sent_again),
        T(test_docker_http_do__many_calls__one_connection),
        T(test_docker_http_do__no_listener__enotconn),
        T(test_docker_version__negotiation),
        T(test_docker_version__replaced_by_another__asked_again),
        T(test_docker_version__dockers_minimum_is_above_ours__reported_and_asked_once),
        T(test_docker_http_begin__two_together__each_gets_its_answer),
        T(test_docker_http_end__fails_as_a_call_does),
        T(test_docker_http_end__replaced_by_another_version__asked_again),
        T(test_docker_container__whole_life),
        T(test_docker_exec__output_and_code),
        T(test_docker_exec__stdin_and_its_end),
        T(test_docker_exec__refused__message_and_errno),
        T(test_docker_http_do__content_type__of_each_body),
        cmocka_unit_test(test_docker_endpoint__table),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
