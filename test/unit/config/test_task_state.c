/* SPDX-License-Identifier: MPL-2.0 */
/* The driver_state of a task, encoded and decoded. Also the form of the built-in driver. */
#include "unit/config/pack.h"

#include "paddock/task_state.h"

static int state_from(const char *text, struct task_state *ret, struct err *err) {
    struct buf b = pack(text);
    int r = task_state_decode(b.data, b.len, ret, err);
    buf_done(&b);
    return r;
}

static void test_roundtrip__all_fields(void **state) {
    struct kv ports[] = {{(char *)"http", (char *)"8080"}};
    struct task_state in = {.container_id = (char *)"c1",
                            .has_network = true,
                            .port_map = {.v = ports, .n = 1},
                            .ip = (char *)"10.0.0.2",
                            .auto_advertise = true,
                            .container_name = (char *)"web-1",
                            .image_id = (char *)"sha256:1",
                            .pid = 4711,
                            .logs = true,
                            .tty = true};
    (void)state;
    AUTO_BUF struct buf b;
    buf_init(&b, 0);
    assert_int_equal(task_state_encode(&in, &b, NULL), 0);
    AUTO_TASK_STATE struct task_state out = {0};
    assert_int_equal(task_state_decode(b.data, b.len, &out, NULL), 0);
    assert_true(out.ours && out.has_network && out.auto_advertise && out.logs && out.tty);
    assert_int_equal(out.pid, 4711);
    assert_string_equal(out.container_id, "c1");
    assert_string_equal(kvs_get(&out.port_map, "http"), "8080");
    assert_string_equal(out.ip, "10.0.0.2");
    assert_string_equal(out.container_name, "web-1");
    assert_string_equal(out.image_id, "sha256:1");
    assert_int_equal(out.logger_pid, 0);
    for (size_t n = 0; n < b.len; n++) {
        struct task_state cut;
        assert_int_equal(task_state_decode(b.data, n, &cut, NULL), -EINVAL);
    }
}

/* The keys are Go's field names, which the decoder of the built-in driver expects. */
static void test_encode__keys_of_the_built_in_driver(void **state) {
    struct task_state in = {.container_id = (char *)"c"};
    static const char expected[] = "\x84\xab"
                                   "ContainerID\xa1"
                                   "c\xad"
                                   "DriverNetwork\xc0"
                                   "\xae"
                                   "ReattachConfig\xc0\xa7"
                                   "Paddock";
    (void)state;
    AUTO_BUF struct buf b;
    buf_init(&b, 0);
    assert_int_equal(task_state_encode(&in, &b, NULL), 0);
    assert_true(b.len > sizeof(expected) - 1);
    assert_memory_equal(b.data, expected, sizeof(expected) - 1);
}

static void test_encode__bad_input__nothing_added(void **state) {
    struct kv ports[] = {{(char *)"http", (char *)"x"}};
    struct task_state in = {
        .container_id = (char *)"c", .has_network = true, .port_map = {.v = ports, .n = 1}};
    (void)state;
    AUTO_BUF struct buf b;
    buf_init(&b, 64);
    assert_int_equal(task_state_encode(&in, &b, NULL), -EINVAL);
    assert_int_equal(b.len, 0);
    in.has_network = false;
    assert_int_equal(task_state_encode(&in, &b, NULL), -EMSGSIZE);
    assert_int_equal(b.len, 0);
    in.container_id = NULL;
    assert_int_equal(task_state_encode(&in, &b, NULL), -EINVAL);
}

static void test_decode__built_in_drivers_state(void **state) {
    (void)state;
    AUTO_TASK_STATE struct task_state s = {0};
    assert_int_equal(
        state_from("{\"ReattachConfig\": {\"Protocol\": \"grpc\", \"Network\": \"unix\","
                   "\"Addr\": \"/tmp/plugin1\", \"Pid\": 4711}, \"ContainerID\": \"abc\","
                   "\"DriverNetwork\": {\"PortMap\": {\"db\": 6379}, \"IP\": \"172.17.0.2\","
                   "\"AutoAdvertise\": false}}",
                   &s, NULL),
        0);
    assert_false(s.ours);
    assert_int_equal(s.logger_pid, 4711);
    assert_true(s.has_network);
    assert_string_equal(kvs_get(&s.port_map, "db"), "6379");
    task_state_done(&s);
    assert_int_equal(state_from("{\"ReattachConfig\": null, \"ContainerID\": \"abc\", \"New\": [1],"
                                "\"DriverNetwork\": null}",
                                &s, NULL),
                     0);
    assert_false(s.has_network || s.ours || s.logger_pid);
    assert_string_equal(s.image_id, "");
}

/* The bytes that the built-in driver of v1.6.3 writes (base.MsgPackEncode of its struct). Ports are
 * signed numbers, and keys are sorted. */
static void test_decode__bytes_of_the_built_in_driver(void **state) {
    static const char bytes[] =
        "\x83\xab\x43\x6f\x6e\x74\x61\x69\x6e\x65\x72\x49\x44\xa3\x61\x62\x63\xad\x44\x72"
        "\x69\x76\x65\x72\x4e\x65\x74\x77\x6f\x72\x6b\x83\xad\x41\x75\x74\x6f\x41\x64\x76"
        "\x65\x72\x74\x69\x73\x65\xc3\xa2\x49\x50\xa8\x31\x30\x2e\x30\x2e\x30\x2e\x32\xa7"
        "\x50\x6f\x72\x74\x4d\x61\x70\x81\xa4\x68\x74\x74\x70\xd1\x1f\x90\xae\x52\x65\x61"
        "\x74\x74\x61\x63\x68\x43\x6f\x6e\x66\x69\x67\x84\xa4\x41\x64\x64\x72\xa6\x2f\x74"
        "\x6d\x70\x2f\x70\xa7\x4e\x65\x74\x77\x6f\x72\x6b\xa4\x75\x6e\x69\x78\xa3\x50\x69"
        "\x64\xd2\x00\x01\x11\x70\xa8\x50\x72\x6f\x74\x6f\x63\x6f\x6c\xa4\x67\x72\x70\x63";
    (void)state;
    AUTO_TASK_STATE struct task_state s = {0};
    assert_int_equal(task_state_decode(bytes, sizeof(bytes) - 1, &s, NULL), 0);
    assert_false(s.ours);
    assert_string_equal(s.container_id, "abc");
    assert_string_equal(kvs_get(&s.port_map, "http"), "8080");
    assert_string_equal(s.ip, "10.0.0.2");
    assert_true(s.auto_advertise);
    assert_int_equal(s.logger_pid, 70000);
}

static void test_decode__no_state__einval(void **state) {
    static const char *const rows[] = {"{}",
                                       "null",
                                       "[]",
                                       "{\"ContainerID\": 3}",
                                       "{\"ContainerID\": \"\"}",
                                       "{\"ContainerID\": \"a\", \"ReattachConfig\": 3}"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct task_state s;
        struct err err = {0};
        assert_int_equal(state_from(rows[i], &s, &err), -EINVAL);
        assert_int_equal(err.cls, ERR_INVALID);
    }
    AUTO_TASK_STATE struct task_state s = {0};
    assert_int_equal(
        state_from("{\"ContainerID\": \"a\", \"ReattachConfig\": {\"Pid\": -1}}", &s, NULL), 0);
    assert_int_equal(s.logger_pid, 0); /* kill(-1) would signal every process */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roundtrip__all_fields),
        cmocka_unit_test(test_encode__keys_of_the_built_in_driver),
        cmocka_unit_test(test_encode__bad_input__nothing_added),
        cmocka_unit_test(test_decode__built_in_drivers_state),
        cmocka_unit_test(test_decode__bytes_of_the_built_in_driver),
        cmocka_unit_test(test_decode__no_state__einval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
