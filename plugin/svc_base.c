/* SPDX-License-Identifier: MPL-2.0 */
/* Nomad's base plugin service: PluginInfo, ConfigSchema, SetConfig.
 *
 * The agent calls all three on each start of the plugin. It also calls them on a plugin that it
 * starts only to inspect it. That SetConfig comes without nomad_config, and the driver then only
 * checks the values. */
#include "plugin/svc_base.h"

#include "paddock/config.h"
#include "paddock/driver.h"
#include "plugin/hclspec.h"

#include "base.pb-c.h"

#define BASE_SERVICE "/hashicorp.nomad.plugins.base.proto.BasePlugin/"

/* Nomad prefers the plugin with the higher version. The built-in driver reports 0.1.0, so
 * 0.2.0 replaces it. */
static void plugin_info(struct rpc_call *c, const ProtobufCMessage *req) {
    const struct svc_base *app = rpc_call_app(c);
    char *api[] = {(char *)"v0.1.0"};
    Base__PluginInfoResponse out = BASE__PLUGIN_INFO_RESPONSE__INIT;
    (void)req;
    out.type = BASE__PLUGIN_TYPE__DRIVER;
    out.plugin_api_versions = api;
    out.n_plugin_api_versions = ARRAY_LEN(api);
    out.plugin_version = (char *)PADDOCK_VERSION;
    out.name = (char *)app->name;
    rpc_call_reply(c, &out.base);
}

static void config_schema(struct rpc_call *c, const ProtobufCMessage *req) {
    Base__ConfigSchemaResponse out = BASE__CONFIG_SCHEMA_RESPONSE__INIT;
    (void)req;
    if (hclspec_build(config_plugin_table(), &out.spec) < 0) {
        struct err err = {.set = false};
        err_oom(&err);
        rpc_call_fail(c, &err);
        return;
    }
    rpc_call_reply(c, &out.base);
    hclspec_free(out.spec);
}

/* Returns the speed that the client uses for a core: the base speed when known,
 * else the estimate. */
static uint64_t core_mhz(const Base__ClientTopologyCore *core) {
    if (core->base_speed > 0)
        return core->base_speed;
    return core->max_speed > core->guess_speed ? core->max_speed : core->guess_speed;
}

static uint64_t total_mhz(const Base__ClientTopology *t) {
    if (t->override_total_compute > 0)
        return t->override_total_compute;
    uint64_t sum = 0;
    for (size_t i = 0; i < t->n_cores; i++)
        sum += core_mhz(t->cores[i]);
    return sum;
}

static void set_config(struct rpc_call *c, const ProtobufCMessage *req) {
    const struct svc_base *app = rpc_call_app(c);
    const Base__SetConfigRequest *in = (const void *)req;
    const Base__NomadConfig *nomad = in->nomad_config;
    const Base__ClientTopology *topology = nomad && nomad->driver ? nomad->driver->topology : NULL;
    struct err err = {.set = false};
    int r = driver_set_config(app->driver, in->msgpack_config.data, in->msgpack_config.len,
                              nomad != NULL, topology ? total_mhz(topology) : 0,
                              topology ? (unsigned)topology->n_cores : 0, &err);
    if (r < 0) {
        rpc_call_fail(c, &err);
        return;
    }
    Base__SetConfigResponse out = BASE__SET_CONFIG_RESPONSE__INIT;
    rpc_call_reply(c, &out.base);
}

static const struct rpc_method rows[] = {
    {BASE_SERVICE "PluginInfo", RPC_UNARY, RPC_INLINE, &base__plugin_info_request__descriptor,
     .unary = plugin_info},
    {BASE_SERVICE "ConfigSchema", RPC_UNARY, RPC_INLINE, &base__config_schema_request__descriptor,
     .unary = config_schema},
    {BASE_SERVICE "SetConfig", RPC_UNARY, RPC_INLINE, &base__set_config_request__descriptor,
     .unary = set_config},
};

const struct rpc_method *svc_base_table(size_t *ret_n) {
    *ret_n = ARRAY_LEN(rows);
    return rows;
}
