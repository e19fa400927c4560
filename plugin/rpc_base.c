/* SPDX-License-Identifier: MPL-2.0 */
/* The common part of unary calls and streams: gRPC's batches and events, references, the context.
 *
 * The structs of rpc_call.c and rpc_stream.c begin with a `struct rpc_base` and get the events
 * through their ops. Events are handled on the rpc thread. The last event releases the grpc_call.
 * The memory can live much longer, because users may still refer to it. */
#include "plugin/rpc_base.h"
#include "plugin/rpc_utf8.h"
#include "paddock/clock.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <stddef.h>
#include <string.h>

#define base_of(ptr, member)                                                                       \
    ((struct rpc_base *)(void *)((char *)(ptr)-offsetof(struct rpc_base, member)))

/* ---- messages ---- */

grpc_byte_buffer *rpc_base_encode(const ProtobufCMessage *msg) {
    size_t len = protobuf_c_message_get_packed_size(msg);
    /* Our own malloc(): gRPC's ends the process when out of memory. */
    uint8_t *bytes = malloc(len ? len : 1);
    if (!bytes)
        return NULL;
    protobuf_c_message_pack(msg, bytes);
    rpc_utf8_mend_message(bytes, len, msg->descriptor);
    grpc_slice slice = grpc_slice_new(bytes, len, free);
    grpc_byte_buffer *b = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return b;
}

ProtobufCMessage *rpc_base_decode(grpc_byte_buffer *bytes, const ProtobufCMessageDescriptor *type) {
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, bytes))
        return NULL;
    grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    ProtobufCMessage *msg =
        protobuf_c_message_unpack(type, NULL, GRPC_SLICE_LENGTH(all), GRPC_SLICE_START_PTR(all));
    grpc_slice_unref(all);
    return msg;
}

/* ---- references, events, set-up ---- */

struct rpc_base *rpc_base_ref(struct rpc_base *b) {
    atomic_fetch_add(&b->refs, 1);
    return b;
}

void rpc_base_unref(struct rpc_base *b) {
    if (atomic_fetch_sub(&b->refs, 1) != 1)
        return;
    struct rpc_life *life = b->life;
    grpc_byte_buffer_destroy(b->received);
    grpc_byte_buffer_destroy(b->sending);
    grpc_slice_unref(b->status_text);
    grpc_slice_unref(b->status_details);
    if (b->context_made)
        cancel_done(&b->cancel);
    pthread_mutex_destroy(&b->lock);
    b->ops->destroy(b);
    rpc_life_died(life);
}

/* Ends the handling of an event. After the last event the call is released, with its reference. */
static void base_batch_done(struct rpc_base *b) {
    grpc_call *over = NULL;
    bool stop = false;
    pthread_mutex_lock(&b->lock);
    if (--b->batches == 0) {
        over = TAKE_PTR(b->call);
        stop = b->stop_after;
    }
    pthread_mutex_unlock(&b->lock);
    if (!over)
        return;
    grpc_call_unref(over);
    rpc_life_released(b->life);
    if (stop)
        b->life->stop(b->life->ctx);
    rpc_base_unref(b);
}

static void base_on_close(struct rpc_tag *t, bool ok) {
    struct rpc_base *b = base_of(t, close_tag);
    (void)ok;
    pthread_mutex_lock(&b->lock);
    b->closed = true;
    if (b->context_made && b->cancelled)
        cancel_fire(&b->cancel);
    pthread_mutex_unlock(&b->lock);
    b->ops->closed(b);
    base_batch_done(b);
}

static void base_on_receive(struct rpc_tag *t, bool ok) {
    struct rpc_base *b = base_of(t, recv_tag);
    (void)ok; /* false: the call is over, and received is NULL */
    b->ops->received(b);
    base_batch_done(b);
}

static void base_on_sent(struct rpc_tag *t, bool ok) {
    struct rpc_base *b = base_of(t, send_tag);
    pthread_mutex_lock(&b->lock);
    grpc_byte_buffer *sent = TAKE_PTR(b->sending);
    pthread_mutex_unlock(&b->lock);
    grpc_byte_buffer_destroy(sent);
    b->ops->sent(b, ok);
    base_batch_done(b);
}

static void base_on_wake(struct rpc_tag *t, bool ok) {
    struct rpc_base *b = base_of(t, wake_tag);
    (void)ok;
    b->ops->woken(b);
    base_batch_done(b);
}

static void base_start(struct rpc_base *b, const grpc_op *ops, size_t n, struct rpc_tag *tag) {
    b->batches++;
    if (grpc_call_start_batch(b->call, ops, n, tag, NULL) != GRPC_CALL_OK)
        abort(); /* only for a mistake in these files */
}

/* Converts to clock_now_us() time in microseconds; 0 = never. */
static uint64_t base_deadline_us(gpr_timespec deadline) {
    if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0)
        return 0;
    gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
    int64_t us = left.tv_sec * (int64_t)US_PER_SEC + left.tv_nsec / 1000;
    return clock_now_us() + (us > 0 ? (uint64_t)us : 0);
}

static void base_run_job(struct rpc_job *j) {
    struct rpc_base *b = base_of(j, job);
    b->ops->run(b);
}

int rpc_base_run(struct rpc_base *b) {
    rpc_base_ref(b);
    b->job = (struct rpc_job){.run = base_run_job, .lane = b->method->lane};
    int r = rpc_work_run(b->work, &b->job);
    if (r < 0)
        rpc_base_unref(b);
    return r;
}

void rpc_base_init(struct rpc_base *b, const struct rpc_base_ops *ops,
                   const struct rpc_arrival *a) {
    b->ops = ops;
    b->life = a->life;
    b->work = a->work;
    b->method = a->method;
    b->app = a->app;
    b->call = a->call;
    atomic_init(&b->refs, 2);
    pthread_mutex_init(&b->lock, NULL);
    b->status_text = grpc_empty_slice();
    b->status_details = grpc_empty_slice();
    b->context.deadline_us = base_deadline_us(a->deadline);
    b->close_tag.event = base_on_close;
    b->recv_tag.event = base_on_receive;
    b->send_tag.event = base_on_sent;
    b->wake_tag.event = base_on_wake;
    rpc_life_born(b->life);

    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &b->cancelled;
    pthread_mutex_lock(&b->lock);
    base_start(b, &op, 1, &b->close_tag);
    pthread_mutex_unlock(&b->lock);
}

const struct call *rpc_base_context(struct rpc_base *b) {
    pthread_mutex_lock(&b->lock);
    if (!b->context_made) {
        if (cancel_init(&b->cancel) < 0)
            b->cancel.fd = -EBADF;
        b->context.cancel = &b->cancel;
        b->context_made = true;
        if (b->closed)
            cancel_fire(&b->cancel);
    }
    pthread_mutex_unlock(&b->lock);
    return &b->context;
}

/* ---- batches ---- */

void rpc_base_receive(struct rpc_base *b) {
    if (b->closed)
        return;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &b->received;
    base_start(b, &op, 1, &b->recv_tag);
}

void rpc_base_wake(struct rpc_base *b) {
    if (!b->closed)
        base_start(b, NULL, 0, &b->wake_tag); /* an empty batch is over immediately */
}

static grpc_op base_status_op(struct rpc_base *b, const struct rpc_status *status) {
    grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    op.data.send_status_from_server.status = (grpc_status_code)status->code;
    b->status_text = grpc_slice_from_copied_string(status->text);
    op.data.send_status_from_server.status_details = &b->status_text;
    if (status->details_len > 0) {
        b->status_details =
            grpc_slice_from_copied_buffer((const char *)status->details, status->details_len);
        b->status_metadata.key = grpc_slice_from_static_string("grpc-status-details-bin");
        b->status_metadata.value = b->status_details;
        op.data.send_status_from_server.trailing_metadata_count = 1;
        op.data.send_status_from_server.trailing_metadata = &b->status_metadata;
    }
    return op;
}

void rpc_base_send(struct rpc_base *b, grpc_byte_buffer *msg, const struct rpc_status *status) {
    if (b->closed) {
        grpc_byte_buffer_destroy(msg);
        return;
    }
    grpc_op ops[3];
    memset(ops, 0, sizeof(ops));
    size_t n = 0;
    if (!b->metadata_sent) {
        ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
        b->metadata_sent = true;
    }
    if (msg) {
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        ops[n++].data.send_message.send_message = msg;
        b->sending = msg;
    }
    if (status)
        ops[n++] = base_status_op(b, status);
    base_start(b, ops, n, &b->send_tag);
}
