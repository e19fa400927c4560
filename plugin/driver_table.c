#include "plugin/driver_table.h"
#include "plugin/svc.h"

#include "driver.pb-c.h"

#define UNARY(name, req, fn)                                                                       \
    { DRIVER_SERVICE name, RPC_UNARY, false, &driver__##req##_request__descriptor, fn, NULL }
/* May hang on a registry for long: kept from filling all workers. */
#define SLOW(name, req, fn)                                                                        \
    { DRIVER_SERVICE name, RPC_UNARY, true, &driver__##req##_request__descriptor, fn, NULL }
#define STREAM(name, req, kind, slow, fn)                                                          \
    { DRIVER_SERVICE name, kind, slow, &driver__##req##_request__descriptor, NULL, fn }

/* Fingerprint and TaskEvents never end: Nomad opens them again at once, without a pause. */
static const struct rpc_method rows[] = {
    UNARY("Init", init, svc_init),
    UNARY("Shutdown", shutdown, svc_shutdown),
    UNARY("TaskConfigSchema", task_config_schema, svc_task_config_schema),
    UNARY("Capabilities", capabilities, svc_capabilities),
    STREAM("Fingerprint", fingerprint, RPC_STREAM, false, svc_fingerprint),
    STREAM("TaskEvents", task_events, RPC_STREAM, false, svc_task_events),
    SLOW("StartTask", start_task, svc_start_task),
    UNARY("RecoverTask", recover_task, svc_recover_task),
    UNARY("WaitTask", wait_task, svc_wait_task),
    UNARY("StopTask", stop_task, svc_stop_task),
    UNARY("DestroyTask", destroy_task, svc_destroy_task),
    UNARY("InspectTask", inspect_task, svc_inspect_task),
    UNARY("SignalTask", signal_task, svc_signal_task),
    STREAM("TaskStats", task_stats, RPC_STREAM, false, svc_task_stats),
    UNARY("ExecTask", exec_task, svc_exec_task),
    STREAM("ExecTaskStreaming", exec_task_streaming, RPC_BIDI, false, svc_exec_task_streaming),
    SLOW("CreateNetwork", create_network, svc_create_network),
    UNARY("DestroyNetwork", destroy_network, svc_destroy_network),
};

const struct rpc_method *driver_table(size_t *ret_n) {
    *ret_n = ARRAY_LEN(rows);
    return rows;
}
