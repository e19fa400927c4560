/* SPDX-License-Identifier: MPL-2.0 */
/* Nomad's message for a task is decoded into struct task_config. */
#include "plugin/task_decode.h"
#include "unit/cm.h"

#include <string.h>

static Driver__TaskConfig message(void) {
    Driver__TaskConfig m = DRIVER__TASK_CONFIG__INIT;
    m.id = (char *)"alloc/web/1";
    m.name = (char *)"web";
    m.alloc_dir = (char *)"/a/alloc";
    return m;
}

static void test_task_decode__all_absent__empty_values(void **state) {
    Driver__TaskConfig m = message();
    AUTO_TASK_CONFIG struct task_config c = {0};
    struct err err = {0};
    (void)state;
    assert_int_equal(task_decode(&m, &c, &err), 0);
    assert_string_equal(c.id, "alloc/web/1");
    assert_string_equal(c.user, "");
    assert_string_equal(c.resources.cpuset_cgroup, "");
    assert_false(c.resources.present);
    assert_false(c.network.present);
    assert_false(c.dns.present);
    assert_null(c.driver_config);
}

static void test_task_decode__required_missing__names_the_field(void **state) {
    AUTO_TASK_CONFIG struct task_config c = {0};
    struct err err = {0};
    (void)state;
    Driver__TaskConfig m = message();
    m.alloc_dir = (char *)"";
    assert_int_equal(task_decode(&m, &c, &err), -EINVAL);
    assert_non_null(strstr(err.text, "alloc_dir"));
    assert_int_equal(err.cls, ERR_INVALID);
    err_clear(&err);
    assert_int_equal(task_decode(NULL, &c, &err), -EINVAL);
}

static void test_task_decode__env_with_twins__sorted_and_last_wins(void **state) {
    Driver__TaskConfig__EnvEntry e[3];
    Driver__TaskConfig__EnvEntry *refs[3] = {&e[0], &e[1], &e[2]};
    static const char *const keys[] = {"B", "A", "B"}, *const values[] = {"1", "2", "3"};
    (void)state;
    for (int i = 0; i < 3; i++) {
        driver__task_config__env_entry__init(&e[i]);
        e[i].key = (char *)keys[i];
        e[i].value = (char *)values[i];
    }
    Driver__TaskConfig m = message();
    m.n_env = 3;
    m.env = refs;
    AUTO_TASK_CONFIG struct task_config c = {0};
    assert_int_equal(task_decode(&m, &c, NULL), 0);
    assert_int_equal(c.env.n, 2);
    assert_string_equal(c.env.v[0].key, "A");
    assert_string_equal(c.env.v[1].key, "B");
    assert_string_equal(c.env.v[1].value, "3");
}

static void test_task_decode__resources__copied(void **state) {
    Driver__PortMapping port = DRIVER__PORT_MAPPING__INIT, *ports[] = {&port};
    port.label = (char *)"http";
    port.value = 8080;
    port.to = 80;
    Driver__AllocatedMemoryResources memory = DRIVER__ALLOCATED_MEMORY_RESOURCES__INIT;
    memory.memory_mb = 64;
    memory.memory_max_mb = -1;
    Driver__AllocatedTaskResources allocated = DRIVER__ALLOCATED_TASK_RESOURCES__INIT;
    allocated.memory = &memory;
    Driver__LinuxResources linux_ = DRIVER__LINUX_RESOURCES__INIT;
    linux_.cpuset_cpus = (char *)"2,3";
    linux_.percent_ticks = 0.25;
    Driver__Resources res = DRIVER__RESOURCES__INIT;
    res.allocated_resources = &allocated;
    res.linux_resources = &linux_;
    res.n_ports = 1;
    res.ports = ports;
    Driver__TaskConfig m = message();
    m.resources = &res;
    (void)state;
    AUTO_TASK_CONFIG struct task_config c = {0};
    assert_int_equal(task_decode(&m, &c, NULL), 0);
    assert_true(c.resources.present && c.resources.nomad_present && c.resources.linux_present);
    assert_int_equal(c.resources.memory_mb, 64);
    assert_int_equal(c.resources.memory_max_mb, -1);
    assert_string_equal(c.resources.cpuset_cpus, "2,3");
    assert_int_equal(c.resources.n_ports, 1);
    assert_string_equal(c.resources.ports[0].label, "http");
    assert_int_equal(c.resources.ports[0].to, 80);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_task_decode__all_absent__empty_values),
        cmocka_unit_test(test_task_decode__required_missing__names_the_field),
        cmocka_unit_test(test_task_decode__env_with_twins__sorted_and_last_wins),
        cmocka_unit_test(test_task_decode__resources__copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
