/* SPDX-License-Identifier: MPL-2.0 */
/* Unary calls: one request, one answer.
 *
 * rpc_accept.c makes a call. When its request has arrived, the handler runs on a worker (or on the
 * rpc thread, see rpc.h). The handler answers, or defers the call; then any thread answers later.
 * The first answer counts. If a handler does neither, an error is sent for it, because a host waits
 * without a deadline. */
#include "plugin/rpc_call.h"
#include "paddock/log.h"

#include <grpc/status.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* References: one of the grpc_call, one of the handler while it is queued and runs, one until
 * the call is finished. */
struct rpc_call {
    struct rpc_base b;
    /* ---- under b.lock ---- */
    bool finished, returned, deferred, cancel_told;
    void (*on_cancel)(struct rpc_call *c, void *ctx);
    void (*release)(void *ctx);
    void *ctx;
};

static struct rpc_call *call_of(struct rpc_base *b) {
    return (struct rpc_call *)(void *)b;
}

static void call_finish(struct rpc_call *c, grpc_byte_buffer *msg, const struct rpc_status *st) {
    pthread_mutex_lock(&c->b.lock);
    bool first = !c->finished;
    if (first) {
        c->finished = true;
        rpc_base_send(&c->b, TAKE_PTR(msg), st);
    }
    pthread_mutex_unlock(&c->b.lock);
    grpc_byte_buffer_destroy(msg);
    if (first)
        rpc_base_unref(&c->b);
}

void rpc_call_reply(struct rpc_call *c, const ProtobufCMessage *msg) {
    struct rpc_status st;
    rpc_status_from_err(NULL, &st);
    grpc_byte_buffer *bytes = rpc_base_encode(msg);
    if (!bytes) {
        st.code = GRPC_STATUS_RESOURCE_EXHAUSTED;
        snprintf(st.text, sizeof(st.text), "no memory for the answer");
    }
    call_finish(c, bytes, &st);
}

void rpc_call_fail(struct rpc_call *c, const struct err *err) {
    static const struct err unknown;
    struct rpc_status st;
    rpc_status_from_err(err ? err : &unknown, &st);
    call_finish(c, NULL, &st);
}

static void PRINTF_LIKE(3, 4)
    call_refuse(struct rpc_call *c, enum err_class cls, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    struct err err = {.set = false};
    err_set(&err, cls, EINVAL, "%s", text);
    rpc_call_fail(c, &err);
}

/* Calls on_cancel when it is due. The caller holds a reference. */
static void call_tell_cancel(struct rpc_call *c) {
    pthread_mutex_lock(&c->b.lock);
    bool due = c->b.closed && c->returned && c->deferred && !c->finished && !c->cancel_told;
    if (due)
        c->cancel_told = true;
    pthread_mutex_unlock(&c->b.lock);
    if (due && c->on_cancel)
        c->on_cancel(c, c->ctx);
}

static void call_closed(struct rpc_base *b) {
    call_tell_cancel(call_of(b));
}

static void call_sent(struct rpc_base *b, bool ok) {
    (void)b;
    (void)ok; /* false: the client has disconnected; RECV_CLOSE reports it */
}

static void call_received(struct rpc_base *b) {
    struct rpc_call *c = call_of(b);
    if (!b->received) {
        call_refuse(c, ERR_INVALID, "%s: no request message", b->method->path);
        return;
    }
    int r = rpc_base_run(b);
    if (r < 0)
        call_refuse(c, ERR_PLAIN, "%s: no worker thread: %s", b->method->path, strerror(-r));
}

static void call_handle(struct rpc_call *c) {
    pthread_mutex_lock(&c->b.lock);
    bool gone = c->b.closed;
    grpc_byte_buffer *bytes = TAKE_PTR(c->b.received);
    pthread_mutex_unlock(&c->b.lock);
    ProtobufCMessage *req = gone ? NULL : rpc_base_decode(bytes, c->b.method->request);
    grpc_byte_buffer_destroy(bytes);
    struct err err = {0};
    if (!req)
        call_refuse(c, ERR_INVALID, "%s: malformed request message", c->b.method->path);
    else if (c->b.method->ready && c->b.method->ready(c->b.app, &err) < 0)
        rpc_call_fail(c, &err);
    else
        c->b.method->unary(c, req);
    if (req)
        protobuf_c_message_free_unpacked(req, NULL);
}

static void call_run(struct rpc_base *b) {
    struct rpc_call *c = call_of(b);
    call_handle(c);
    pthread_mutex_lock(&b->lock);
    c->returned = true;
    bool forgotten = !c->finished && !c->deferred;
    pthread_mutex_unlock(&b->lock);
    if (forgotten) {
        log_error("rpc", LOG_KV("method", b->method->path), "the handler gave no answer");
        call_refuse(c, ERR_PLAIN, "%s: no answer", b->method->path);
    }
    call_tell_cancel(c);
    rpc_base_unref(b);
}

static void call_destroy(struct rpc_base *b) {
    struct rpc_call *c = call_of(b);
    if (c->release)
        c->release(c->ctx);
    free(c);
}

static const struct rpc_base_ops call_ops = {
    .closed = call_closed,
    .received = call_received,
    .sent = call_sent,
    .run = call_run,
    .destroy = call_destroy,
};

int rpc_call_accept(const struct rpc_arrival *a) {
    const struct rpc_method *m = a->method;
    struct rpc_call *c = calloc(1, sizeof(*c));
    if (!c) {
        grpc_call_unref(a->call);
        return -ENOMEM;
    }
    rpc_base_init(&c->b, &call_ops, a);
    if (!m || !m->unary) { /* uses init's second reference: the call is not finished yet */
        call_refuse(c, ERR_UNSUPPORTED, "%s", m ? m->path : "unknown method");
        return 0;
    }
    pthread_mutex_lock(&c->b.lock);
    rpc_base_receive(&c->b);
    pthread_mutex_unlock(&c->b.lock);
    return 0;
}

void rpc_call_defer(struct rpc_call *c, void (*on_cancel)(struct rpc_call *c, void *ctx),
                    void (*release)(void *ctx), void *ctx) {
    pthread_mutex_lock(&c->b.lock);
    c->deferred = true;
    c->on_cancel = on_cancel;
    c->release = release;
    c->ctx = ctx;
    pthread_mutex_unlock(&c->b.lock);
}

void *rpc_call_app(const struct rpc_call *c) {
    return c->b.app;
}

const struct call *rpc_call_context(struct rpc_call *c) {
    return rpc_base_context(&c->b);
}

void rpc_call_stop_after(struct rpc_call *c) {
    pthread_mutex_lock(&c->b.lock);
    bool over = !c->b.call;
    c->b.stop_after = true;
    pthread_mutex_unlock(&c->b.lock);
    if (over)
        c->b.life->stop(c->b.life->ctx);
}
