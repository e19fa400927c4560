/* SPDX-License-Identifier: MPL-2.0 */
/* The client's calls against a dockerd without faults: the life of a container, the output and the
 * input of a command in it, and which endpoints are accepted. */
#include "fake/docker_world.h"

#include <string.h>

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
    assert_int_equal(docker_world_inspect(x, NULL), 0); /* the version is known now */
    err_clear(&err);
    assert_int_equal(docker_exec_start(x->docker, &call, "nope", false, &s, &err), -ENOENT);
    assert_string_equal(err.text, "No such exec instance: nope");
    err_clear(&err);
    fake_rules(&x->fake, "POST /exec/*/start hang");
    call = call_within(NULL, 50 * US_PER_MS);
    assert_int_equal(docker_exec_start(x->docker, &call, "nope", false, &s, &err), -ETIMEDOUT);
    assert_null(s);
}

static const struct CMUnitTest tests[] = {
    DOCKER_TEST(test_docker_container__whole_life),
    DOCKER_TEST(test_docker_exec__output_and_code),
    DOCKER_TEST(test_docker_exec__stdin_and_its_end),
    DOCKER_TEST(test_docker_exec__refused__message_and_errno),
    cmocka_unit_test(test_docker_endpoint__table),
};
DOCKER_MAIN(tests)
