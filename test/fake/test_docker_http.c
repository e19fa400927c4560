/* SPDX-License-Identifier: MPL-2.0 */
/* The client of a dockerd that refuses requests, sends wrong answers, is slow, or dies during
 * an answer. */
#include "fake/docker_world.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

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
        assert_int_equal(docker_world_inspect(x, &err), rows[i].r);
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
    assert_int_equal(docker_world_inspect(x, &err), -EIO);
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
        assert_int_equal(docker_world_inspect(x, &err), -EPROTO);
        assert_true(err.set);
    }
    assert_int_equal(docker_world_inspect(x, NULL), 0);
}

static void test_docker_http_do__cut_off_in_the_body__enotconn(void **state) {
    struct fixture *x = *state;
    for (int chunked = 0; chunked < 2; chunked++) {
        struct err err = {0};
        char rule[128];
        snprintf(rule, sizeof(rule), "GET /containers/*/json times=1 size=50000 cut=20000 %s",
                 chunked ? "chunked" : "");
        fake_rules(&x->fake, rule);
        assert_int_equal(docker_world_inspect(x, &err), -ENOTCONN);
        assert_non_null(strstr(err.text, "was lost"));
    }
}

static void test_docker_http_do__reply_beyond_its_limit__emsgsize(void **state) {
    struct fixture *x = *state;
    struct err err = {0};
    fake_rules(&x->fake, "GET /containers/*/json times=1 size=9000000 chunked");
    assert_int_equal(docker_world_inspect(x, &err), -EMSGSIZE);
    assert_non_null(strstr(err.text, "larger than 8388608 bytes"));
    /* A long error is cut, not refused. */
    err_clear(&err);
    fake_rules(&x->fake, "GET /containers/*/json times=1 status=500 size=9000000");
    assert_int_equal(docker_world_inspect(x, &err), -EIO);
}

static void test_docker_http_do__hangs__etimedout_at_the_deadline(void **state) {
    struct fixture *x = *state;
    struct err err = {0};
    struct docker_state s;
    assert_int_equal(docker_world_inspect(x, NULL), 0);
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
        assert_int_equal(docker_world_inspect(x, NULL), 0);
        fake_stop(&x->fake);
        fake_start_again(&x->fake, args);
        assert_int_equal(docker_container_stop(x->docker, &call, "task-1", 1, NULL), 0);
    }
}

static void test_docker_http_do__kept_connection_dies_under_a_post__sent_again(void **state) {
    struct fixture *x = *state;
    struct call call = call_within(NULL, 20 * SECOND);
    assert_int_equal(docker_world_inspect(x, NULL), 0);
    fake_rules(&x->fake, "POST /containers/*/stop times=1 drop");
    assert_int_equal(docker_container_stop(x->docker, &call, "task-1", 1, NULL), 0);
    assert_int_equal(fake_count(&x->fake, "POST /containers/task-1/stop"), 2);
}

static void test_docker_http_do__many_calls__one_connection(void **state) {
    struct fixture *x = *state;
    char before[128], after[128];
    assert_int_equal(docker_world_inspect(x, NULL), 0);
    fake_control(&x->fake, "GET", "connections", "", before, sizeof(before));
    for (int i = 0; i < 50; i++)
        assert_int_equal(docker_world_inspect(x, NULL), 0);
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
    assert_int_equal(docker_world_inspect(x, &err), -ENOTCONN);
    assert_non_null(strstr(err.text, "cannot connect to Docker at /tmp/"));
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
    assert_int_equal(docker_world_inspect(x, NULL), 0);
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
    assert_int_equal(docker_world_inspect(x, NULL), 0);
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
    assert_int_equal(docker_world_inspect(x, NULL), 0);
}

static void test_docker_http_end__replaced_by_another_version__asked_again(void **state) {
    struct fixture *x = *state;
    assert_int_equal(docker_world_inspect(x, NULL), 0);
    fake_rules(&x->fake, "GET " LATER " times=1 status=400 body={\"message\":\"client version 1.47 "
                         "is too new. Maximum supported API version is 1.41\"}");
    AUTO_JSON json_t *j = NULL;
    assert_int_equal(later(docker_http_begin(x->docker, "GET", LATER), 20 * SECOND, &j), 0);
    assert_non_null(json_object_get(j, "State"));
    assert_int_equal(fake_count(&x->fake, "GET /_ping"), 2);
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

static const struct CMUnitTest tests[] = {
    DOCKER_TEST(test_docker_http_do__each_status__its_errno_and_dockers_message),
    DOCKER_TEST(test_docker_http_do__error_that_is_not_json__status_and_first_part),
    DOCKER_TEST(test_docker_http_do__bodies_that_are_no_answer__eproto),
    DOCKER_TEST(test_docker_http_do__cut_off_in_the_body__enotconn),
    DOCKER_TEST(test_docker_http_do__reply_beyond_its_limit__emsgsize),
    DOCKER_TEST(test_docker_http_do__hangs__etimedout_at_the_deadline),
    DOCKER_TEST(test_docker_http_do__never_answers_the_first_ping__etimedout),
    DOCKER_TEST(test_docker_http_do__cancelled__returns_immediately),
    DOCKER_TEST(test_docker_http_do__stream_becomes_silent__idle_timeout),
    DOCKER_TEST(test_docker_http_do__on_data_refuses__its_error),
    DOCKER_TEST(test_docker_http_do__server_restarted__kept_connection_does_no_harm),
    DOCKER_TEST(test_docker_http_do__kept_connection_dies_under_a_post__sent_again),
    DOCKER_TEST(test_docker_http_do__many_calls__one_connection),
    DOCKER_TEST(test_docker_http_do__no_listener__enotconn),
    DOCKER_TEST(test_docker_http_begin__two_together__each_gets_its_answer),
    DOCKER_TEST(test_docker_http_end__fails_as_a_call_does),
    DOCKER_TEST(test_docker_http_end__replaced_by_another_version__asked_again),
    DOCKER_TEST(test_docker_http_do__content_type__of_each_body),
};
DOCKER_MAIN(tests)
