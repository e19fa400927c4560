/* SPDX-License-Identifier: MPL-2.0 */
/* A server with handlers for each kind of call, on a thread of its own, and a client for it. The
 * handlers count what happens to them in struct rpc_world, and the tests wait for these counts. */
#include "unit/plugin/rpc_world.h"

#include "paddock/clock.h"
#include "plugin/svc_go_plugin.h"

#include "google/empty.pb-c.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static void add(struct rpc_world *w, int *counter, int n) {
    pthread_mutex_lock(&w->lock);
    *counter += n;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

bool rpc_world_wait(struct rpc_world *w, const int *counter, int n) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RPC_WORLD_WAIT_SEC;
    pthread_mutex_lock(&w->lock);
    int r = 0;
    while (*counter < n && r == 0)
        r = pthread_cond_timedwait(&w->changed, &w->lock, &until);
    bool there = *counter >= n;
    pthread_mutex_unlock(&w->lock);
    return there;
}

int rpc_world_get(struct rpc_world *w, const int *counter) {
    pthread_mutex_lock(&w->lock);
    int n = *counter;
    pthread_mutex_unlock(&w->lock);
    return n;
}

void rpc_world_release(struct rpc_world *w) {
    pthread_mutex_lock(&w->lock);
    w->release = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

/* ---- Handlers ---- */

static void echo(struct rpc_call *c, const ProtobufCMessage *req) {
    rpc_call_reply(c, req);
}

static void inline_echo(struct rpc_call *c, const ProtobufCMessage *req) {
    struct rpc_world *w = rpc_call_app(c);
    pthread_mutex_lock(&w->lock);
    w->callback_thread = pthread_self();
    pthread_mutex_unlock(&w->lock);
    rpc_call_reply(c, req);
}

static void fail_again(struct rpc_call *c, const ProtobufCMessage *req) {
    struct err err = {.set = false};
    (void)req;
    err_set(&err, ERR_RECOVERABLE, EIO, "registry says: 100%% busy \xc3\xa9");
    rpc_call_fail(c, &err);
    rpc_call_reply(c, req); /* the second finish has no effect */
}

static void forget(struct rpc_call *c, const ProtobufCMessage *req) {
    (void)c;
    (void)req;
}

static void block(struct rpc_call *c, const ProtobufCMessage *req) {
    struct rpc_world *w = rpc_call_app(c);
    pthread_mutex_lock(&w->lock);
    w->running++;
    pthread_cond_broadcast(&w->changed);
    while (!w->release)
        pthread_cond_wait(&w->changed, &w->lock);
    w->running--;
    pthread_mutex_unlock(&w->lock);
    rpc_call_reply(c, req);
}

static void nap(struct rpc_call *c, const ProtobufCMessage *req) {
    struct rpc_world *w = rpc_call_app(c);
    const struct call *k = rpc_call_context(c);
    add(w, &w->running, 1);
    int r = call_sleep(k, RPC_WORLD_WAIT_SEC * US_PER_SEC);
    pthread_mutex_lock(&w->lock);
    w->deadline_us = k->deadline_us;
    w->sleep_result = r;
    pthread_mutex_unlock(&w->lock);
    add(w, &w->sleeps, 1);
    struct err err = {.set = false};
    if (r < 0) {
        err_set(&err, ERR_DEADLINE, -r, "woken: %s", strerror(-r));
        rpc_call_fail(c, &err);
    } else {
        rpc_call_reply(c, req);
    }
}

static void on_cancel(struct rpc_call *c, void *ctx) {
    struct rpc_world *w = ctx;
    struct err err = {.set = false};
    add(w, &w->cancelled, 1);
    err_set(&err, ERR_PLAIN, ECANCELED, "the call was cancelled");
    rpc_call_fail(c, &err);
}

static void on_release(void *ctx) {
    struct rpc_world *w = ctx;
    add(w, &w->released, 1);
}

static void defer(struct rpc_call *c, const ProtobufCMessage *req) {
    struct rpc_world *w = rpc_call_app(c);
    (void)req;
    rpc_call_defer(c, on_cancel, on_release, w);
    pthread_mutex_lock(&w->lock);
    w->calls[w->n_calls++] = c;
    w->running++;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void on_close(struct rpc_stream *s, void *ctx) {
    struct rpc_world *w = ctx;
    Google__Protobuf__Empty m = GOOGLE__PROTOBUF__EMPTY__INIT;
    assert_int_equal(rpc_stream_send(s, &m.base), -ECANCELED);
    add(w, &w->closed, 1);
}

static int on_message(struct rpc_stream *s, void *ctx, const ProtobufCMessage *msg) {
    struct rpc_world *w = ctx;
    pthread_mutex_lock(&w->lock);
    bool pause = w->pause;
    w->callback_thread = pthread_self();
    pthread_mutex_unlock(&w->lock);
    add(w, &w->messages, 1);
    if (pause)
        return -EAGAIN;
    if (!msg) {
        add(w, &w->ends, 1);
        rpc_stream_finish(s, NULL);
    } else {
        assert_int_equal(rpc_stream_send(s, msg), 0);
    }
    return 0;
}

static void on_room(struct rpc_stream *s, void *ctx) {
    struct rpc_world *w = ctx;
    (void)s;
    add(w, &w->rooms, 1);
}

static const struct rpc_stream_ops stream_ops = {on_close, on_message, on_room};

/* Keeps the stream open for the test. */
static void keep(struct rpc_stream *s, const ProtobufCMessage *req) {
    struct rpc_world *w = rpc_stream_app(s);
    (void)req;
    rpc_stream_set(s, &stream_ops, w);
    pthread_mutex_lock(&w->lock);
    w->stream = rpc_stream_ref(s);
    w->running++;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

/* Sends as many messages as the request asks for, then ends the stream. */
static void count(struct rpc_stream *s, const ProtobufCMessage *req) {
    const Goplugin__ConnInfo *in = (const void *)req;
    rpc_stream_set(s, &stream_ops, rpc_stream_app(s));
    for (uint32_t i = 0; i < in->service_id; i++) {
        Goplugin__ConnInfo m = GOPLUGIN__CONN_INFO__INIT;
        m.service_id = i;
        assert_int_equal(rpc_stream_send(s, &m.base), 0);
    }
    rpc_stream_finish(s, NULL);
}

/* Refuses a stream whose client continues to send. */
static void refuse(struct rpc_stream *s, const ProtobufCMessage *req) {
    struct rpc_world *w = rpc_stream_app(s);
    struct err err = {.set = false};
    (void)req;
    rpc_stream_set(s, &stream_ops, w);
    pthread_mutex_lock(&w->lock);
    w->running++;
    pthread_cond_broadcast(&w->changed);
    while (!w->release)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
    err_set(&err, ERR_NOT_FOUND, ENOENT, "no such task");
    rpc_stream_finish(s, &err);
}

#define ROW(name, kind, lane, field, handler)                                                      \
    { "/test/" name, kind, lane, &goplugin__conn_info__descriptor, .field = handler }
#define ROW_NOT_READY(name, kind, lane, field, handler)                                            \
    {                                                                                              \
        "/test/" name, kind, lane, &goplugin__conn_info__descriptor, .field = handler,             \
                                                                     .ready = refuse_all           \
    }
static int refuse_all(void *app, struct err *err) {
    (void)app;
    return err_set(err, ERR_RECOVERABLE, EBUSY, "not ready");
}

static const struct rpc_method rows[] = {
    ROW_NOT_READY("NotReady", RPC_UNARY, RPC_INLINE, unary, echo),
    ROW_NOT_READY("NotReadyCount", RPC_STREAM, RPC_INLINE, stream, count),
    ROW("Echo", RPC_UNARY, RPC_QUICK, unary, echo),
    ROW("Inline", RPC_UNARY, RPC_INLINE, unary, inline_echo),
    ROW("Block", RPC_UNARY, RPC_QUICK, unary, block),
    ROW("InlineCount", RPC_STREAM, RPC_INLINE, stream, count),
    ROW("InlineTalk", RPC_BIDI, RPC_INLINE, stream, keep),
    ROW("Fail", RPC_UNARY, RPC_QUICK, unary, fail_again),
    ROW("Forget", RPC_UNARY, RPC_QUICK, unary, forget),
    ROW("Pull", RPC_UNARY, RPC_IMAGES, unary, block),
    ROW("Exec", RPC_UNARY, RPC_EXECS, unary, block),
    ROW("Nap", RPC_UNARY, RPC_QUICK, unary, nap),
    ROW("Defer", RPC_UNARY, RPC_QUICK, unary, defer),
    ROW("Keep", RPC_STREAM, RPC_QUICK, stream, keep),
    ROW("Count", RPC_STREAM, RPC_QUICK, stream, count),
    ROW("Talk", RPC_BIDI, RPC_QUICK, stream, keep),
    ROW("Refuse", RPC_BIDI, RPC_QUICK, stream, refuse),
};

/* ---- Setup and teardown ---- */

int rpc_world_group_setup(void **state) {
    (void)state;
    grpc_init();
    return 0;
}

int rpc_world_group_teardown(void **state) {
    (void)state;
    grpc_shutdown();
    return 0;
}

static void *serve(void *arg) {
    struct rpc_world *w = arg;
    w->run_result = rpc_server_run(w->server);
    return NULL;
}

int rpc_world_setup(void **state) {
    struct rpc_world *w = calloc(1, sizeof(*w));
    struct err err = {.set = false};
    if (!w)
        return -1;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->services[0] = (struct rpc_service){rows, ARRAY_LEN(rows), w};
    w->services[1].methods = svc_go_plugin_table(&w->services[1].n_methods);
    if (handshake_socket_make(NULL, NULL, &w->socket, &err) < 0 ||
        rpc_server_new(w->socket.path, w->services, &w->server, &err) < 0) {
        print_error("%s\n", err.text);
        return -1;
    }
    w->serving = true;
    pthread_create(&w->thread, NULL, serve, w);
    client_init(&w->client, w->socket.path);
    *state = w;
    return 0;
}

int rpc_world_stop(struct rpc_world *w) {
    if (w->serving) {
        rpc_server_stop(w->server);
        pthread_join(w->thread, NULL);
        w->serving = false;
    }
    return w->run_result;
}

int rpc_world_end(struct rpc_world *w) {
    uint64_t until = clock_now_us() + RPC_WORLD_WAIT_SEC * US_PER_SEC;
    int r = rpc_world_stop(w);
    while (r == -ETIMEDOUT && clock_now_us() < until)
        r = rpc_server_run(w->server);
    return w->run_result = r;
}

int rpc_world_teardown(void **state) {
    struct rpc_world *w = *state;
    client_done(&w->client);
    if (w->stream)
        rpc_stream_unref(w->stream);
    int r = rpc_world_end(w);
    if (r == 0)
        rpc_server_free(w->server);
    handshake_socket_remove(&w->socket);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
    return r;
}

Goplugin__ConnInfo rpc_world_message(uint32_t id) {
    Goplugin__ConnInfo m = GOPLUGIN__CONN_INFO__INIT;
    m.service_id = id;
    return m;
}

uint32_t rpc_world_take_id(ProtobufCMessage *m) {
    assert_non_null(m);
    uint32_t id = ((Goplugin__ConnInfo *)(void *)m)->service_id;
    protobuf_c_message_free_unpacked(m, NULL);
    return id;
}
