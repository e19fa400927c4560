/* SPDX-License-Identifier: MPL-2.0 */
/* The operation under which a request is counted, and the metrics after some requests. */
#include "src/docker/docker_count.h"
#include "unit/cm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void test_op(void **state) {
    static const struct {
        const char *method, *path;
        enum docker_op op;
    } rows[] = {
        {"POST", "/containers/create?name=web-1", DOCKER_OP_CREATE},
        {"POST", "/containers/abc/start", DOCKER_OP_START},
        {"POST", "/containers/abc/stop?t=5", DOCKER_OP_STOP},
        {"POST", "/containers/abc/kill?signal=TERM", DOCKER_OP_KILL},
        {"POST", "/containers/abc/update", DOCKER_OP_UPDATE},
        {"POST", "/containers/abc/exec", DOCKER_OP_EXEC},
        {"POST", "/exec/abc/start", DOCKER_OP_EXEC},
        {"GET", "/containers/abc/json", DOCKER_OP_INSPECT},
        {"GET", "/containers/json?all=1", DOCKER_OP_LIST},
        {"GET", "/containers/abc/stats?stream=0", DOCKER_OP_STATS},
        {"DELETE", "/containers/abc?force=1", DOCKER_OP_REMOVE},
        {"POST", "/images/create?fromImage=a", DOCKER_OP_PULL},
        {"GET", "/images/a/json", DOCKER_OP_IMAGE},
        {"DELETE", "/images/a", DOCKER_OP_IMAGE},
        {"GET", "/networks/x", DOCKER_OP_NETWORK},
        {"GET", "/info", DOCKER_OP_SYSTEM},
        {"GET", "/_ping", DOCKER_OP_SYSTEM},
        {"GET", "/volumes", DOCKER_OP_OTHER},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (docker_count_op(rows[i].method, rows[i].path) != rows[i].op)
            fail_msg("%s %s: %d", rows[i].method, rows[i].path,
                     (int)docker_count_op(rows[i].method, rows[i].path));
}

static void assert_has(const char *text, const char *line) {
    if (!strstr(text, line))
        fail_msg("\"%s\" is not in:\n%s", line, text);
}

static void test_put(void **state) {
    static struct docker_counts c;
    AUTO_BUF struct buf out;
    (void)state;
    buf_init(&out, 1u << 20);
    docker_count_end(&c, "POST", "/containers/a/start", 0, 204, 80000);
    docker_count_end(&c, "POST", "/containers/a/start", -EIO, 500, 400);
    docker_count_end(&c, "GET", "/info", -ENOTCONN, 0, 100);
    assert_int_equal(docker_count_put(&c, &out), 0);
    const char *text = buf_text(&out);
    assert_has(text, "\npaddock_docker_up 0\n");
    assert_has(text, "paddock_docker_requests_total{operation=\"start\",result=\"ok\"} 1\n");
    assert_has(text,
               "paddock_docker_requests_total{operation=\"start\",result=\"server_error\"} 1\n");
    assert_has(text,
               "paddock_docker_requests_total{operation=\"system\",result=\"unreachable\"} 1\n");
    assert_has(text, "_seconds_bucket{operation=\"start\",le=\"0.0005\"} 1\n");
    assert_has(text, "_seconds_bucket{operation=\"start\",le=\"0.1\"} 2\n");
    assert_has(text, "_seconds_bucket{operation=\"start\",le=\"+Inf\"} 2\n");
    assert_has(text, "_seconds_sum{operation=\"start\"} 0.080400\n");
    assert_has(text, "_seconds_count{operation=\"start\"} 2\n");
    assert_null(strstr(text, "operation=\"pull\""));
    /* A cancelled request does not show how dockerd works. An answer does, even a refusal. */
    docker_count_end(&c, "GET", "/info", -ECANCELED, 0, 100);
    assert_true(c.down);
    docker_count_end(&c, "GET", "/info", -ENOENT, 404, 100);
    assert_false(c.down);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_op),
        cmocka_unit_test(test_put),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
