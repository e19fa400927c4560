/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The messages of a stream that the client has not read yet. Its limits are in rpc.h. No lock. */
#include <grpc/byte_buffer.h>
#include <stdbool.h>
#include <stddef.h>

struct rpc_queue_item {
    grpc_byte_buffer *bytes;
    size_t len;
    struct rpc_queue_item *next;
};

struct rpc_queue {
    struct rpc_queue_item *first, **last;
    size_t n, bytes;
};

/** Makes an empty queue in the caller's memory. */
void rpc_queue_init(struct rpc_queue *q);
/** True when there is no room for a message of @len bytes. An empty queue has room for one
 * message of any size. */
bool rpc_queue_is_full(const struct rpc_queue *q, size_t len);
/** True when half of the queue is free. */
bool rpc_queue_has_room(const struct rpc_queue *q);
/** Takes ownership of @i. */
void rpc_queue_push(struct rpc_queue *q, struct rpc_queue_item *i);
/** Removes and returns the oldest message, or NULL when the queue is empty. Owner: caller,
 * free() after its bytes. */
struct rpc_queue_item *rpc_queue_pop(struct rpc_queue *q);
/** Frees all messages. */
void rpc_queue_drop(struct rpc_queue *q);
