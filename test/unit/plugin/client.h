/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* A gRPC client for tests of the server. It sends and receives byte buffers. Every wait has
 * a deadline. */
#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

struct client {
    grpc_channel *channel;
};

/* A call and its results. client_open() initialises it, client_call_done() frees its members. */
struct client_call {
    grpc_call *call;
    grpc_completion_queue *cq;
    bool own_cq, initial_asked;
    grpc_metadata_array initial, trailing;
    grpc_slice text;
    grpc_status_code status;
    grpc_byte_buffer *sent, *received;
};

void client_init(struct client *c, const char *socket_path);
void client_done(struct client *c);

/* Opens a call. With @cq NULL it gets its own queue. @timeout_ms is its deadline; 0: none. */
void client_open(struct client *c, struct client_call *k, grpc_completion_queue *cq,
                 const char *path, int timeout_ms);
/* Starts a unary call as one batch with the tag @k. @with_message: it sends @msg. */
void client_unary_start(struct client_call *k, const void *msg, size_t len, bool with_message);
/* client_open(), client_unary_start() and a wait. Returns the status. */
int client_unary(struct client *c, struct client_call *k, const char *path,
                 const ProtobufCMessage *msg);
void client_call_done(struct client_call *k);

/* For streams. Each function waits for its batch and returns whether it succeeded. */
bool client_stream_start(struct client_call *k, const ProtobufCMessage *msg, bool last);
bool client_send(struct client_call *k, const ProtobufCMessage *msg);
bool client_send_close(struct client_call *k);
/* Returns NULL when the server sends no more messages. */
ProtobufCMessage *client_read(struct client_call *k, const ProtobufCMessageDescriptor *type);
/* Waits for the status of a stream. Call it once. */
int client_status(struct client_call *k);

ProtobufCMessage *client_decode(struct client_call *k, const ProtobufCMessageDescriptor *type);
/* Waits for one event of the queue. Returns false for a failed batch. Fails the test after 20 s. */
bool client_wait(grpc_completion_queue *cq, void **ret_tag);
/* Ends a queue. Returns false when events were left in it. */
bool client_queue_done(grpc_completion_queue *cq);
/* Returns the value of a trailing metadata and its length, or NULL. */
const uint8_t *client_trailing(const struct client_call *k, const char *key, size_t *ret_len);
