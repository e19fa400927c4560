/* SPDX-License-Identifier: MPL-2.0 */
/* The server with a real gRPC client, in one process over a real socket. */
#include "plugin/rpc_base.h"
#include "plugin/handshake.h"
#include "plugin/svc_go_plugin.h"
#include "paddock/clock.h"
#include "unit/plugin/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "google/empty.pb-c.h"
#include "google/status.pb-c.h"
#include "goplugin.pb-c.h"
#include "health.pb-c.h"

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define WAIT_SEC 20

/* ---- what the handlers and the test tell each other ---- */

struct world {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int running;  /* handlers inside */
    bool release; /* blocked handlers may go */
    int cancelled, released, closed, refused, rooms, messages, ends, sleeps;
    int sleep_result;
    uint64_t deadline_us;
    bool pause;        /* on_message says -EAGAIN */
    pthread_t told_by; /* on_message's thread */
    struct rpc_stream *stream;
    struct rpc_call *calls[500];
    size_t n_calls;
};

static void world_add(struct world *w, int *counter, int n) {
    pthread_mutex_lock(&w->lock);
    *counter += n;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

/* Waits until *@counter is at least @n, at most 20 s. */
static bool world_wait(struct world *w, const int *counter, int n) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_SEC;
    pthread_mutex_lock(&w->lock);
    int r = 0;
    while (*counter < n && r == 0)
        r = pthread_cond_timedwait(&w->changed, &w->lock, &until);
    bool there = *counter >= n;
    pthread_mutex_unlock(&w->lock);
    return there;
}

static int world_get(struct world *w, const int *counter) {
    pthread_mutex_lock(&w->lock);
    int n = *counter;
    pthread_mutex_unlock(&w->lock);
    return n;
}

/* ---- handlers ---- */

static void echo(struct rpc_call *c, const ProtobufCMessage *req) {
    rpc_call_reply(c, req);
}

static void inline_echo(struct rpc_call *c, const ProtobufCMessage *req) {
    struct world *w = rpc_call_app(c);
    pthread_mutex_lock(&w->lock);
    w->told_by = pthread_self();
    pthread_mutex_unlock(&w->lock);
    rpc_call_reply(c, req);
}

static void fail_again(struct rpc_call *c, const ProtobufCMessage *req) {
    struct err err = {.set = false};
    (void)req;
    err_set(&err, ERR_RECOVERABLE, EIO, "registry says: 100%% busy \xc3\xa9");
    rpc_call_fail(c, &err);
    rpc_call_reply(c, req); /* the second finish counts for nothing */
}

static void forget(struct rpc_call *c, const ProtobufCMessage *req) {
    (void)c;
    (void)req;
}

static void block(struct rpc_call *c, const ProtobufCMessage *req) {
    struct world *w = rpc_call_app(c);
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
    struct world *w = rpc_call_app(c);
    const struct call *k = rpc_call_context(c);
    world_add(w, &w->running, 1);
    int r = call_sleep(k, WAIT_SEC * US_PER_SEC);
    pthread_mutex_lock(&w->lock);
    w->deadline_us = k->deadline_us;
    w->sleep_result = r;
    pthread_mutex_unlock(&w->lock);
    world_add(w, &w->sleeps, 1);
    struct err err = {.set = false};
    if (r < 0) {
        err_set(&err, ERR_DEADLINE, -r, "woken: %s", strerror(-r));
        rpc_call_fail(c, &err);
    } else {
        rpc_call_reply(c, req);
    }
}

static void on_cancel(struct rpc_call *c, void *ctx) {
    struct world *w = ctx;
    struct err err = {.set = false};
    world_add(w, &w->cancelled, 1);
    err_set(&err, ERR_PLAIN, ECANCELED, "nobody is there");
    rpc_call_fail(c, &err);
}

static void on_release(void *ctx) {
    struct world *w = ctx;
    world_add(w, &w->released, 1);
}

static void defer(struct rpc_call *c, const ProtobufCMessage *req) {
    struct world *w = rpc_call_app(c);
    (void)req;
    rpc_call_defer(c, on_cancel, on_release, w);
    pthread_mutex_lock(&w->lock);
    w->calls[w->n_calls++] = c;
    w->running++;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void on_close(struct rpc_stream *s, void *ctx) {
    struct world *w = ctx;
    Google__Protobuf__Empty m = GOOGLE__PROTOBUF__EMPTY__INIT;
    assert_int_equal(rpc_stream_send(s, &m.base), -ECANCELED);
    world_add(w, &w->closed, 1);
}

static int on_message(struct rpc_stream *s, void *ctx, const ProtobufCMessage *msg) {
    struct world *w = ctx;
    pthread_mutex_lock(&w->lock);
    bool pause = w->pause;
    w->told_by = pthread_self();
    pthread_mutex_unlock(&w->lock);
    world_add(w, &w->messages, 1);
    if (pause)
        return -EAGAIN;
    if (!msg) {
        world_add(w, &w->ends, 1);
        rpc_stream_finish(s, NULL);
    } else {
        assert_int_equal(rpc_stream_send(s, msg), 0);
    }
    return 0;
}

static void on_room(struct rpc_stream *s, void *ctx) {
    struct world *w = ctx;
    (void)s;
    world_add(w, &w->rooms, 1);
}

static const struct rpc_stream_ops stream_ops = {on_close, on_message, on_room};

/* Keeps the stream for the test. */
static void keep(struct rpc_stream *s, const ProtobufCMessage *req) {
    struct world *w = rpc_stream_app(s);
    (void)req;
    rpc_stream_set(s, &stream_ops, w);
    pthread_mutex_lock(&w->lock);
    w->stream = rpc_stream_ref(s);
    w->running++;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

/* As many messages as the request says, then the end. */
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

/* Refuses a stream that its client goes on talking on. */
static void refuse(struct rpc_stream *s, const ProtobufCMessage *req) {
    struct world *w = rpc_stream_app(s);
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

/* ---- fixture ---- */

struct fixture {
    struct world w;
    struct rpc_service services[3];
    struct handshake_socket socket;
    struct rpc_server *server;
    pthread_t thread;
    int run_result;
    bool running;
    struct client client;
};

static void *serve(void *arg) {
    struct fixture *f = arg;
    f->run_result = rpc_server_run(f->server);
    return NULL;
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));
    struct err err = {.set = false};
    if (!f)
        return -1;
    pthread_mutex_init(&f->w.lock, NULL);
    pthread_cond_init(&f->w.changed, NULL);
    f->services[0] = (struct rpc_service){rows, ARRAY_LEN(rows), &f->w};
    f->services[1].methods = svc_go_plugin_table(&f->services[1].n_methods);
    if (handshake_socket_make(NULL, NULL, &f->socket, &err) < 0 ||
        rpc_server_new(f->socket.path, f->services, &f->server, &err) < 0) {
        print_error("%s\n", err.text);
        return -1;
    }
    f->running = true;
    pthread_create(&f->thread, NULL, serve, f);
    client_init(&f->client, f->socket.path);
    *state = f;
    return 0;
}

/* Stops the server; returns what its run did. */
static int stop(struct fixture *f) {
    if (f->running) {
        rpc_server_stop(f->server);
        pthread_join(f->thread, NULL);
        f->running = false;
    }
    return f->run_result;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    client_done(&f->client);
    if (f->w.stream)
        rpc_stream_unref(f->w.stream);
    int r = stop(f);
    if (r == 0)
        rpc_server_free(f->server);
    handshake_socket_remove(&f->socket);
    pthread_cond_destroy(&f->w.changed);
    pthread_mutex_destroy(&f->w.lock);
    free(f);
    return r;
}

static Goplugin__ConnInfo info(uint32_t id) {
    Goplugin__ConnInfo m = GOPLUGIN__CONN_INFO__INIT;
    m.service_id = id;
    return m;
}

static uint32_t take_id(ProtobufCMessage *m) {
    assert_non_null(m);
    uint32_t id = ((Goplugin__ConnInfo *)(void *)m)->service_id;
    protobuf_c_message_free_unpacked(m, NULL);
    return id;
}

static const ProtobufCMessageDescriptor *const INFO = &goplugin__conn_info__descriptor;

/* ---- unary ---- */

static void test_unary__answered(void **state) {
    struct fixture *f = *state;
    Goplugin__ConnInfo m = info(7);
    struct client_call k;
    assert_int_equal(client_unary(&f->client, &k, "/test/Echo", &m.base), GRPC_STATUS_OK);
    assert_int_equal(take_id(client_decode(&k, INFO)), 7);
    client_call_done(&k);
}

static void test_unary__8_mib__answered(void **state) {
    struct fixture *f = *state;
    size_t len = (size_t)8 << 20;
    char *big = malloc(len + 1);
    assert_non_null(big);
    memset(big, 'x', len);
    big[len] = '\0';
    Goplugin__ConnInfo m = info(1);
    m.network = big;
    struct client_call k;
    assert_int_equal(client_unary(&f->client, &k, "/test/Echo", &m.base), GRPC_STATUS_OK);
    Goplugin__ConnInfo *back = (void *)client_decode(&k, INFO);
    assert_int_equal(strlen(back->network), len);
    protobuf_c_message_free_unpacked(&back->base, NULL);
    client_call_done(&k);
    free(big);
}

/* The handler is not called. */
static void test_method__not_ready__its_error(void **state) {
    struct fixture *f = *state;
    Goplugin__ConnInfo m = info(1);
    struct client_call k;
    assert_int_equal(client_unary(&f->client, &k, "/test/NotReady", &m.base),
                     GRPC_STATUS_FAILED_PRECONDITION);
    assert_int_equal(grpc_slice_str_cmp(k.text, "not ready"), 0);
    client_call_done(&k);
    client_open(&f->client, &k, NULL, "/test/NotReadyCount", 0);
    assert_true(client_stream_start(&k, &m.base, false));
    assert_int_equal(client_status(&k), GRPC_STATUS_FAILED_PRECONDITION);
    client_call_done(&k);
}

static void test_unary__recoverable_error__details(void **state) {
    struct fixture *f = *state;
    Goplugin__ConnInfo m = info(1);
    struct client_call k;
    assert_int_equal(client_unary(&f->client, &k, "/test/Fail", &m.base),
                     GRPC_STATUS_FAILED_PRECONDITION);
    assert_int_equal(grpc_slice_str_cmp(k.text, "registry says: 100% busy \xc3\xa9"), 0);
    size_t len = 0;
    const uint8_t *details = client_trailing(&k, "grpc-status-details-bin", &len);
    assert_non_null(details);
    Google__Rpc__Status *st = google__rpc__status__unpack(NULL, len, details);
    assert_non_null(st);
    assert_int_equal(st->n_details, 1);
    google__rpc__status__free_unpacked(st, NULL);
    client_call_done(&k);
}

static void test_unary__no_answer_by_handler__unknown(void **state) {
    struct fixture *f = *state;
    Goplugin__ConnInfo m = info(1);
    struct client_call k;
    assert_int_equal(client_unary(&f->client, &k, "/test/Forget", &m.base), GRPC_STATUS_UNKNOWN);
    client_call_done(&k);
}

static void test_unary__unknown_method__unimplemented(void **state) {
    struct fixture *f = *state;
    Goplugin__ConnInfo m = info(1);
    struct client_call k;
    assert_int_equal(client_unary(&f->client, &k, "/test/Nothing", &m.base),
                     GRPC_STATUS_UNIMPLEMENTED);
    client_call_done(&k);
}

/* A Go host takes no message with broken UTF-8 in a string; bytes are anybody's. */
static void test_unary__broken_utf8__question_marks(void **state) {
    struct fixture *f = *state;
    Goplugin__ConnInfo__Knock knock = GOPLUGIN__CONN_INFO__KNOCK__INIT;
    Goplugin__ConnInfo m = info(1);
    struct client_call k;
    m.network = (char *)"docker says: \xc3\xa9\xe2\x82";
    m.address = (char *)"\xff\xc0\x80 fine";
    knock.knock = true;
    knock.error = (char *)"\xed\xa0\x80";
    m.knock = &knock;
    assert_int_equal(client_unary(&f->client, &k, "/test/Echo", &m.base), GRPC_STATUS_OK);
    Goplugin__ConnInfo *back = (void *)client_decode(&k, INFO);
    assert_string_equal(back->network, "docker says: \xc3\xa9??");
    assert_string_equal(back->address, "??? fine");
    assert_string_equal(back->knock->error, "???");
    assert_int_equal(back->service_id, 1);
    protobuf_c_message_free_unpacked(&back->base, NULL);
    client_call_done(&k);

    Goplugin__StdioData d = GOPLUGIN__STDIO_DATA__INIT;
    d.data.data = (uint8_t *)"\xff\xfe";
    d.data.len = 2;
    grpc_byte_buffer *bytes = rpc_base_encode(&d.base);
    Goplugin__StdioData *raw = (void *)rpc_base_decode(bytes, &goplugin__stdio_data__descriptor);
    assert_memory_equal(raw->data.data, "\xff\xfe", 2);
    protobuf_c_message_free_unpacked(&raw->base, NULL);
    grpc_byte_buffer_destroy(bytes);
}

static void test_unary__truncated_message__invalid(void **state) {
    struct fixture *f = *state;
    static const uint8_t cut[] = {0x12, 0x7f, 'a'}; /* network: 127 bytes, of which one is there */
    struct client_call k;
    client_open(&f->client, &k, NULL, "/test/Echo", 0);
    client_unary_start(&k, cut, sizeof(cut), true);
    client_wait(k.cq, NULL);
    assert_int_equal(k.status, GRPC_STATUS_INVALID_ARGUMENT);
    client_call_done(&k);
}

static void test_unary__no_message__invalid(void **state) {
    struct fixture *f = *state;
    struct client_call k;
    client_open(&f->client, &k, NULL, "/test/Echo", 0);
    client_unary_start(&k, NULL, 0, false);
    client_wait(k.cq, NULL);
    assert_int_equal(k.status, GRPC_STATUS_INVALID_ARGUMENT);
    client_call_done(&k);
}

static void test_unary__client_cancels__handler_wakes(void **state) {
    struct fixture *f = *state;
    struct client_call k;
    client_open(&f->client, &k, NULL, "/test/Nap", 0);
    client_unary_start(&k, "", 0, true);
    assert_true(world_wait(&f->w, &f->w.running, 1));
    grpc_call_cancel(k.call, NULL);
    client_wait(k.cq, NULL);
    assert_int_equal(k.status, GRPC_STATUS_CANCELLED);
    assert_true(world_wait(&f->w, &f->w.sleeps, 1));
    assert_int_equal(world_get(&f->w, &f->w.sleep_result), -ECANCELED);
    assert_int_equal(f->w.deadline_us, 0);
    client_call_done(&k);
}

static void test_unary__deadline__reaches_the_handler(void **state) {
    struct fixture *f = *state;
    struct client_call k;
    uint64_t before = clock_now_us();
    client_open(&f->client, &k, NULL, "/test/Nap", 300);
    client_unary_start(&k, "", 0, true);
    client_wait(k.cq, NULL);
    assert_int_equal(k.status, GRPC_STATUS_DEADLINE_EXCEEDED);
    assert_true(world_wait(&f->w, &f->w.sleeps, 1));
    assert_true(world_get(&f->w, &f->w.sleep_result) < 0);
    assert_true(f->w.deadline_us > before);
    assert_true(f->w.deadline_us < before + WAIT_SEC * US_PER_SEC);
    client_call_done(&k);
}

/* Each lane has more calls than it may have workers. The other lanes still answer, and the
 * queues go on. */
static void test_unary__lanes_are_full__others_answered(void **state) {
    struct fixture *f = *state;
    enum { N = RPC_WORKERS_IMAGES + RPC_WORKERS_EXECS + 8 };
    static struct client_call k[N];
    grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
    for (int i = 0; i < N; i++) {
        client_open(&f->client, &k[i], cq, i < RPC_WORKERS_IMAGES + 4 ? "/test/Pull" : "/test/Exec",
                    0);
        client_unary_start(&k[i], "", 0, true);
    }
    assert_true(world_wait(&f->w, &f->w.running, RPC_WORKERS_IMAGES + RPC_WORKERS_EXECS));
    Goplugin__ConnInfo m = info(9);
    for (int i = 0; i < 20; i++) {
        struct client_call quick;
        assert_int_equal(client_unary(&f->client, &quick, "/test/Echo", &m.base), GRPC_STATUS_OK);
        client_call_done(&quick);
    }
    assert_int_equal(world_get(&f->w, &f->w.running), RPC_WORKERS_IMAGES + RPC_WORKERS_EXECS);
    pthread_mutex_lock(&f->w.lock);
    f->w.release = true;
    pthread_cond_broadcast(&f->w.changed);
    pthread_mutex_unlock(&f->w.lock);
    for (int i = 0; i < N; i++) {
        assert_true(client_wait(cq, NULL));
    }
    for (int i = 0; i < N; i++) {
        assert_int_equal(k[i].status, GRPC_STATUS_OK);
        client_call_done(&k[i]);
    }
    grpc_completion_queue_shutdown(cq);
    assert_int_equal(grpc_completion_queue_next(cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type,
                     GRPC_QUEUE_SHUTDOWN);
    grpc_completion_queue_destroy(cq);
}

/* All workers are busy and more calls wait. Calls of RPC_INLINE are answered, on the rpc thread. */
static void test_unary__no_worker_left__inline_ones_answered(void **state) {
    struct fixture *f = *state;
    /* few enough to end within the stop's 1.5 s, also under a sanitizer */
    enum { N = RPC_WORKERS + 8 };
    static struct client_call k[N];
    grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
    for (int i = 0; i < N; i++) {
        client_open(&f->client, &k[i], cq, "/test/Block", 0);
        client_unary_start(&k[i], "", 0, true);
    }
    assert_true(world_wait(&f->w, &f->w.running, RPC_WORKERS));

    struct client_call c;
    Goplugin__ConnInfo m = info(9);
    assert_int_equal(client_unary(&f->client, &c, "/test/Inline", &m.base), GRPC_STATUS_OK);
    assert_int_equal(take_id(client_decode(&c, INFO)), 9);
    client_call_done(&c);
    pthread_mutex_lock(&f->w.lock);
    assert_true(pthread_equal(f->w.told_by, f->thread));
    pthread_mutex_unlock(&f->w.lock);

    m.service_id = 3;
    client_open(&f->client, &c, NULL, "/test/InlineCount", 0);
    assert_true(client_stream_start(&c, &m.base, true));
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(take_id(client_read(&c, INFO)), i);
    assert_int_equal(client_status(&c), GRPC_STATUS_OK);
    client_call_done(&c);
    assert_true(world_wait(&f->w, &f->w.closed, 1));

    client_open(&f->client, &c, NULL, "/test/InlineTalk", 0);
    assert_true(client_stream_start(&c, &m.base, false));
    assert_true(client_send(&c, &m.base));
    assert_int_equal(take_id(client_read(&c, INFO)), 3);
    assert_true(client_send_close(&c));
    assert_int_equal(client_status(&c), GRPC_STATUS_OK);
    client_call_done(&c);
    assert_true(world_wait(&f->w, &f->w.closed, 2));

    Goplugin__Empty none = GOPLUGIN__EMPTY__INIT;
    assert_int_equal(client_unary(&f->client, &c, "/plugin.GRPCController/Shutdown", &none.base),
                     GRPC_STATUS_OK);
    client_call_done(&c);
    pthread_mutex_lock(&f->w.lock);
    f->w.release = true;
    pthread_cond_broadcast(&f->w.changed);
    pthread_mutex_unlock(&f->w.lock);
    for (int i = 0; i < N; i++)
        client_wait(cq, NULL);
    for (int i = 0; i < N; i++)
        client_call_done(&k[i]);
    grpc_completion_queue_shutdown(cq);
    assert_int_equal(grpc_completion_queue_next(cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type,
                     GRPC_QUEUE_SHUTDOWN);
    grpc_completion_queue_destroy(cq);
}

/* ---- deferred ---- */

#define DEFERRED 400 /* ended within the stop's 1.5 s also under a sanitizer */

static void test_defer__hundreds_at_once__all_answered(void **state) {
    struct fixture *f = *state;
    static struct client_call k[DEFERRED];
    grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
    for (int i = 0; i < DEFERRED; i++) {
        client_open(&f->client, &k[i], cq, "/test/Defer", 0);
        client_unary_start(&k[i], "", 0, true);
    }
    assert_true(world_wait(&f->w, &f->w.running, DEFERRED));
    /* All are open; half of them end by an answer, half by the client. */
    for (int i = 0; i < DEFERRED; i += 2)
        grpc_call_cancel(k[i].call, NULL);
    assert_true(world_wait(&f->w, &f->w.cancelled, DEFERRED / 2));
    assert_true(world_wait(&f->w, &f->w.released, DEFERRED / 2));
    client_done(&f->client); /* the channel may go before its calls */
    client_init(&f->client, f->socket.path);
    assert_int_equal(stop(f), 0); /* the rest: told that the server stops */
    assert_int_equal(world_get(&f->w, &f->w.cancelled), DEFERRED);
    assert_int_equal(world_get(&f->w, &f->w.released), DEFERRED);
    int cancelled = 0, unavailable = 0;
    for (int i = 0; i < DEFERRED; i++)
        client_wait(cq, NULL);
    for (int i = 0; i < DEFERRED; i++) {
        cancelled += k[i].status == GRPC_STATUS_CANCELLED;
        unavailable += k[i].status == GRPC_STATUS_UNAVAILABLE;
        client_call_done(&k[i]);
    }
    assert_int_equal(cancelled, DEFERRED / 2);
    assert_int_equal(unavailable, DEFERRED / 2); /* never a made-up answer */
    grpc_completion_queue_shutdown(cq);
    grpc_completion_queue_next(cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_completion_queue_destroy(cq);
}

static void *answer_all(void *arg) {
    struct world *w = arg;
    for (size_t i = 0; i < w->n_calls; i++) {
        Goplugin__ConnInfo m = info((uint32_t)i);
        rpc_call_reply(w->calls[i], &m.base);
    }
    return NULL;
}

static void test_defer__answered_by_another_thread(void **state) {
    struct fixture *f = *state;
    static struct client_call k[DEFERRED];
    grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
    for (int i = 0; i < DEFERRED; i++) {
        client_open(&f->client, &k[i], cq, "/test/Defer", 0);
        client_unary_start(&k[i], "", 0, true);
    }
    assert_true(world_wait(&f->w, &f->w.running, DEFERRED));
    pthread_t t;
    pthread_create(&t, NULL, answer_all, &f->w);
    static bool seen[DEFERRED];
    memset(seen, 0, sizeof(seen));
    for (int i = 0; i < DEFERRED; i++) {
        void *tag;
        assert_true(client_wait(cq, &tag));
        struct client_call *one = tag;
        assert_int_equal(one->status, GRPC_STATUS_OK);
        seen[take_id(client_decode(one, INFO))] = true;
        client_call_done(one);
    }
    pthread_join(t, NULL);
    for (int i = 0; i < DEFERRED; i++)
        assert_true(seen[i]);
    assert_true(world_wait(&f->w, &f->w.released, DEFERRED));
    assert_int_equal(world_get(&f->w, &f->w.cancelled), 0);
    grpc_completion_queue_shutdown(cq);
    grpc_completion_queue_next(cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_completion_queue_destroy(cq);
}

/* ---- streams ---- */

static void test_stream__client_cancels__closed_once(void **state) {
    struct fixture *f = *state;
    Goplugin__ConnInfo m = info(1);
    struct client_call k;
    client_open(&f->client, &k, NULL, "/test/Keep", 0);
    assert_true(client_stream_start(&k, &m.base, true));
    assert_true(world_wait(&f->w, &f->w.running, 1));
    assert_int_equal(rpc_stream_send(f->w.stream, &m.base), 0);
    assert_int_equal(take_id(client_read(&k, INFO)), 1);
    grpc_call_cancel(k.call, NULL);
    assert_true(world_wait(&f->w, &f->w.closed, 1));
    assert_int_equal(rpc_stream_send(f->w.stream, &m.base), -ECANCELED); /* late senders are safe */
    rpc_stream_finish(f->w.stream, NULL);
    assert_int_equal(client_status(&k), GRPC_STATUS_CANCELLED);
    client_call_done(&k);
    f->w.stream = rpc_stream_unref(f->w.stream);
    assert_int_equal(stop(f), 0);
    assert_int_equal(f->w.closed, 1);
}

static void test_stream__messages_then_end__in_order(void **state) {
    struct fixture *f = *state;
    Goplugin__ConnInfo m = info(200);
    struct client_call k;
    client_open(&f->client, &k, NULL, "/test/Count", 0);
    assert_true(client_stream_start(&k, &m.base, true));
    for (uint32_t i = 0; i < 200; i++)
        assert_int_equal(take_id(client_read(&k, INFO)), i);
    assert_null(client_read(&k, INFO));
    assert_int_equal(client_status(&k), GRPC_STATUS_OK);
    assert_true(world_wait(&f->w, &f->w.closed, 1));
    client_call_done(&k);
}

static void test_stream__client_does_not_read__refused_then_room(void **state) {
    struct fixture *f = *state;
    Goplugin__ConnInfo m = info(1);
    struct client_call k;
    client_open(&f->client, &k, NULL, "/test/Keep", 0);
    assert_true(client_stream_start(&k, &m.base, true));
    assert_true(world_wait(&f->w, &f->w.running, 1));

    char chunk[65537];
    memset(chunk, 'y', sizeof(chunk) - 1);
    chunk[sizeof(chunk) - 1] = '\0';
    m.network = chunk;
    uint32_t sent = 0;
    int r = 0;
    for (; sent < 100000 && r == 0; sent += r == 0) {
        m.service_id = sent;
        r = rpc_stream_send(f->w.stream, &m.base);
    }
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(world_get(&f->w, &f->w.rooms), 0);
    for (uint32_t i = 0; i < sent; i++)
        assert_int_equal(take_id(client_read(&k, INFO)), i);
    assert_true(world_wait(&f->w, &f->w.rooms, 1));
    m.service_id = sent;
    assert_int_equal(rpc_stream_send(f->w.stream, &m.base), 0);
    rpc_stream_finish(f->w.stream, NULL);
    assert_int_equal(rpc_stream_send(f->w.stream, &m.base), -ECANCELED);
    assert_int_equal(take_id(client_read(&k, INFO)), sent);
    assert_int_equal(client_status(&k), GRPC_STATUS_OK);
    assert_true(world_wait(&f->w, &f->w.closed, 1));
    client_call_done(&k);
}

static void test_bidi__talk_and_pause(void **state) {
    struct fixture *f = *state;
    Goplugin__ConnInfo m = info(0);
    struct client_call k;
    client_open(&f->client, &k, NULL, "/test/Talk", 0);
    assert_true(client_stream_start(&k, &m.base, false));
    assert_true(world_wait(&f->w, &f->w.running, 1));
    for (uint32_t i = 1; i < 50; i++) {
        m.service_id = i;
        assert_true(client_send(&k, &m.base));
        assert_int_equal(take_id(client_read(&k, INFO)), i);
    }
    pthread_mutex_lock(&f->w.lock);
    f->w.pause = true;
    int before = f->w.messages;
    pthread_mutex_unlock(&f->w.lock);
    m.service_id = 50;
    assert_true(client_send(&k, &m.base));
    assert_true(world_wait(&f->w, &f->w.messages, before + 1));
    struct client_call other; /* answered: the callback has returned */
    assert_int_equal(client_unary(&f->client, &other, "/test/Echo", &m.base), GRPC_STATUS_OK);
    client_call_done(&other);
    pthread_mutex_lock(&f->w.lock);
    f->w.pause = false;
    pthread_mutex_unlock(&f->w.lock);
    rpc_stream_resume(f->w.stream);
    assert_int_equal(take_id(client_read(&k, INFO)), 50);
    assert_int_equal(world_get(&f->w, &f->w.messages), before + 2); /* offered twice, no more */
    /* Whoever resumes may hold what on_close takes. */
    pthread_mutex_lock(&f->w.lock);
    bool by_us = pthread_equal(f->w.told_by, pthread_self());
    pthread_mutex_unlock(&f->w.lock);
    assert_false(by_us);

    assert_true(client_send_close(&k));
    assert_int_equal(client_status(&k), GRPC_STATUS_OK);
    assert_true(world_wait(&f->w, &f->w.closed, 1));
    assert_int_equal(world_get(&f->w, &f->w.ends), 1);
    client_call_done(&k);
}

/* A message for a stream that was finished is dropped, because the owner of the stream may
 * not exist. */
static void test_bidi__finished__no_message_is_told(void **state) {
    struct fixture *f = *state;
    enum { N = 50 };
    static struct client_call k[N];
    Goplugin__ConnInfo m = info(0);
    for (int i = 0; i < N; i++) {
        client_open(&f->client, &k[i], NULL, "/test/Refuse", 0);
        assert_true(client_stream_start(&k[i], &m.base, false));
        assert_true(client_send(&k[i], &m.base));
    }
    assert_true(world_wait(&f->w, &f->w.running, N));
    pthread_mutex_lock(&f->w.lock);
    f->w.release = true;
    pthread_cond_broadcast(&f->w.changed);
    pthread_mutex_unlock(&f->w.lock);
    for (int i = 0; i < N; i++) {
        assert_int_equal(client_status(&k[i]), GRPC_STATUS_NOT_FOUND);
        client_call_done(&k[i]);
    }
    assert_true(world_wait(&f->w, &f->w.closed, N));
    assert_int_equal(world_get(&f->w, &f->w.messages), 0);
}

static void test_stream__no_message__invalid(void **state) {
    struct fixture *f = *state;
    struct client_call k;
    client_open(&f->client, &k, NULL, "/test/Keep", 0);
    assert_true(client_stream_start(&k, NULL, true));
    assert_int_equal(client_status(&k), GRPC_STATUS_INVALID_ARGUMENT);
    client_call_done(&k);
}

/* ---- go-plugin's ---- */

static int health(struct fixture *f, const char *service) {
    Health__HealthCheckRequest m = HEALTH__HEALTH_CHECK_REQUEST__INIT;
    m.service = (char *)service;
    struct client_call k;
    int status = client_unary(&f->client, &k, "/grpc.health.v1.Health/Check", &m.base);
    if (status == GRPC_STATUS_OK) {
        Health__HealthCheckResponse *out =
            (void *)client_decode(&k, &health__health_check_response__descriptor);
        assert_int_equal(out->status, HEALTH__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
        health__health_check_response__free_unpacked(out, NULL);
    }
    client_call_done(&k);
    return status;
}

static void test_health(void **state) {
    assert_int_equal(health(*state, "plugin"), GRPC_STATUS_OK);
    assert_int_equal(health(*state, ""), GRPC_STATUS_OK);
    assert_int_equal(health(*state, "other"), GRPC_STATUS_NOT_FOUND);
}

/* With the two streams that a host always holds open. */
static void test_shutdown__answered_then_the_end(void **state) {
    struct fixture *f = *state;
    Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
    Goplugin__ConnInfo knock = info(1);
    struct client_call stdio, broker, k;
    client_open(&f->client, &stdio, NULL, "/plugin.GRPCStdio/StreamStdio", 0);
    assert_true(client_stream_start(&stdio, &empty.base, true));
    client_open(&f->client, &broker, NULL, "/plugin.GRPCBroker/StartStream", 0);
    assert_true(client_stream_start(&broker, &knock.base, false));
    assert_true(client_send(&broker, &knock.base));

    Goplugin__Empty m = GOPLUGIN__EMPTY__INIT;
    assert_int_equal(client_unary(&f->client, &k, "/plugin.GRPCController/Shutdown", &m.base),
                     GRPC_STATUS_OK);
    client_call_done(&k);
    pthread_join(f->thread, NULL); /* by itself; CTest has the deadline */
    f->running = false;
    assert_int_equal(f->run_result, 0);
    assert_int_equal(client_status(&stdio), GRPC_STATUS_UNAVAILABLE);
    assert_int_equal(client_status(&broker), GRPC_STATUS_UNAVAILABLE);
    client_call_done(&stdio);
    client_call_done(&broker);
    struct stat st;
    assert_int_equal(stat(f->socket.path, &st), -1); /* the socket is gone */
}

/* ---- the end ---- */

static void test_stop__handler_that_listens__ends(void **state) {
    struct fixture *f = *state;
    struct client_call k;
    client_open(&f->client, &k, NULL, "/test/Nap", 0);
    client_unary_start(&k, "", 0, true);
    assert_true(world_wait(&f->w, &f->w.running, 1));
    assert_int_equal(stop(f), 0);
    assert_int_equal(world_get(&f->w, &f->w.sleep_result), -ECANCELED);
    client_wait(k.cq, NULL);
    assert_int_equal(k.status, GRPC_STATUS_UNAVAILABLE);
    client_call_done(&k);
}

static void test_stop__handler_that_hangs__timeout(void **state) {
    struct fixture *f = *state;
    struct client_call k;
    client_open(&f->client, &k, NULL, "/test/Pull", 0);
    client_unary_start(&k, "", 0, true);
    assert_true(world_wait(&f->w, &f->w.running, 1));
    uint64_t before = clock_now_us();
    assert_int_equal(stop(f), -ETIMEDOUT);
    assert_true(clock_now_us() - before < 10 * US_PER_SEC);
    client_wait(k.cq, NULL);
    client_call_done(&k);
    /* So that the test leaks nothing. */
    pthread_mutex_lock(&f->w.lock);
    f->w.release = true;
    pthread_cond_broadcast(&f->w.changed);
    pthread_mutex_unlock(&f->w.lock);
    do
        f->run_result = rpc_server_run(f->server);
    while (f->run_result < 0 && clock_now_us() - before < WAIT_SEC * US_PER_SEC);
    assert_int_equal(f->run_result, 0);
}

static void test_new__path_too_long__einval(void **state) {
    char path[200];
    struct rpc_server *s = NULL;
    struct err err = {.set = false};
    (void)state;
    memset(path, 'a', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    struct rpc_service none = {.methods = NULL};
    assert_int_equal(rpc_server_new(path, &none, &s, &err), -EINVAL);
    assert_null(s);
    assert_true(err.set);
}

static void test_new__folder_missing__fails(void **state) {
    struct rpc_server *s = NULL;
    struct rpc_service none = {.methods = NULL};
    (void)state;
    assert_int_equal(rpc_server_new("/nonexistent/x.sock", &none, &s, NULL), -EADDRINUSE);
    assert_null(s);
}

/* A folder's name is no part of a URI: the socket is made where the path says, and answers. */
static void test_new__percent_and_other_signs_in_the_path__listens_there(void **state) {
    struct handshake_socket socket;
    struct rpc_server *s = NULL;
    struct rpc_service none = {.methods = NULL};
    char parent[] = "/tmp/rpc-test-XXXXXX", odd[64];
    struct stat st;
    (void)state;
    assert_non_null(mkdtemp(parent));
    snprintf(odd, sizeof(odd), "%s/a%%41 #?b\xc3\xa9", parent);
    assert_int_equal(mkdir(odd, 0700), 0);
    assert_int_equal(handshake_socket_make(odd, NULL, &socket, NULL), 0);
    assert_int_equal(rpc_server_new(socket.path, &none, &s, NULL), 0);
    assert_int_equal(stat(socket.path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    rpc_server_free(s);
    handshake_socket_remove(&socket);
    assert_int_equal(rmdir(odd), 0);
    assert_int_equal(rmdir(parent), 0);
}

static void test_free__never_run(void **state) {
    struct handshake_socket socket;
    struct rpc_server *s = NULL;
    struct rpc_service none = {.methods = NULL};
    (void)state;
    assert_int_equal(handshake_socket_make(NULL, NULL, &socket, NULL), 0);
    assert_int_equal(rpc_server_new(socket.path, &none, &s, NULL), 0);
    rpc_server_free(s);
    handshake_socket_remove(&socket);
}

int main(int argc, char **argv) {
#define WITH(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH(test_unary__answered),
        WITH(test_unary__8_mib__answered),
        WITH(test_method__not_ready__its_error),
        WITH(test_unary__recoverable_error__details),
        WITH(test_unary__no_answer_by_handler__unknown),
        WITH(test_unary__unknown_method__unimplemented),
        WITH(test_unary__broken_utf8__question_marks),
        WITH(test_unary__truncated_message__invalid),
        WITH(test_unary__no_message__invalid),
        WITH(test_unary__client_cancels__handler_wakes),
        WITH(test_unary__deadline__reaches_the_handler),
        WITH(test_unary__lanes_are_full__others_answered),
        WITH(test_unary__no_worker_left__inline_ones_answered),
        WITH(test_defer__hundreds_at_once__all_answered),
        WITH(test_defer__answered_by_another_thread),
        WITH(test_stream__client_cancels__closed_once),
        WITH(test_stream__messages_then_end__in_order),
        WITH(test_stream__client_does_not_read__refused_then_room),
        WITH(test_bidi__finished__no_message_is_told),
        WITH(test_stream__no_message__invalid),
        WITH(test_bidi__talk_and_pause),
        WITH(test_health),
        WITH(test_shutdown__answered_then_the_end),
        WITH(test_stop__handler_that_listens__ends),
        WITH(test_stop__handler_that_hangs__timeout),
        cmocka_unit_test(test_new__path_too_long__einval),
        cmocka_unit_test(test_new__folder_missing__fails),
        cmocka_unit_test(test_new__percent_and_other_signs_in_the_path__listens_there),
        cmocka_unit_test(test_free__never_run),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    grpc_init(); /* held over all tests: the library's threads are started once */
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    grpc_shutdown();
    return r;
}
