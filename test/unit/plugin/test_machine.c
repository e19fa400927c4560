/* SPDX-License-Identifier: MPL-2.0 */
/* The machine's CPUs, read from trees that look like sysfs. */
#include "plugin/machine.h"
#include "unit/cm.h"
#include "unit/tmp_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[64];

static void put(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')); *at++ = '/') {
        *at = '\0';
        mkdir(path, 0755);
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int setup(void **state) {
    (void)state;
    snprintf(root, sizeof(root), "/tmp/paddock-machine-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return tmp_dir_remove(root);
}

static void assert_status(struct machine *m, const char *text) {
    json_t *got = machine_status(m), *want = json_loads(text, 0, NULL);
    assert_non_null(want);
    if (!json_equal(got, want)) {
        char *dump = json_dumps(got, 0);
        fail_msg("%s\nis not\n%s", dump, text);
    }
    json_decref(got);
    json_decref(want);
}

static void test_status__siblings_nodes_and_offline(void **state) {
    (void)state;
    put("devices/system/cpu/online", "0-2\n");
    put("devices/system/cpu/present", "0-3\n");
    put("devices/system/cpu/isolated", "\n");
    put("devices/system/cpu/cpu0/topology/thread_siblings_list", "0,2\n");
    put("devices/system/cpu/cpu1/topology/thread_siblings_list", "1,3\n");
    put("devices/system/cpu/cpu2/topology/thread_siblings_list", "0,2\n");
    put("devices/system/node/node0/cpulist", "0,2\n");
    put("devices/system/node/node7/cpulist", "1,3\n");
    struct machine *m = machine_new(root);
    assert_status(m, "{\"online\":\"0-2\",\"present\":\"0-3\",\"isolated\":\"\",\"cores\":[\"0,2\","
                     "\"1\"],\"nodes\":[{\"id\":0,\"cpus\":\"0,2\"},{\"id\":7,\"cpus\":\"1,3\"}]}");
    /* A CPU comes online and is counted. */
    put("devices/system/cpu/online", "0-3\n");
    assert_status(m,
                  "{\"online\":\"0-3\",\"present\":\"0-3\",\"isolated\":\"\",\"cores\":[\"0,2\","
                  "\"1,3\"],\"nodes\":[{\"id\":0,\"cpus\":\"0,2\"},{\"id\":7,\"cpus\":\"1,3\"}]}");
    machine_free(m);
}

static void test_status__nothing_to_read(void **state) {
    (void)state;
    struct machine *m = machine_new(root);
    assert_status(m,
                  "{\"online\":\"\",\"present\":\"\",\"isolated\":\"\",\"cores\":[],\"nodes\":[]}");
    machine_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_status__siblings_nodes_and_offline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_status__nothing_to_read, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
