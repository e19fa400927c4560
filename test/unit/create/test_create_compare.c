/* SPDX-License-Identifier: MPL-2.0 */
/* The running container is compared with the request: networks and ports, as Docker's inspect
 * shows them. */
#include "paddock/docker.h"
#include "paddock/create.h"
#include "unit/cm.h"

#include <stdio.h>
#include <string.h>

#define BRIDGE "\"bridge\":{\"EndpointID\":\"e1\",\"IPAddress\":\"172.17.0.2\"}"
#define PORT "\"PortBindings\":{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"}]}"
#define PORTS                                                                                      \
    "\"PortBindings\":{\"80/tcp\":[{\"HostPort\":\"8080\"}],\"81/tcp\":[{\"HostPort\":\"8081\"}]}"
#define HAS_80 "\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"8080\"}]"

struct row {
    const char *mode, *bindings; /* requested */
    const char *networks, *ports, *is_mode;
    int r;
    const char *words;
};

static const struct row rows[] = {
    {"default", "", BRIDGE, "", "bridge", 0, ""},
    {"default", PORT, BRIDGE, HAS_80, "default", 0, ""},
    {"default", PORT, "", "", "bridge", -ENETUNREACH, "port 8080"},
    {"default", "", "", "", "bridge", -ENETUNREACH, "network \"default\""},
    {"default", PORT, "\"bridge\":{\"EndpointID\":\"\"}", "", "bridge", -ENETUNREACH, "8080"},
    {"default", PORT, BRIDGE, "", "bridge", -EADDRNOTAVAIL, "port 8080 (container port 80/tcp)"},
    {"bridge", PORT, BRIDGE, "\"80/tcp\":null", "bridge", -EADDRNOTAVAIL, "8080"},
    {"bridge", PORTS, BRIDGE, HAS_80, "bridge", -EADDRNOTAVAIL, "8081"},
    {"bridge", PORT, BRIDGE, "\"80/tcp\":[{\"HostPort\":\"9\"}]", "bridge", -EADDRNOTAVAIL, "8080"},
    {"bridge", "\"PortBindings\":{\"80/tcp\":[{\"HostPort\":\"0\"}]}", BRIDGE, HAS_80, "bridge", 0,
     ""},
    /* a network whose driver publishes no ports; one whose driver publishes them */
    {"lan", PORT, "\"lan\":{\"EndpointID\":\"e1\"}", "", "lan", 0, ""},
    {"lan", PORT, "", "", "lan", -ENETUNREACH, "network \"lan\", which publishes port 8080"},
    {"lan", PORTS, "\"lan\":{\"EndpointID\":\"e1\"}", HAS_80, "lan", -EADDRNOTAVAIL, "8081"},
    /* no network of its own */
    {"host", PORT, "\"host\":{\"EndpointID\":\"e1\"}", "", "host", 0, ""},
    {"none", "", "", "", "none", 0, ""},
    {"container:c1", "", "", "", "container:c1", 0, ""},
};

static void test_compare__cases(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        char text[1024];
        struct err err = {0};
        snprintf(text, sizeof(text), "{\"HostConfig\":{\"NetworkMode\":\"%s\"%s%s}}", row->mode,
                 row->bindings[0] ? "," : "", row->bindings);
        AUTO_JSON json_t *request = json_loads(text, 0, NULL);
        snprintf(text, sizeof(text),
                 "{\"HostConfig\":{\"NetworkMode\":\"%s\"},"
                 "\"NetworkSettings\":{\"Networks\":{%s},\"Ports\":{%s}}}",
                 row->is_mode, row->networks, row->ports);
        AUTO_JSON json_t *inspect = json_loads(text, 0, NULL);
        assert_non_null(request);
        assert_non_null(inspect);
        int r = create_compare_ports(request, inspect, &err);
        if (r != row->r || !strstr(err.text, row->words) || (r < 0 && err.cls != ERR_RECOVERABLE))
            fail_msg("row %zu: %d \"%s\"", i, r, err.text);
    }
}

/* Docker's answer may lack any part. */
static void test_compare__no_settings__not_attached(void **state) {
    AUTO_JSON json_t *request = json_pack("{}"), *inspect = json_pack("{s:s}", "Id", "x");
    (void)state;
    assert_int_equal(create_compare_ports(request, inspect, NULL), -ENETUNREACH);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare__cases),
        cmocka_unit_test(test_compare__no_settings__not_attached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
