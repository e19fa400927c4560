/* SPDX-License-Identifier: MPL-2.0 */
/* The services of go-plugin itself: health check, shutdown, stdio, broker.
 *
 * The host's library calls them, not Nomad's code. Stdio and broker have no content here, because
 * the driver logs to its stderr and opens no further connections. Their streams are held open,
 * because the host logs an error when they end. */
#include "plugin/svc_go_plugin.h"

#include "google/empty.pb-c.h"
#include "goplugin.pb-c.h"
#include "health.pb-c.h"

#include <string.h>

static void health_check(struct rpc_call *c, const ProtobufCMessage *req) {
    const Health__HealthCheckRequest *in = (const void *)req;
    if (in->service[0] && strcmp(in->service, "plugin") != 0) {
        struct err err = {.set = false};
        err_set(&err, ERR_NOT_FOUND, ENOENT, "unknown service \"%s\"", in->service);
        rpc_call_fail(c, &err);
        return;
    }
    Health__HealthCheckResponse out = HEALTH__HEALTH_CHECK_RESPONSE__INIT;
    out.status = HEALTH__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    rpc_call_reply(c, &out.base);
}

/* The host waits for this answer without a deadline, then 2 s for our end. No
 * container is touched. */
static void controller_shutdown(struct rpc_call *c, const ProtobufCMessage *req) {
    (void)req;
    Goplugin__Empty out = GOPLUGIN__EMPTY__INIT;
    rpc_call_stop_after(c);
    rpc_call_reply(c, &out.base);
}

static const struct rpc_method rows[] = {
    {"/grpc.health.v1.Health/Check", RPC_UNARY, RPC_INLINE,
     &health__health_check_request__descriptor, .unary = health_check},
    {"/plugin.GRPCController/Shutdown", RPC_UNARY, RPC_INLINE, &goplugin__empty__descriptor,
     .unary = controller_shutdown},
    /* The host opens them immediately. Nothing is ever sent on them. If they ended, the
     * host would log a line. */
    {"/plugin.GRPCStdio/StreamStdio", RPC_STREAM, RPC_INLINE, &google__protobuf__empty__descriptor,
     .stream = NULL},
    {"/plugin.GRPCBroker/StartStream", RPC_BIDI, RPC_INLINE, &goplugin__conn_info__descriptor,
     .stream = NULL},
};

const struct rpc_method *svc_go_plugin_table(size_t *ret_n) {
    *ret_n = ARRAY_LEN(rows);
    return rows;
}
