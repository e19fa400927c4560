#pragma once
/* A stream's messages that the client has not taken yet. Its limits are in rpc.h. No lock. */
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

void rpc_queue_init(struct rpc_queue *q);
/** No room for a message of @len bytes. An empty queue takes one of any size. */
bool rpc_queue_is_full(const struct rpc_queue *q, size_t len);
/** Half of the queue is free. */
bool rpc_queue_has_room(const struct rpc_queue *q);
/** @i is taken. */
void rpc_queue_push(struct rpc_queue *q, struct rpc_queue_item *i);
/** The oldest, NULL when there is none. Owner: caller, free() after its bytes. */
struct rpc_queue_item *rpc_queue_pop(struct rpc_queue *q);
/** Frees all. */
void rpc_queue_drop(struct rpc_queue *q);
