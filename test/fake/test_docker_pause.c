/* SPDX-License-Identifier: MPL-2.0 */
/* Pause containers: one is created, is found again later, and is removed. A failed creation
 * leaves nothing. */
#include "fake/fake_client.h"
#include "paddock/clock.h"
#include "paddock/create.h"
#include "paddock/docker_pause.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define CREATE "POST /containers/create"

static int create(struct fake_pair *x, const char *hostname, const char *owner,
                  struct docker_pause *ret, struct err *err) {
    struct call call = fake_call();
    return docker_pause_create(x->docker, &call, "alloc", hostname, "pause:3", owner, ret, err);
}

static int destroy(struct fake_pair *x, const char *id, struct docker_pause *ret, struct err *err) {
    struct call call = fake_call();
    return docker_pause_destroy(x->docker, &call, "alloc", id, ret, err);
}

static int inspect(struct fake_pair *x, const char *name, struct docker_state *ret) {
    struct call call = fake_call();
    return docker_container_inspect(x->docker, &call, name, ret, NULL, NULL);
}

static void expect_none(struct fake_pair *x) {
    struct docker_state s;
    assert_int_equal(inspect(x, "nomad_init_alloc", &s), -ENOENT);
}

static void test_docker_pause_create__bad_texts__named(void **state) {
    struct fake_pair *x = *state;
    static const struct {
        const char *hostname, *owner, *text;
    } rows[] = {
        {"a\xff", "o", "hostname of the network: the text is not UTF-8"},
        {"a", "node\xff/docker", "owner's label: the text is not UTF-8"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct docker_pause p;
        struct err err = {0};
        assert_int_equal(create(x, rows[i].hostname, rows[i].owner, &p, &err), -EINVAL);
        assert_non_null(strstr(err.text, rows[i].text));
    }
    assert_int_equal(fake_count(&x->fake, CREATE), 0);
}

static void test_docker_pause_create__request_to_docker(void **state) {
    struct fake_pair *x = *state;
    static const struct {
        const char *hostname, *owner, *body;
    } rows[] = {
        {"web-1", "node/docker",
         "{\"Image\":\"pause:3\",\"Hostname\":\"web-1\",\"Labels\":{\"com.hashicorp.nomad.alloc_"
         "id\":\"alloc\","
         "\"io.paddock.owner\":\"node/docker\"},\"HostConfig\":{\"NetworkMode\":\"none\","
         "\"RestartPolicy\":{\"Name\":\"unless-stopped\"}}}"},
        {NULL, "",
         "{\"Image\":\"pause:3\",\"Hostname\":\"\",\"Labels\":{\"com.hashicorp.nomad.alloc_id\":"
         "\"alloc\"},"
         "\"HostConfig\":{\"NetworkMode\":\"none\",\"RestartPolicy\":{\"Name\":\"unless-stopped\"}}"
         "}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct docker_pause p;
        assert_int_equal(create(x, rows[i].hostname, rows[i].owner, &p, NULL), 0);
        assert_true(p.created);
        assert_string_equal(p.sandbox, "/var/run/docker/netns/fake");
        assert_string_equal(p.image_id, "sha256:5ca1ab1e");
        struct docker_state s;
        assert_int_equal(inspect(x, "nomad_init_alloc", &s), 0);
        assert_string_equal(s.id, p.container_id);
        assert_true(s.running);
        AUTO_JSON json_t *log = fake_log(&x->fake, CREATE),
                         *want = json_loads(rows[i].body, 0, NULL);
        json_t *row = json_array_get(log, i);
        assert_string_equal(json_string_value(json_object_get(row, "query")),
                            "name=nomad_init_alloc");
        AUTO_JSON json_t *got =
            json_loads(json_string_value(json_object_get(row, "body")), 0, NULL);
        assert_non_null(want);
        assert_true(json_equal(got, want));
        struct docker_pause removed;
        assert_int_equal(destroy(x, p.container_id, &removed, NULL), 0);
    }
}

static void test_docker_pause_create__again_and_after_a_restart__the_same(void **state) {
    struct fake_pair *x = *state;
    struct docker_pause first, p;
    assert_int_equal(create(x, "h", "o", &first, NULL), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(create(x, "h", "o", &p, NULL), 0);
        assert_false(p.created);
        assert_string_equal(p.container_id, first.container_id);
        assert_string_equal(p.sandbox, first.sandbox);
        assert_string_equal(p.image_id, first.image_id);
        docker_free(x->docker);
        x->docker = fake_docker(&x->fake);
    }
    assert_int_equal(fake_count(&x->fake, CREATE), 3); /* two of them were refused */
}

/* The namespace ended with the process, so a new container is made. */
static void test_docker_pause_create__one_that_has_stopped__made_again(void **state) {
    struct fake_pair *x = *state;
    struct docker_pause first, p;
    char path[128];
    struct docker_state s;
    assert_int_equal(create(x, "h", "o", &first, NULL), 0);
    snprintf(path, sizeof(path), "exit/%s?code=0", first.container_id);
    fake_control(&x->fake, "POST", path, "", NULL, 0);
    assert_int_equal(create(x, "h", "o", &p, NULL), 0);
    assert_true(p.created);
    assert_string_not_equal(p.container_id, first.container_id);
    assert_int_equal(inspect(x, first.container_id, &s), -ENOENT);
}

/* The container with that name is removed before it can be inspected. */
static void test_docker_pause_create__conflict_with_a_removed_one__made(void **state) {
    struct fake_pair *x = *state;
    struct docker_pause p;
    struct err err = {0};
    fake_rules(&x->fake,
               "POST /containers/create times=1 status=409 body={\"message\":\"in use\"}");
    assert_int_equal(create(x, "h", "o", &p, &err), 0);
    assert_false(err.set);
    assert_true(p.created);
    assert_int_equal(fake_count(&x->fake, CREATE), 2);
}

/* dockerd has created the container, but its answer is lost. */
static void test_docker_pause_create__answer_lost__nothing_left(void **state) {
    struct fake_pair *x = *state;
    struct docker_pause p;
    char id[65];
    struct call call = fake_call();
    AUTO_JSON json_t *body = json_pack("{s:s}", "Image", "pause:3");
    assert_int_equal(docker_container_create(x->docker, &call, "nomad_init_alloc", body, id, NULL),
                     0);
    fake_rules(&x->fake, CREATE " hang");
    call = call_within(NULL, 50 * US_PER_MS);
    assert_int_equal(docker_pause_create(x->docker, &call, "alloc", "h", "pause:3", "o", &p, NULL),
                     -ETIMEDOUT);
    expect_none(x);
}

static void test_docker_pause_find__runs_or_not(void **state) {
    struct fake_pair *x = *state;
    struct docker_pause made, p = {.sandbox = "untouched"};
    struct err err = {0};
    struct call call = fake_call();
    char path[128];
    assert_int_equal(docker_pause_find(x->docker, &call, "alloc", &p, NULL), -ENOENT);
    assert_int_equal(create(x, "h", "o", &made, NULL), 0);
    assert_int_equal(docker_pause_find(x->docker, &call, "allo", &p, NULL), -ENOENT);
    snprintf(path, sizeof(path), "exit/%s?code=0", made.container_id);
    fake_control(&x->fake, "POST", path, "", NULL, 0);
    assert_int_equal(docker_pause_find(x->docker, &call, "alloc", &p, &err), -ENOENT);
    assert_non_null(strstr(err.text, "nomad_init_alloc does not run"));
    assert_string_equal(p.sandbox, "untouched");
    assert_int_equal(create(x, "h", "o", &made, NULL), 0);
    assert_int_equal(docker_pause_find(x->docker, &call, "alloc", &p, NULL), 0);
    assert_false(p.created);
    assert_string_equal(p.container_id, made.container_id);
    assert_string_equal(p.image_id, made.image_id);
    assert_string_equal(p.sandbox, made.sandbox);
}

static void test_docker_pause_create__fails__nothing_left(void **state) {
    static const struct {
        const char *rules;
        int r;
        const char *text;
    } rows[] = {
        {"POST /containers/create status=404 body={\"message\":\"No such image: pause:3\"}",
         -ENOENT, "No such image: pause:3"},
        {"POST /containers/create status=409 body={\"message\":\"Conflict: being removed\"}",
         -EEXIST, "Conflict"},
        {"POST /containers/create status=500 body={\"message\":\"no space\"}", -EIO, "no space"},
        {"POST /containers/*/start status=500 body={\"message\":\"no netns\"}", -EIO, "no netns"},
        {"POST /containers/*/start status=204", -ENOENT, "does not run"},
        {"POST /containers/*/start drop", -ENOTCONN, ""},
        {"GET /containers/nomad_init_alloc/json status=500 body={\"message\":\"busy\"}", -EIO,
         "busy"},
        {"GET /containers/nomad_init_alloc/json body={\"Id\":\"c0de\",\"State\":{\"Running\":true},"
         "\"NetworkSettings\":{\"SandboxKey\":\"\"}}",
         -EPROTO, "has no network namespace"},
    };
    struct fake_pair *x = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fake_control(&x->fake, "POST", "reset", "", NULL, 0);
        fake_rules(&x->fake, rows[i].rules);
        struct docker_pause p = {.sandbox = "untouched"};
        struct err err = {0};
        print_message("%s\n", rows[i].rules);
        assert_int_equal(create(x, "h", "o", &p, &err), rows[i].r);
        assert_true(err.set);
        assert_non_null(strstr(err.text, rows[i].text));
        assert_string_equal(p.sandbox, "untouched");
        fake_control(&x->fake, "POST", "reset", "", NULL, 0);
        expect_none(x);
    }
}

struct cancelled {
    struct fake_pair *x;
    struct cancel cancel;
    int r;
};

static void *create_cancelled(void *arg) {
    struct cancelled *c = arg;
    struct call call = {.deadline_us = clock_now_us() + 20 * US_PER_SEC, .cancel = &c->cancel};
    struct docker_pause p;
    c->r = docker_pause_create(c->x->docker, &call, "alloc", "h", "pause:3", "o", &p, NULL);
    return NULL;
}

/* A cancelled request cleans up, too. */
static void test_docker_pause_create__cancelled_at_start__nothing_left(void **state) {
    struct cancelled c = {.x = *state};
    pthread_t thread;
    assert_int_equal(cancel_init(&c.cancel), 0);
    fake_rules(&c.x->fake, "POST /containers/*/start hang");
    assert_int_equal(pthread_create(&thread, NULL, create_cancelled, &c), 0);
    struct call call = {.deadline_us = clock_now_us() + 20 * US_PER_SEC};
    for (bool begun = false; !begun;) {
        assert_int_equal(call_sleep(&call, 5 * US_PER_MS), 0);
        char text[4096];
        fake_control(&c.x->fake, "GET", "requests", "", text, sizeof(text));
        begun = strstr(text, "/start") != NULL;
    }
    cancel_fire(&c.cancel);
    pthread_join(thread, NULL);
    assert_int_equal(c.r, -ECANCELED);
    expect_none(c.x);
    cancel_done(&c.cancel);
}

static void test_docker_pause_destroy__by_id_or_name__removed(void **state) {
    struct fake_pair *x = *state;
    static const char *const stale =
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    for (int way = 0; way < 4; way++) {
        struct docker_pause p;
        struct err err = {0};
        struct docker_pause removed;
        assert_int_equal(create(x, "h", "o", &p, NULL), 0);
        if (way == 3) { /* it has stopped since */
            char path[128];
            snprintf(path, sizeof(path), "exit/%s?code=0", p.container_id);
            fake_control(&x->fake, "POST", path, "", NULL, 0);
        }
        const char *const ids[] = {p.container_id, "", stale, p.container_id};
        assert_int_equal(destroy(x, ids[way], &removed, &err), 0);
        assert_false(err.set);
        assert_string_equal(removed.image_id, "sha256:5ca1ab1e");
        assert_string_equal(removed.image, "pause:3");
        expect_none(x);
        /* Nomad may repeat the request. Nothing to remove is success. */
        assert_int_equal(destroy(x, ids[way], &removed, &err), 0);
        assert_string_equal(removed.image_id, "");
        assert_false(err.set);
    }
    struct docker_pause none;
    assert_int_equal(destroy(x, NULL, &none, NULL), 0);
}

static void test_docker_pause_destroy__docker_refuses(void **state) {
    static const struct {
        const char *rules;
        int r;
        bool left;
    } rows[] = {
        {"POST /containers/*/stop status=500 body={\"message\":\"busy\"}", 0,
         false}, /* the removal ends it */
        {"DELETE /containers/* status=500 body={\"message\":\"device busy\"}", -EIO, true},
        {"DELETE /containers/* status=409 body={\"message\":\"removal is already in progress\"}", 0,
         true},
        {"DELETE /containers/* status=404 body={\"message\":\"No such container\"}", 0, true},
        {"GET /containers/*/json status=500 body={\"message\":\"busy\"}", -EIO, true},
    };
    struct fake_pair *x = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct docker_pause p, removed;
        struct err err = {0};
        struct docker_state s;
        assert_int_equal(create(x, "h", "o", &p, NULL), 0);
        fake_rules(&x->fake, rows[i].rules);
        print_message("%s\n", rows[i].rules);
        assert_int_equal(destroy(x, p.container_id, &removed, &err), rows[i].r);
        assert_int_equal(err.set, rows[i].r < 0);
        fake_control(&x->fake, "POST", "reset", "", NULL, 0);
        assert_int_equal(inspect(x, p.container_id, &s), rows[i].left ? 0 : -ENOENT);
        assert_int_equal(destroy(x, p.container_id, &removed, NULL), 0);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, fake_pair_setup, fake_pair_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_docker_pause_create__bad_texts__named),
        T(test_docker_pause_create__request_to_docker),
        T(test_docker_pause_create__again_and_after_a_restart__the_same),
        T(test_docker_pause_create__one_that_has_stopped__made_again),
        T(test_docker_pause_create__conflict_with_a_removed_one__made),
        T(test_docker_pause_create__answer_lost__nothing_left),
        T(test_docker_pause_find__runs_or_not),
        T(test_docker_pause_create__fails__nothing_left),
        T(test_docker_pause_create__cancelled_at_start__nothing_left),
        T(test_docker_pause_destroy__by_id_or_name__removed),
        T(test_docker_pause_destroy__docker_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
