/* SPDX-License-Identifier: MPL-2.0 */
/* The version of Docker's API that the client uses: agreed with the first ping, agreed again when
 * another dockerd answers, and refused when the two have no version in common. */
#include "fake/docker_world.h"

#include <stdio.h>
#include <string.h>

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
    assert_int_equal(docker_world_inspect(x, NULL), 0);
    assert_int_equal(fake_count(&x->fake, "GET /_ping"), 1);
    fake_rules(&x->fake,
               "GET /containers/*/json times=1 status=400 body={\"message\":\"client version 1.47 "
               "is too new. Maximum supported API version is 1.41\"}");
    assert_int_equal(docker_world_inspect(x, NULL), 0);
    assert_int_equal(fake_count(&x->fake, "GET /_ping"), 2);
    /* a newer dockerd, which no longer supports the older version */
    fake_rules(&x->fake,
               "GET /containers/*/json times=1 status=400 body={\"message\":\"client version 1.41 "
               "is too old. Minimum supported API version is 1.44\"}");
    assert_int_equal(docker_world_inspect(x, NULL), 0);
    assert_int_equal(fake_count(&x->fake, "GET /_ping"), 3);
    /* It answers this every time: an error, not an endless loop. */
    fake_rules(&x->fake,
               "GET /containers/*/json status=400 body={\"message\":\"client version 1.47 "
               "is too new. Maximum supported API version is 1.41\"}");
    assert_int_equal(docker_world_inspect(x, NULL), -EINVAL);
}

static void check_asked_once(struct fixture *x) {
    struct err err = {0};
    int before = fake_count(&x->fake, "GET " PATH_1);
    assert_int_equal(docker_world_inspect(x, &err), -EPROTO);
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

static const struct CMUnitTest tests[] = {
    DOCKER_TEST(test_docker_version__negotiation),
    DOCKER_TEST(test_docker_version__replaced_by_another__asked_again),
    DOCKER_TEST(test_docker_version__dockers_minimum_is_above_ours__reported_and_asked_once),
};
DOCKER_MAIN(tests)
