/* SPDX-License-Identifier: MPL-2.0 */
/* The queue of encoded messages of one stream. rpc_stream.c calls it and holds the call's lock.
 *
 * Two limits, number and bytes, keep a client that does not read from filling the memory. A single
 * message is accepted whatever its size, because otherwise it could never be sent. */
#include "plugin/rpc_queue.h"
#include "plugin/rpc.h"

#include <stdlib.h>

void rpc_queue_init(struct rpc_queue *q) {
    *q = (struct rpc_queue){.last = &q->first};
}

bool rpc_queue_is_full(const struct rpc_queue *q, size_t len) {
    return q->n > 0 &&
           (q->n >= RPC_STREAM_QUEUE_MESSAGES || q->bytes + len > RPC_STREAM_QUEUE_BYTES);
}

bool rpc_queue_has_room(const struct rpc_queue *q) {
    return q->n <= RPC_STREAM_QUEUE_MESSAGES / 2 && q->bytes <= RPC_STREAM_QUEUE_BYTES / 2;
}

void rpc_queue_push(struct rpc_queue *q, struct rpc_queue_item *i) {
    *q->last = i;
    q->last = &i->next;
    q->n++;
    q->bytes += i->len;
}

struct rpc_queue_item *rpc_queue_pop(struct rpc_queue *q) {
    struct rpc_queue_item *i = q->first;
    if (!i)
        return NULL;
    q->first = i->next;
    if (!q->first)
        q->last = &q->first;
    q->n--;
    q->bytes -= i->len;
    return i;
}

void rpc_queue_drop(struct rpc_queue *q) {
    for (struct rpc_queue_item *i; (i = rpc_queue_pop(q));) {
        grpc_byte_buffer_destroy(i->bytes);
        free(i);
    }
}
