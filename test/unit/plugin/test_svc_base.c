/* SPDX-License-Identifier: MPL-2.0 */
/* The BasePlugin service with a real client. A fake driver records its calls. */
#include "plugin/handshake.h"
#include "plugin/rpc.h"
#include "plugin/svc_base.h"
#include "paddock/driver.h"
#include "unit/plugin/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base.pb-c.h"

#include <grpc/grpc.h>
#include <pthread.h>
#include <string.h>

#define BASE "/hashicorp.nomad.plugins.base.proto.BasePlugin/"

/* Arguments of the last call. */
struct recorded {
    unsigned calls;
    size_t len;
    uint8_t first;
    bool agent;
    uint64_t mhz;
    unsigned cores;
};

struct driver {
    pthread_mutex_t lock; /* a worker writes, the test's thread reads */
    struct recorded last;
    bool refuse;
};

int driver_set_config(struct driver *d, const void *msgpack, size_t len, bool agent,
                      uint64_t total_compute_mhz, unsigned cores, struct err *err) {
    pthread_mutex_lock(&d->lock);
    d->last = (struct recorded){.calls = d->last.calls + 1,
                                .len = len,
                                .first = len ? *(const uint8_t *)msgpack : 0,
                                .agent = agent,
                                .mhz = total_compute_mhz,
                                .cores = cores};
    bool refuse = d->refuse;
    pthread_mutex_unlock(&d->lock);
    return refuse ? err_set(err, ERR_INVALID, EINVAL, "gc.image_delay \"x\": no duration") : 0;
}

struct fixture {
    struct driver driver;
    struct svc_base base;
    struct rpc_service services[2];
    struct handshake_socket socket;
    struct rpc_server *server;
    pthread_t thread;
    struct client client;
};

static void *serve(void *arg) {
    struct fixture *f = arg;
    return rpc_server_run(f->server) == 0 ? NULL : arg;
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));
    if (!f)
        return -1;
    pthread_mutex_init(&f->driver.lock, NULL);
    f->base = (struct svc_base){.driver = &f->driver, .name = "docker"};
    f->services[0].methods = svc_base_table(&f->services[0].n_methods);
    f->services[0].app = &f->base;
    if (handshake_socket_make(NULL, NULL, &f->socket, NULL) < 0 ||
        rpc_server_new(f->socket.path, f->services, &f->server, NULL) < 0)
        return -1;
    pthread_create(&f->thread, NULL, serve, f);
    client_init(&f->client, f->socket.path);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    void *bad;
    client_done(&f->client);
    rpc_server_stop(f->server);
    pthread_join(f->thread, &bad);
    if (!bad)
        rpc_server_free(f->server);
    handshake_socket_remove(&f->socket);
    pthread_mutex_destroy(&f->driver.lock);
    free(f);
    return bad ? -1 : 0;
}

static void test_plugin_info(void **state) {
    struct fixture *f = *state;
    Base__PluginInfoRequest m = BASE__PLUGIN_INFO_REQUEST__INIT;
    struct client_call k;
    assert_int_equal(client_unary(&f->client, &k, BASE "PluginInfo", &m.base), GRPC_STATUS_OK);
    Base__PluginInfoResponse *out =
        (void *)client_decode(&k, &base__plugin_info_response__descriptor);
    assert_non_null(out);
    assert_int_equal(out->type, 2);
    assert_int_equal(out->n_plugin_api_versions, 1);
    assert_string_equal(out->plugin_api_versions[0], "v0.1.0");
    assert_string_equal(out->plugin_version, PADDOCK_VERSION);
    assert_string_equal(out->name, "docker");
    base__plugin_info_response__free_unpacked(out, NULL);
    client_call_done(&k);
}

static void test_config_schema__an_object(void **state) {
    struct fixture *f = *state;
    Base__ConfigSchemaRequest m = BASE__CONFIG_SCHEMA_REQUEST__INIT;
    struct client_call k;
    assert_int_equal(client_unary(&f->client, &k, BASE "ConfigSchema", &m.base), GRPC_STATUS_OK);
    Base__ConfigSchemaResponse *out =
        (void *)client_decode(&k, &base__config_schema_response__descriptor);
    assert_non_null(out);
    assert_non_null(out->spec);
    assert_int_equal(out->spec->block_case, HCLSPEC__SPEC__BLOCK_OBJECT);
    assert_true(out->spec->object->n_attributes > 10);
    base__config_schema_response__free_unpacked(out, NULL);
    client_call_done(&k);
}

static struct recorded last_call(struct fixture *f) {
    pthread_mutex_lock(&f->driver.lock);
    struct recorded t = f->driver.last;
    pthread_mutex_unlock(&f->driver.lock);
    return t;
}

static int set_config(struct fixture *f, Base__NomadConfig *nomad) {
    Base__SetConfigRequest m = BASE__SET_CONFIG_REQUEST__INIT;
    uint8_t bytes[] = {0x81, 0x00};
    m.msgpack_config.data = bytes;
    m.msgpack_config.len = sizeof(bytes);
    m.nomad_config = nomad;
    struct client_call k;
    int status = client_unary(&f->client, &k, BASE "SetConfig", &m.base);
    client_call_done(&k);
    return status;
}

static void test_set_config__no_agent(void **state) {
    struct fixture *f = *state;
    assert_int_equal(set_config(f, NULL), GRPC_STATUS_OK);
    assert_int_equal(last_call(f).calls, 1);
    assert_false(last_call(f).agent);
    assert_int_equal(last_call(f).len, 2);
    assert_int_equal(last_call(f).first, 0x81);
    assert_int_equal(last_call(f).mhz, 0);
}

/* The sum of the speeds of all cores. A core has its base speed; without one, the higher of its two
 * other speeds. An override replaces the sum. */
static void test_set_config__agent__topology(void **state) {
    struct fixture *f = *state;
    Base__ClientTopologyCore a = BASE__CLIENT_TOPOLOGY_CORE__INIT, b = a, c = a;
    a.base_speed = 1000;
    a.max_speed = 5000;
    b.max_speed = 3000;
    b.guess_speed = 2000;
    c.guess_speed = 1500;
    Base__ClientTopologyCore *cores[] = {&a, &b, &c};
    Base__ClientTopology topology = BASE__CLIENT_TOPOLOGY__INIT;
    topology.cores = cores;
    topology.n_cores = ARRAY_LEN(cores);
    Base__NomadDriverConfig driver = BASE__NOMAD_DRIVER_CONFIG__INIT;
    Base__NomadConfig nomad = BASE__NOMAD_CONFIG__INIT;
    nomad.driver = &driver;
    assert_int_equal(set_config(f, &nomad), GRPC_STATUS_OK); /* before Nomad 1.7 */
    assert_true(last_call(f).agent);
    assert_int_equal(last_call(f).mhz, 0);
    driver.topology = &topology;
    assert_int_equal(set_config(f, &nomad), GRPC_STATUS_OK);
    assert_true(last_call(f).agent);
    assert_int_equal(last_call(f).mhz, 5500);
    assert_int_equal(last_call(f).cores, 3);
    topology.override_total_compute = 99;
    assert_int_equal(set_config(f, &nomad), GRPC_STATUS_OK);
    assert_int_equal(last_call(f).mhz, 99);
}

static void test_set_config__bad_value__invalid(void **state) {
    struct fixture *f = *state;
    pthread_mutex_lock(&f->driver.lock);
    f->driver.refuse = true;
    pthread_mutex_unlock(&f->driver.lock);
    assert_int_equal(set_config(f, NULL), GRPC_STATUS_INVALID_ARGUMENT);
}

int main(int argc, char **argv) {
#define WITH(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH(test_plugin_info),
        WITH(test_config_schema__an_object),
        WITH(test_set_config__no_agent),
        WITH(test_set_config__agent__topology),
        WITH(test_set_config__bad_value__invalid),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    grpc_init();
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    grpc_shutdown();
    return r;
}
