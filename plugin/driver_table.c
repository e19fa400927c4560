/* SPDX-License-Identifier: MPL-2.0 */
/* The Driver service's methods: their messages, their handlers, and where each handler runs.
 * serve.c gives the table to the gRPC server.
 *
 * RPC_INLINE is for every method whose handler asks Docker for nothing, or does not wait for
 * Docker's answer (StopTask). No other call can delay it, however many wait for Docker. */
#include "plugin/driver_table.h"
#include "plugin/svc.h"

#include "paddock/driver.h"

#include "driver.pb-c.h"

#define UNARY(name, lane, req, fn, ...)                                                            \
    {                                                                                              \
        DRIVER_SERVICE name, RPC_UNARY, lane, &driver__##req##_request__descriptor, .unary = fn,   \
                                                                                    __VA_ARGS__    \
    }
#define STREAM(name, kind, lane, req, fn, ...)                                                     \
    {                                                                                              \
        DRIVER_SERVICE name, kind, lane, &driver__##req##_request__descriptor, .stream = fn,       \
                                                                               __VA_ARGS__         \
    }
/* The first of these calls makes this process the one that runs tasks. An agent also starts plugins
 * only to ask for their schema, so the start alone does not. */
#define ACTIVATES .ready = activate_driver

static int activate_driver(void *app, struct err *err) {
    return driver_activate(app, err);
}

/* Fingerprint and TaskEvents never end: Nomad would open them again
 * immediately, without a pause. */
static const struct rpc_method rows[] = {
    UNARY("Init", RPC_INLINE, init, svc_driver_init),
    UNARY("Shutdown", RPC_INLINE, shutdown, svc_driver_shutdown),
    UNARY("TaskConfigSchema", RPC_INLINE, task_config_schema, svc_driver_task_config_schema),
    UNARY("Capabilities", RPC_INLINE, capabilities, svc_driver_capabilities),
    STREAM("Fingerprint", RPC_STREAM, RPC_INLINE, fingerprint, svc_driver_fingerprint, ACTIVATES),
    STREAM("TaskEvents", RPC_STREAM, RPC_INLINE, task_events, svc_driver_task_events),
    UNARY("StartTask", RPC_IMAGES, start_task, svc_task_start, ACTIVATES),
    UNARY("RecoverTask", RPC_QUICK, recover_task, svc_task_recover, ACTIVATES),
    UNARY("WaitTask", RPC_INLINE, wait_task, svc_task_wait),
    UNARY("StopTask", RPC_INLINE, stop_task, svc_task_stop),
    UNARY("DestroyTask", RPC_QUICK, destroy_task, svc_task_destroy),
    UNARY("InspectTask", RPC_INLINE, inspect_task, svc_task_inspect),
    UNARY("SignalTask", RPC_QUICK, signal_task, svc_task_signal),
    STREAM("TaskStats", RPC_STREAM, RPC_INLINE, task_stats, svc_task_stats),
    UNARY("ExecTask", RPC_EXECS, exec_task, svc_exec_task),
    STREAM("ExecTaskStreaming", RPC_BIDI, RPC_QUICK, exec_task_streaming, svc_exec_task_streaming),
    UNARY("CreateNetwork", RPC_IMAGES, create_network, svc_driver_create_network, ACTIVATES),
    UNARY("DestroyNetwork", RPC_QUICK, destroy_network, svc_driver_destroy_network, ACTIVATES),
};

const struct rpc_method *driver_table(size_t *ret_n) {
    *ret_n = ARRAY_LEN(rows);
    return rows;
}
