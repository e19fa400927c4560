#pragma once
/* The handlers of the Driver service. rpc_call_app() returns the struct driver. */
#include "plugin/rpc.h"

/* svc_driver.c */
void svc_init(struct rpc_call *c, const ProtobufCMessage *req);
void svc_shutdown(struct rpc_call *c, const ProtobufCMessage *req);
void svc_task_config_schema(struct rpc_call *c, const ProtobufCMessage *req);
void svc_capabilities(struct rpc_call *c, const ProtobufCMessage *req);
void svc_fingerprint(struct rpc_stream *s, const ProtobufCMessage *req);
void svc_task_events(struct rpc_stream *s, const ProtobufCMessage *req);
void svc_create_network(struct rpc_call *c, const ProtobufCMessage *req);
void svc_destroy_network(struct rpc_call *c, const ProtobufCMessage *req);

/* svc_task.c */
void svc_start_task(struct rpc_call *c, const ProtobufCMessage *req);
void svc_recover_task(struct rpc_call *c, const ProtobufCMessage *req);
void svc_wait_task(struct rpc_call *c, const ProtobufCMessage *req);
void svc_stop_task(struct rpc_call *c, const ProtobufCMessage *req);
void svc_signal_task(struct rpc_call *c, const ProtobufCMessage *req);
void svc_destroy_task(struct rpc_call *c, const ProtobufCMessage *req);
void svc_inspect_task(struct rpc_call *c, const ProtobufCMessage *req);
void svc_task_stats(struct rpc_stream *s, const ProtobufCMessage *req);

/* svc_exec.c */
void svc_exec_task(struct rpc_call *c, const ProtobufCMessage *req);
void svc_exec_task_streaming(struct rpc_stream *s, const ProtobufCMessage *req);
