/* SPDX-License-Identifier: MPL-2.0 */
/* The gRPC client of the server's tests (client.h). */
#include "unit/plugin/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MS 20000

static gpr_timespec in_ms(int ms) {
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
}

void client_init(struct client *c, const char *socket_path) {
    char target[128];
    snprintf(target, sizeof(target), "unix:%s", socket_path);
    grpc_arg own = {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL};
    own.value.integer = 1;
    grpc_arg size = {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH};
    size.value.integer = -1;
    grpc_arg list[] = {own, size};
    grpc_channel_args args = {.num_args = 2, .args = list};
    grpc_init();
    grpc_channel_credentials *creds = grpc_insecure_credentials_create();
    c->channel = grpc_channel_create(target, creds, &args);
    grpc_channel_credentials_release(creds);
}

void client_done(struct client *c) {
    grpc_channel_destroy(c->channel);
    grpc_shutdown();
}

bool client_wait(grpc_completion_queue *cq, void **ret_tag) {
    grpc_event e = grpc_completion_queue_next(cq, in_ms(WAIT_MS), NULL);
    assert_int_equal(e.type, GRPC_OP_COMPLETE);
    if (ret_tag)
        *ret_tag = e.tag;
    return e.success != 0;
}

bool client_queue_done(grpc_completion_queue *cq) {
    bool left = false;
    grpc_completion_queue_shutdown(cq);
    while (grpc_completion_queue_next(cq, in_ms(WAIT_MS), NULL).type == GRPC_OP_COMPLETE)
        left = true;
    grpc_completion_queue_destroy(cq);
    return !left;
}

void client_open(struct client *c, struct client_call *k, grpc_completion_queue *cq,
                 const char *path, int timeout_ms) {
    memset(k, 0, sizeof(*k));
    k->own_cq = !cq;
    k->cq = cq ? cq : grpc_completion_queue_create_for_next(NULL);
    grpc_metadata_array_init(&k->initial);
    grpc_metadata_array_init(&k->trailing);
    k->text = grpc_empty_slice();
    gpr_timespec deadline = timeout_ms ? in_ms(timeout_ms) : gpr_inf_future(GPR_CLOCK_MONOTONIC);
    grpc_slice method = grpc_slice_from_copied_string(path);
    k->call = grpc_channel_create_call(c->channel, NULL, GRPC_PROPAGATE_DEFAULTS, k->cq, method,
                                       NULL, deadline, NULL);
    grpc_slice_unref(method);
    assert_non_null(k->call);
}

void client_call_done(struct client_call *k) {
    grpc_call_unref(k->call);
    grpc_metadata_array_destroy(&k->initial);
    grpc_metadata_array_destroy(&k->trailing);
    grpc_slice_unref(k->text);
    grpc_byte_buffer_destroy(k->sent);
    grpc_byte_buffer_destroy(k->received);
    if (k->own_cq)
        (void)client_queue_done(k->cq);
}

static void put_bytes(struct client_call *k, const void *bytes, size_t len) {
    grpc_slice s = grpc_slice_from_copied_buffer(bytes, len);
    grpc_byte_buffer_destroy(k->sent);
    k->sent = grpc_raw_byte_buffer_create(&s, 1);
    grpc_slice_unref(s);
}

static void put_message(struct client_call *k, const ProtobufCMessage *msg) {
    size_t len = protobuf_c_message_get_packed_size(msg);
    uint8_t *bytes = malloc(len + 1);
    assert_non_null(bytes);
    protobuf_c_message_pack(msg, bytes);
    put_bytes(k, bytes, len);
    free(bytes);
}

static grpc_op status_op(struct client_call *k) {
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    op.data.recv_status_on_client.trailing_metadata = &k->trailing;
    op.data.recv_status_on_client.status = &k->status;
    op.data.recv_status_on_client.status_details = &k->text;
    return op;
}

static grpc_op send_op(struct client_call *k) {
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    op.data.send_message.send_message = k->sent;
    return op;
}

static void batch(struct client_call *k, const grpc_op *ops, size_t n, void *tag) {
    assert_int_equal(grpc_call_start_batch(k->call, ops, n, tag, NULL), GRPC_CALL_OK);
}

/* gRPC delivers nothing of a stream before its initial metadata is requested. */
static void batch_after_initial(struct client_call *k, grpc_op op) {
    grpc_op ops[2] = {op, {.op = GRPC_OP_RECV_INITIAL_METADATA}};
    ops[1].data.recv_initial_metadata.recv_initial_metadata = &k->initial;
    batch(k, ops, k->initial_asked ? 1 : 2, k);
    k->initial_asked = true;
    client_wait(k->cq, NULL);
}

void client_unary_start(struct client_call *k, const void *msg, size_t len, bool with_message) {
    grpc_op ops[6];
    memset(ops, 0, sizeof(ops));
    size_t n = 0;
    ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
    if (with_message) {
        put_bytes(k, msg, len);
        ops[n++] = send_op(k);
    }
    ops[n++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[n].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[n++].data.recv_initial_metadata.recv_initial_metadata = &k->initial;
    ops[n].op = GRPC_OP_RECV_MESSAGE;
    ops[n++].data.recv_message.recv_message = &k->received;
    ops[n++] = status_op(k);
    batch(k, ops, n, k);
}

int client_unary(struct client *c, struct client_call *k, const char *path,
                 const ProtobufCMessage *msg) {
    client_open(c, k, NULL, path, 0);
    size_t len = protobuf_c_message_get_packed_size(msg);
    uint8_t *bytes = malloc(len + 1);
    assert_non_null(bytes);
    protobuf_c_message_pack(msg, bytes);
    client_unary_start(k, bytes, len, true);
    free(bytes);
    client_wait(k->cq, NULL);
    return (int)k->status;
}

bool client_stream_start(struct client_call *k, const ProtobufCMessage *msg, bool last) {
    grpc_op ops[3];
    memset(ops, 0, sizeof(ops));
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    size_t n = 1;
    if (msg) {
        put_message(k, msg);
        ops[n++] = send_op(k);
    }
    if (last)
        ops[n++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    batch(k, ops, n, k);
    return client_wait(k->cq, NULL);
}

bool client_send(struct client_call *k, const ProtobufCMessage *msg) {
    put_message(k, msg);
    grpc_op op = send_op(k);
    batch(k, &op, 1, k);
    return client_wait(k->cq, NULL);
}

bool client_send_close(struct client_call *k) {
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    batch(k, &op, 1, k);
    return client_wait(k->cq, NULL);
}

ProtobufCMessage *client_read(struct client_call *k, const ProtobufCMessageDescriptor *type) {
    grpc_byte_buffer_destroy(k->received);
    k->received = NULL;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &k->received;
    batch_after_initial(k, op);
    return client_decode(k, type);
}

int client_status(struct client_call *k) {
    batch_after_initial(k, status_op(k));
    return (int)k->status;
}

ProtobufCMessage *client_decode(struct client_call *k, const ProtobufCMessageDescriptor *type) {
    if (!k->received)
        return NULL;
    grpc_byte_buffer_reader reader;
    assert_true(grpc_byte_buffer_reader_init(&reader, k->received));
    grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    ProtobufCMessage *m =
        protobuf_c_message_unpack(type, NULL, GRPC_SLICE_LENGTH(all), GRPC_SLICE_START_PTR(all));
    grpc_slice_unref(all);
    assert_non_null(m);
    return m;
}

const uint8_t *client_trailing(const struct client_call *k, const char *key, size_t *ret_len) {
    for (size_t i = 0; i < k->trailing.count; i++) {
        const grpc_metadata *m = &k->trailing.metadata[i];
        if (grpc_slice_str_cmp(m->key, key) == 0) {
            *ret_len = GRPC_SLICE_LENGTH(m->value);
            return GRPC_SLICE_START_PTR(m->value);
        }
    }
    return NULL;
}
