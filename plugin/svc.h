/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The handlers of the Driver service. rpc_call_app() returns the struct driver. */
#include "plugin/rpc.h"

/* svc_driver.c */
void svc_driver_init(struct rpc_call *c, const ProtobufCMessage *req);
void svc_driver_shutdown(struct rpc_call *c, const ProtobufCMessage *req);
void svc_driver_task_config_schema(struct rpc_call *c, const ProtobufCMessage *req);
void svc_driver_capabilities(struct rpc_call *c, const ProtobufCMessage *req);
void svc_driver_fingerprint(struct rpc_stream *s, const ProtobufCMessage *req);
void svc_driver_task_events(struct rpc_stream *s, const ProtobufCMessage *req);
void svc_driver_create_network(struct rpc_call *c, const ProtobufCMessage *req);
void svc_driver_destroy_network(struct rpc_call *c, const ProtobufCMessage *req);

/* svc_task.c */
void svc_task_start(struct rpc_call *c, const ProtobufCMessage *req);
void svc_task_recover(struct rpc_call *c, const ProtobufCMessage *req);
void svc_task_wait(struct rpc_call *c, const ProtobufCMessage *req);
void svc_task_stop(struct rpc_call *c, const ProtobufCMessage *req);
void svc_task_signal(struct rpc_call *c, const ProtobufCMessage *req);
void svc_task_destroy(struct rpc_call *c, const ProtobufCMessage *req);
void svc_task_inspect(struct rpc_call *c, const ProtobufCMessage *req);
void svc_task_stats(struct rpc_stream *s, const ProtobufCMessage *req);

/* svc_exec.c */
void svc_exec_task(struct rpc_call *c, const ProtobufCMessage *req);
void svc_exec_task_streaming(struct rpc_stream *s, const ProtobufCMessage *req);
