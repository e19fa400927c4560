/* SPDX-License-Identifier: MPL-2.0 */
/* Streams: messages in both directions, and the callbacks of the stream's user.
 *
 * rpc_accept.c makes a stream. When its first message has arrived, the handler runs on a worker. An
 * event of a stream only changes its state, under the lock. stream_tell() then calls the callbacks
 * that are due, one at a time; `busy` belongs to the thread that runs one. Sending is independent
 * of that: one batch at a time, and the status after the last message. */
#include "plugin/rpc_queue.h"
#include "plugin/rpc_stream.h"

#include <grpc/status.h>

/* References: one of the grpc_call, one until on_close has returned, those of the users. */
struct rpc_stream {
    struct rpc_base b;
    /* ---- under b.lock ---- */
    const struct rpc_stream_ops *user;
    void *ctx;
    bool busy;  /* the handler or a callback runs or is queued: no other thread calls one */
    bool ended; /* on_close was called, or there is none */
    /* from the client */
    bool opened;          /* the handler got the first message */
    bool receiving;       /* a receive is outstanding */
    bool message, paused; /* b.received (NULL: the end) is to be delivered; the user said -EAGAIN */
    bool no_more;         /* the end was received */
    bool waking;          /* the rpc thread will check what is due */
    /* to the client */
    struct rpc_queue queue;
    bool sending;   /* a batch is outstanding */
    bool refused;   /* on_room is due */
    bool finishing; /* no more sends; the status is sent after the queue */
    bool status_sent;
    const struct rpc_status *status;
    struct rpc_status *own_status;
};

static struct rpc_stream *stream_of(struct rpc_base *b) {
    return (struct rpc_stream *)(void *)b;
}

/* ---- to the client; all under the lock ---- */

static void stream_send_next(struct rpc_stream *s) {
    if (s->sending || s->b.closed)
        return;
    struct rpc_queue_item *i = rpc_queue_pop(&s->queue);
    bool last = s->finishing && s->queue.n == 0 && !s->status_sent;
    if (!i && !last)
        return;
    s->sending = true;
    s->status_sent |= last;
    rpc_base_send(&s->b, i ? i->bytes : NULL, last ? s->status : NULL);
    free(i);
}

static int stream_queue(struct rpc_stream *s, struct rpc_queue_item *i) {
    if (s->b.closed || s->finishing)
        return -ECANCELED;
    if (rpc_queue_is_full(&s->queue, i->len)) {
        s->refused = true;
        return -EAGAIN;
    }
    rpc_queue_push(&s->queue, i);
    stream_send_next(s);
    return 0;
}

int rpc_stream_send(struct rpc_stream *s, const ProtobufCMessage *msg) {
    AUTO_FREE struct rpc_queue_item *i = calloc(1, sizeof(*i));
    if (!i)
        return -ENOMEM;
    i->bytes = rpc_base_encode(msg);
    if (!i->bytes)
        return -ENOMEM;
    i->len = grpc_byte_buffer_length(i->bytes);
    grpc_byte_buffer *bytes = i->bytes;
    pthread_mutex_lock(&s->b.lock);
    int r = stream_queue(s, i);
    pthread_mutex_unlock(&s->b.lock);
    if (r < 0)
        grpc_byte_buffer_destroy(bytes);
    else
        TAKE_PTR(i);
    return r;
}

static const struct rpc_status no_memory = {.code = GRPC_STATUS_RESOURCE_EXHAUSTED,
                                            .text = "no memory for the status"};

void rpc_stream_finish(struct rpc_stream *s, const struct err *err) {
    struct rpc_status *st = malloc(sizeof(*st));
    pthread_mutex_lock(&s->b.lock);
    if (!s->finishing) {
        s->finishing = true;
        if (st)
            rpc_status_from_err(err, st);
        s->own_status = TAKE_PTR(st);
        /* When out of memory for the text, the stream still ends, with a failure. */
        s->status = s->own_status ? s->own_status : &no_memory;
        stream_send_next(s);
    }
    pthread_mutex_unlock(&s->b.lock);
    free(st);
}

/* ---- callbacks ---- */

enum stream_due { DUE_NOTHING, DUE_OPEN, DUE_MESSAGE, DUE_ROOM, DUE_CLOSE };

/* Returns the next callback that is due. Under the lock. */
static enum stream_due stream_due(struct rpc_stream *s) {
    if (s->ended)
        return DUE_NOTHING;
    if (s->b.closed)
        return DUE_CLOSE;
    if (s->message && !s->opened)
        return DUE_OPEN;
    if (s->finishing)
        return DUE_NOTHING; /* the user expects no more callbacks */
    if (s->message && !s->paused)
        return DUE_MESSAGE;
    if (s->refused && rpc_queue_has_room(&s->queue))
        return DUE_ROOM;
    return DUE_NOTHING;
}

/* Asks for the client's next message when it can be stored. Under the lock. */
static void stream_receive_next(struct rpc_stream *s) {
    bool wanted = !s->opened || s->b.method->kind == RPC_BIDI;
    if (wanted && !s->message && !s->receiving && !s->no_more && !s->finishing && !s->b.closed) {
        s->receiving = true;
        rpc_base_receive(&s->b);
    }
}

static void stream_refuse(struct rpc_stream *s, enum err_class cls, const char *what) {
    struct err err = {.set = false};
    err_set(&err, cls, EINVAL, "%s: %s", s->b.method->path, what);
    rpc_stream_finish(s, &err);
}

/* Delivers a message. Without the lock, on the thread that holds `busy`. */
static void stream_tell_message(struct rpc_stream *s) {
    ProtobufCMessage *msg = NULL;
    bool told = s->user && s->user->on_message, bad = false;
    int r = 0;
    pthread_mutex_lock(&s->b.lock);
    s->paused = true; /* unless resume is called during the callback */
    pthread_mutex_unlock(&s->b.lock);
    if (told && s->b.received) {
        msg = rpc_base_decode(s->b.received, s->b.method->request);
        bad = !msg;
    }
    if (bad)
        stream_refuse(s, ERR_INVALID, "malformed message");
    else if (told)
        r = s->user->on_message(s, s->ctx, msg);
    if (msg)
        protobuf_c_message_free_unpacked(msg, NULL);

    pthread_mutex_lock(&s->b.lock);
    if (r != -EAGAIN) {
        s->paused = false;
        s->no_more |= !s->b.received;
        grpc_byte_buffer_destroy(TAKE_PTR(s->b.received));
        s->message = false;
    }
    pthread_mutex_unlock(&s->b.lock);
}

/* Runs the handler with the first message. Without the lock. Returns true when a worker has taken
 * over the message and `busy`. */
static bool stream_tell_open(struct rpc_stream *s) {
    if (!s->b.received) {
        stream_refuse(s, ERR_INVALID, "no request message");
        return false;
    }
    int r = rpc_base_run(&s->b);
    if (r < 0)
        stream_refuse(s, ERR_PLAIN, "no worker thread");
    return r == 0;
}

/* Returns the next callback that is due and marks it as called. Under the lock. */
static enum stream_due stream_take_due(struct rpc_stream *s) {
    enum stream_due due = stream_due(s);
    if (due == DUE_ROOM)
        s->refused = false;
    else if (due == DUE_CLOSE)
        s->ended = true;
    else if (due == DUE_OPEN)
        s->opened = true;
    return due;
}

/* Makes one callback. Without the lock, on the thread that holds `busy`. Returns true when a worker
 * has taken over `busy`. */
static bool stream_tell_one(struct rpc_stream *s, enum stream_due due) {
    if (due == DUE_OPEN)
        return stream_tell_open(s);
    if (due == DUE_MESSAGE)
        stream_tell_message(s);
    else if (due == DUE_ROOM && s->user && s->user->on_room)
        s->user->on_room(s, s->ctx);
    else if (due == DUE_CLOSE && s->user && s->user->on_close)
        s->user->on_close(s, s->ctx);
    return false;
}

/* Makes all callbacks that are due, one after the other. @mine: the caller holds `busy` already. */
static void stream_tell(struct rpc_stream *s, bool mine) {
    bool closed = false;
    enum stream_due due;
    rpc_base_ref(&s->b);
    pthread_mutex_lock(&s->b.lock);
    while ((mine || !s->busy) && (due = stream_take_due(s)) != DUE_NOTHING) {
        s->busy = true;
        pthread_mutex_unlock(&s->b.lock);
        mine = !stream_tell_one(s, due); /* the worker may have finished already */
        closed |= due == DUE_CLOSE;
        pthread_mutex_lock(&s->b.lock);
    }
    if (mine)
        s->busy = false;
    stream_receive_next(s);
    pthread_mutex_unlock(&s->b.lock);
    if (closed)
        rpc_base_unref(&s->b); /* the reference for on_close */
    rpc_base_unref(&s->b);
}

/* Resumes through the rpc thread, because the caller may hold a lock that a callback needs. */
void rpc_stream_resume(struct rpc_stream *s) {
    pthread_mutex_lock(&s->b.lock);
    s->paused = false;
    if (!s->waking && !s->b.closed) {
        s->waking = true;
        rpc_base_wake(&s->b);
    }
    pthread_mutex_unlock(&s->b.lock);
}

/* ---- events ---- */

static void stream_closed(struct rpc_base *b) {
    struct rpc_stream *s = stream_of(b);
    pthread_mutex_lock(&b->lock);
    rpc_queue_drop(&s->queue);
    pthread_mutex_unlock(&b->lock);
    stream_tell(s, false);
}

static void stream_received(struct rpc_base *b) {
    struct rpc_stream *s = stream_of(b);
    pthread_mutex_lock(&b->lock);
    s->receiving = false;
    s->message = true;
    pthread_mutex_unlock(&b->lock);
    stream_tell(s, false);
}

static void stream_sent(struct rpc_base *b, bool ok) {
    struct rpc_stream *s = stream_of(b);
    pthread_mutex_lock(&b->lock);
    s->sending = false;
    if (ok)
        stream_send_next(s);
    else
        rpc_queue_drop(&s->queue); /* RECV_CLOSE follows */
    pthread_mutex_unlock(&b->lock);
    stream_tell(s, false);
}

static void stream_woken(struct rpc_base *b) {
    struct rpc_stream *s = stream_of(b);
    pthread_mutex_lock(&b->lock);
    s->waking = false;
    pthread_mutex_unlock(&b->lock);
    stream_tell(s, false);
}

/* Runs on a worker, with `busy` held since the message arrived. */
static void stream_run(struct rpc_base *b) {
    struct rpc_stream *s = stream_of(b);
    pthread_mutex_lock(&b->lock);
    grpc_byte_buffer *bytes = TAKE_PTR(b->received);
    bool gone = b->closed;
    pthread_mutex_unlock(&b->lock);
    ProtobufCMessage *req = gone ? NULL : rpc_base_decode(bytes, b->method->request);
    grpc_byte_buffer_destroy(bytes);
    struct err err = {0};
    if (req && b->method->ready && b->method->ready(b->app, &err) < 0)
        rpc_stream_finish(s, &err);
    else if (req)
        b->method->stream(s, req);
    else if (!gone)
        stream_refuse(s, ERR_INVALID, "malformed request message");
    if (req)
        protobuf_c_message_free_unpacked(req, NULL);
    pthread_mutex_lock(&b->lock);
    s->message = false;
    pthread_mutex_unlock(&b->lock);
    stream_tell(s, true);
    rpc_base_unref(b);
}

static void stream_destroy(struct rpc_base *b) {
    struct rpc_stream *s = stream_of(b);
    rpc_queue_drop(&s->queue);
    free(s->own_status);
    free(s);
}

static const struct rpc_base_ops stream_ops = {
    .closed = stream_closed,
    .received = stream_received,
    .sent = stream_sent,
    .woken = stream_woken,
    .run = stream_run,
    .destroy = stream_destroy,
};

int rpc_stream_accept(const struct rpc_arrival *a) {
    struct rpc_stream *s = calloc(1, sizeof(*s));
    if (!s) {
        grpc_call_unref(a->call);
        return -ENOMEM;
    }
    rpc_queue_init(&s->queue);
    s->opened = !a->method->stream; /* held open: messages are read and discarded */
    rpc_base_init(&s->b, &stream_ops, a);
    pthread_mutex_lock(&s->b.lock);
    stream_receive_next(s);
    pthread_mutex_unlock(&s->b.lock);
    return 0;
}

/* ---- accessors and references ---- */

void *rpc_stream_app(const struct rpc_stream *s) {
    return s->b.app;
}

const struct call *rpc_stream_context(struct rpc_stream *s) {
    return rpc_base_context(&s->b);
}

struct rpc_stream *rpc_stream_ref(struct rpc_stream *s) {
    rpc_base_ref(&s->b);
    return s;
}

struct rpc_stream *rpc_stream_unref(struct rpc_stream *s) {
    if (s)
        rpc_base_unref(&s->b);
    return NULL;
}

void rpc_stream_set(struct rpc_stream *s, const struct rpc_stream_ops *ops, void *ctx) {
    pthread_mutex_lock(&s->b.lock);
    s->user = ops;
    s->ctx = ctx;
    pthread_mutex_unlock(&s->b.lock);
}
