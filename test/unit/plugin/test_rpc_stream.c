/* SPDX-License-Identifier: MPL-2.0 */
/* Streams of the server with a real gRPC client: order, a client that does not read or does not
 * stop, and the end of a stream. */
#include "unit/plugin/rpc_world.h"

#include <string.h>

static void test_stream__client_cancels__closed_once(void **state) {
    struct rpc_world *w = *state;
    Goplugin__ConnInfo m = rpc_world_message(1);
    struct client_call k;
    client_open(&w->client, &k, NULL, "/test/Keep", 0);
    assert_true(client_stream_start(&k, &m.base, true));
    assert_true(rpc_world_wait(w, &w->running, 1));
    assert_int_equal(rpc_stream_send(w->stream, &m.base), 0);
    assert_int_equal(rpc_world_take_id(client_read(&k, RPC_WORLD_MESSAGE)), 1);
    grpc_call_cancel(k.call, NULL);
    assert_true(rpc_world_wait(w, &w->closed, 1));
    assert_int_equal(rpc_stream_send(w->stream, &m.base), -ECANCELED); /* a late send is safe */
    rpc_stream_finish(w->stream, NULL);
    assert_int_equal(client_status(&k), GRPC_STATUS_CANCELLED);
    client_call_done(&k);
    w->stream = rpc_stream_unref(w->stream);
    assert_int_equal(rpc_world_end(w), 0);
    assert_int_equal(w->closed, 1);
}

static void test_stream__messages_then_end__in_order(void **state) {
    struct rpc_world *w = *state;
    Goplugin__ConnInfo m = rpc_world_message(200);
    struct client_call k;
    client_open(&w->client, &k, NULL, "/test/Count", 0);
    assert_true(client_stream_start(&k, &m.base, true));
    for (uint32_t i = 0; i < 200; i++)
        assert_int_equal(rpc_world_take_id(client_read(&k, RPC_WORLD_MESSAGE)), i);
    assert_null(client_read(&k, RPC_WORLD_MESSAGE));
    assert_int_equal(client_status(&k), GRPC_STATUS_OK);
    assert_true(rpc_world_wait(w, &w->closed, 1));
    client_call_done(&k);
}

static void test_stream__client_does_not_read__refused_then_room(void **state) {
    struct rpc_world *w = *state;
    Goplugin__ConnInfo m = rpc_world_message(1);
    struct client_call k;
    client_open(&w->client, &k, NULL, "/test/Keep", 0);
    assert_true(client_stream_start(&k, &m.base, true));
    assert_true(rpc_world_wait(w, &w->running, 1));

    char chunk[65537];
    memset(chunk, 'y', sizeof(chunk) - 1);
    chunk[sizeof(chunk) - 1] = '\0';
    m.network = chunk;
    uint32_t sent = 0;
    int r = 0;
    for (; sent < 100000 && r == 0; sent += r == 0) {
        m.service_id = sent;
        r = rpc_stream_send(w->stream, &m.base);
    }
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(rpc_world_get(w, &w->rooms), 0);
    for (uint32_t i = 0; i < sent; i++)
        assert_int_equal(rpc_world_take_id(client_read(&k, RPC_WORLD_MESSAGE)), i);
    assert_true(rpc_world_wait(w, &w->rooms, 1));
    m.service_id = sent;
    assert_int_equal(rpc_stream_send(w->stream, &m.base), 0);
    rpc_stream_finish(w->stream, NULL);
    assert_int_equal(rpc_stream_send(w->stream, &m.base), -ECANCELED);
    assert_int_equal(rpc_world_take_id(client_read(&k, RPC_WORLD_MESSAGE)), sent);
    assert_int_equal(client_status(&k), GRPC_STATUS_OK);
    assert_true(rpc_world_wait(w, &w->closed, 1));
    client_call_done(&k);
}

static void test_bidi__talk_and_pause(void **state) {
    struct rpc_world *w = *state;
    Goplugin__ConnInfo m = rpc_world_message(0);
    struct client_call k;
    client_open(&w->client, &k, NULL, "/test/Talk", 0);
    assert_true(client_stream_start(&k, &m.base, false));
    assert_true(rpc_world_wait(w, &w->running, 1));
    for (uint32_t i = 1; i < 50; i++) {
        m.service_id = i;
        assert_true(client_send(&k, &m.base));
        assert_int_equal(rpc_world_take_id(client_read(&k, RPC_WORLD_MESSAGE)), i);
    }
    pthread_mutex_lock(&w->lock);
    w->pause = true;
    int before = w->messages;
    pthread_mutex_unlock(&w->lock);
    m.service_id = 50;
    assert_true(client_send(&k, &m.base));
    assert_true(rpc_world_wait(w, &w->messages, before + 1));
    struct client_call other; /* when this call is answered, the callback has returned */
    assert_int_equal(client_unary(&w->client, &other, "/test/Echo", &m.base), GRPC_STATUS_OK);
    client_call_done(&other);
    pthread_mutex_lock(&w->lock);
    w->pause = false;
    pthread_mutex_unlock(&w->lock);
    rpc_stream_resume(w->stream);
    assert_int_equal(rpc_world_take_id(client_read(&k, RPC_WORLD_MESSAGE)), 50);
    assert_int_equal(rpc_world_get(w, &w->messages), before + 2); /* offered exactly twice */
    /* The caller of rpc_stream_resume() may hold a lock that on_close takes. */
    pthread_mutex_lock(&w->lock);
    bool by_us = pthread_equal(w->callback_thread, pthread_self());
    pthread_mutex_unlock(&w->lock);
    assert_false(by_us);

    assert_true(client_send_close(&k));
    assert_int_equal(client_status(&k), GRPC_STATUS_OK);
    assert_true(rpc_world_wait(w, &w->closed, 1));
    assert_int_equal(rpc_world_get(w, &w->ends), 1);
    client_call_done(&k);
}

/* A message for a finished stream is dropped, because the owner of the stream may be freed. */
static void test_bidi__finished__messages_are_dropped(void **state) {
    struct rpc_world *w = *state;
    enum { N = 50 };
    static struct client_call k[N];
    Goplugin__ConnInfo m = rpc_world_message(0);
    for (int i = 0; i < N; i++) {
        client_open(&w->client, &k[i], NULL, "/test/Refuse", 0);
        assert_true(client_stream_start(&k[i], &m.base, false));
        assert_true(client_send(&k[i], &m.base));
    }
    assert_true(rpc_world_wait(w, &w->running, N));
    rpc_world_release(w);
    for (int i = 0; i < N; i++) {
        assert_int_equal(client_status(&k[i]), GRPC_STATUS_NOT_FOUND);
        client_call_done(&k[i]);
    }
    assert_true(rpc_world_wait(w, &w->closed, N));
    assert_int_equal(rpc_world_get(w, &w->messages), 0);
}

static void test_stream__no_message__invalid(void **state) {
    struct rpc_world *w = *state;
    struct client_call k;
    client_open(&w->client, &k, NULL, "/test/Keep", 0);
    assert_true(client_stream_start(&k, NULL, true));
    assert_int_equal(client_status(&k), GRPC_STATUS_INVALID_ARGUMENT);
    client_call_done(&k);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        RPC_WORLD_TEST(test_stream__client_cancels__closed_once),
        RPC_WORLD_TEST(test_stream__messages_then_end__in_order),
        RPC_WORLD_TEST(test_stream__client_does_not_read__refused_then_room),
        RPC_WORLD_TEST(test_bidi__talk_and_pause),
        RPC_WORLD_TEST(test_bidi__finished__messages_are_dropped),
        RPC_WORLD_TEST(test_stream__no_message__invalid),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, rpc_world_group_setup, rpc_world_group_teardown);
}
