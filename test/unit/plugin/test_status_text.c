/* SPDX-License-Identifier: MPL-2.0 */
/* The map of cores and the details of a task, as `paddock status` prints them. */
#include "plugin/status_detail.h"
#include "plugin/status_map.h"
#include "unit/cm.h"

#include <stdlib.h>
#include <string.h>

static const char node[] =
    "{\"machine\":{\"online\":\"0-2,4-7\",\"present\":\"0-7\",\"isolated\":\"\","
    "\"cores\":[\"0,4\",\"1,5\",\"2,6\",\"7\"],\"nodes\":[{\"id\":0,\"cpus\":\"0-1,4-5\"},"
    "{\"id\":1,\"cpus\":\"2,6-7\"}]},"
    "\"tasks\":[{\"task_id\":\"i/web/1\",\"image_id\":\"sha256:abc\"}],"
    "\"pin\":{\"tasks\":["
    "{\"task_id\":\"i/web/1\",\"alloc_id\":\"3f7d2c1a-9b1e\",\"task\":\"web\",\"kind\":\"cores\","
    "\"container_id\":\"0123456789ab\",\"pid\":77,\"cgroup\":\"/docker/0123\",\"source\":\"/n\","
    "\"wanted\":\"4\",\"actual\":\"4\",\"effective\":\"4\",\"mems\":\"0\",\"state\":\"pinned\","
    "\"why\":\"\",\"unit\":\"synced\",\"changes_seen\":\"by events\",\"corrections\":2,"
    "\"by_cause\":{\"overwritten\":2,\"daemon-reload\":0},"
    "\"history\":[{\"time_ns\":1699999990123000000,\"cause\":\"overwritten\",\"old\":\"0-3\","
    "\"new\":\"4\",\"writer_pid\":9}]},"
    "{\"task_id\":\"i/job/1\",\"alloc_id\":\"8aaa\",\"task\":\"job\",\"kind\":\"shared\","
    "\"wanted\":\"0-1\",\"actual\":\"0-2\",\"state\":\"failed\",\"why\":\"No such file\","
    "\"corrections\":0,\"history\":[]}]},"
    "\"log_pump\":{\"tasks\":[{\"task\":\"i/web/1\",\"way\":\"file\",\"lag_bytes\":5,"
    "\"lag_seconds\":1.25,\"lines_skipped\":1,\"bytes_dropped\":0,\"gaps\":3}]}}";

static void assert_map(const char *json, size_t columns, const char *want) {
    AUTO_BUF struct buf out;
    json_t *doc = json_loads(json, 0, NULL);
    assert_non_null(doc);
    buf_init(&out, 1u << 20);
    assert_int_equal(status_map_put(&out, doc, columns), 0);
    assert_string_equal(buf_text(&out), want);
    json_decref(doc);
}

static void test_map(void **state) {
    (void)state;
    assert_map(node, 0,
               "node 0  .A .-\n"
               "node 1  !- -\n"
               "cores   x\n"
               "A web, . shared, - in no task's set, x offline, ! against the set\n");
    assert_map(node, 11,
               "node 0  .A\n"
               "        .-\n"
               "node 1  !-\n"
               "        -\n"
               "cores   x\n"
               "A web\n"
               ". shared, - in no task's set, x offline, ! against the set\n");
}

/* A Nomad agent of 1.6 lets tasks with cores of their own also run on the shared pool. */
static void test_map__core_of_several_tasks__shared(void **state) {
    (void)state;
    assert_map("{\"machine\":{\"online\":\"0-4\"},\"pin\":{\"tasks\":["
               "{\"task\":\"a\",\"kind\":\"cores\",\"wanted\":\"1,3-4\",\"actual\":\"1,3-4\"},"
               "{\"task\":\"b\",\"kind\":\"cores\",\"wanted\":\"2-3\",\"actual\":\"2-3\"},"
               "{\"task\":\"c\",\"kind\":\"shared\",\"wanted\":\"4\",\"actual\":\"4\"}]}}",
               0,
               "cores   - A B . .\n"
               "A a, B b, . shared, - in no task's set, x offline, ! against the set\n");
}

static void test_map__nothing_to_show(void **state) {
    (void)state;
    assert_map("{}", 80, "");
    assert_map("{\"machine\":{\"online\":\"0-1\"},\"pin\":{\"tasks\":[]}}", 80, "");
}

static void test_detail__all_of_a_task(void **state) {
    static const char *const names[] = {"web", "3f7d", "01234", "i/web/1"};
    (void)state;
    json_t *doc = json_loads(node, 0, NULL);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        AUTO_BUF struct buf out;
        json_t *found = status_detail_find(doc, names[i]);
        buf_init(&out, 1u << 20);
        assert_int_equal(json_array_size(found), 1);
        assert_int_equal(status_detail_put(&out, json_array_get(found, 0)), 0);
        assert_string_equal(
            buf_text(&out),
            "task         web\n"
            "alloc        3f7d2c1a-9b1e\n"
            "container    0123456789ab\n"
            "image        sha256:abc\n"
            "cgroup       /docker/0123\n"
            "source       /n\n"
            "kind         cores\n"
            "state        pinned\n"
            "wanted       4\n"
            "actual       4\n"
            "effective    4\n"
            "memory nodes 0\n"
            "systemd unit synced\n"
            "changes seen by events\n"
            "pid          77\n"
            "logs         read by file; 5 bytes and 1.2 s behind, 1 lines skipped, 0 bytes "
            "dropped, "
            "3 gaps\n"
            "corrections  2: overwritten 2\n"
            "  2023-11-14 22:13:10.123 UTC  overwritten: 0-3 -> 4, written by pid 9\n");
        json_decref(found);
    }
    json_decref(doc);
}

static void test_detail__no_such_task(void **state) {
    (void)state;
    json_t *doc = json_loads(node, 0, NULL), *found = status_detail_find(doc, "we");
    assert_int_equal(json_array_size(found), 0);
    json_decref(found);
    json_decref(doc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_map__core_of_several_tasks__shared),
        cmocka_unit_test(test_map__nothing_to_show),
        cmocka_unit_test(test_detail__all_of_a_task),
        cmocka_unit_test(test_detail__no_such_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
