/* SPDX-License-Identifier: MPL-2.0 */
/* Unary calls of the server with a real gRPC client, in one process over a real socket: answers,
 * errors, deadlines, cancels, the lanes of the workers, and calls that are answered later. */
#include "unit/plugin/rpc_world.h"

#include "paddock/clock.h"
#include "plugin/rpc_base.h"

#include "google/status.pb-c.h"

#include <string.h>

/* ---- One call ---- */

static void test_unary__answered(void **state) {
    struct rpc_world *w = *state;
    Goplugin__ConnInfo m = rpc_world_message(7);
    struct client_call k;
    assert_int_equal(client_unary(&w->client, &k, "/test/Echo", &m.base), GRPC_STATUS_OK);
    assert_int_equal(rpc_world_take_id(client_decode(&k, RPC_WORLD_MESSAGE)), 7);
    client_call_done(&k);
}

static void test_unary__8_mib__answered(void **state) {
    struct rpc_world *w = *state;
    size_t len = (size_t)8 << 20;
    char *big = malloc(len + 1);
    assert_non_null(big);
    memset(big, 'x', len);
    big[len] = '\0';
    Goplugin__ConnInfo m = rpc_world_message(1);
    m.network = big;
    struct client_call k;
    assert_int_equal(client_unary(&w->client, &k, "/test/Echo", &m.base), GRPC_STATUS_OK);
    Goplugin__ConnInfo *back = (void *)client_decode(&k, RPC_WORLD_MESSAGE);
    assert_int_equal(strlen(back->network), len);
    protobuf_c_message_free_unpacked(&back->base, NULL);
    client_call_done(&k);
    free(big);
}

/* The handler is not called. */
static void test_method__not_ready__its_error(void **state) {
    struct rpc_world *w = *state;
    Goplugin__ConnInfo m = rpc_world_message(1);
    struct client_call k;
    assert_int_equal(client_unary(&w->client, &k, "/test/NotReady", &m.base),
                     GRPC_STATUS_FAILED_PRECONDITION);
    assert_int_equal(grpc_slice_str_cmp(k.text, "not ready"), 0);
    client_call_done(&k);
    client_open(&w->client, &k, NULL, "/test/NotReadyCount", 0);
    assert_true(client_stream_start(&k, &m.base, false));
    assert_int_equal(client_status(&k), GRPC_STATUS_FAILED_PRECONDITION);
    client_call_done(&k);
}

static void test_unary__recoverable_error__details(void **state) {
    struct rpc_world *w = *state;
    Goplugin__ConnInfo m = rpc_world_message(1);
    struct client_call k;
    assert_int_equal(client_unary(&w->client, &k, "/test/Fail", &m.base),
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
    struct rpc_world *w = *state;
    Goplugin__ConnInfo m = rpc_world_message(1);
    struct client_call k;
    assert_int_equal(client_unary(&w->client, &k, "/test/Forget", &m.base), GRPC_STATUS_UNKNOWN);
    client_call_done(&k);
}

static void test_unary__unknown_method__unimplemented(void **state) {
    struct rpc_world *w = *state;
    Goplugin__ConnInfo m = rpc_world_message(1);
    struct client_call k;
    assert_int_equal(client_unary(&w->client, &k, "/test/Nothing", &m.base),
                     GRPC_STATUS_UNIMPLEMENTED);
    client_call_done(&k);
}

/* A Go host refuses a message with broken UTF-8 in a string. Bytes may have any content. */
static void test_unary__broken_utf8__question_marks(void **state) {
    struct rpc_world *w = *state;
    Goplugin__ConnInfo__Knock knock = GOPLUGIN__CONN_INFO__KNOCK__INIT;
    Goplugin__ConnInfo m = rpc_world_message(1);
    struct client_call k;
    m.network = (char *)"docker says: \xc3\xa9\xe2\x82";
    m.address = (char *)"\xff\xc0\x80 fine";
    knock.knock = true;
    knock.error = (char *)"\xed\xa0\x80";
    m.knock = &knock;
    assert_int_equal(client_unary(&w->client, &k, "/test/Echo", &m.base), GRPC_STATUS_OK);
    Goplugin__ConnInfo *back = (void *)client_decode(&k, RPC_WORLD_MESSAGE);
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
    struct rpc_world *w = *state;
    static const uint8_t cut[] = {0x12, 0x7f, 'a'}; /* network: 127 bytes; only one follows */
    struct client_call k;
    client_open(&w->client, &k, NULL, "/test/Echo", 0);
    client_unary_start(&k, cut, sizeof(cut), true);
    client_wait(k.cq, NULL);
    assert_int_equal(k.status, GRPC_STATUS_INVALID_ARGUMENT);
    client_call_done(&k);
}

static void test_unary__no_message__invalid(void **state) {
    struct rpc_world *w = *state;
    struct client_call k;
    client_open(&w->client, &k, NULL, "/test/Echo", 0);
    client_unary_start(&k, NULL, 0, false);
    client_wait(k.cq, NULL);
    assert_int_equal(k.status, GRPC_STATUS_INVALID_ARGUMENT);
    client_call_done(&k);
}

static void test_unary__client_cancels__handler_wakes(void **state) {
    struct rpc_world *w = *state;
    struct client_call k;
    client_open(&w->client, &k, NULL, "/test/Nap", 0);
    client_unary_start(&k, "", 0, true);
    assert_true(rpc_world_wait(w, &w->running, 1));
    grpc_call_cancel(k.call, NULL);
    client_wait(k.cq, NULL);
    assert_int_equal(k.status, GRPC_STATUS_CANCELLED);
    assert_true(rpc_world_wait(w, &w->sleeps, 1));
    assert_int_equal(rpc_world_get(w, &w->sleep_result), -ECANCELED);
    assert_int_equal(w->deadline_us, 0);
    client_call_done(&k);
}

static void test_unary__deadline__reaches_the_handler(void **state) {
    struct rpc_world *w = *state;
    struct client_call k;
    uint64_t before = clock_now_us();
    client_open(&w->client, &k, NULL, "/test/Nap", 300);
    client_unary_start(&k, "", 0, true);
    client_wait(k.cq, NULL);
    assert_int_equal(k.status, GRPC_STATUS_DEADLINE_EXCEEDED);
    assert_true(rpc_world_wait(w, &w->sleeps, 1));
    assert_true(rpc_world_get(w, &w->sleep_result) < 0);
    assert_true(w->deadline_us > before);
    assert_true(w->deadline_us < before + RPC_WORLD_WAIT_SEC * US_PER_SEC);
    client_call_done(&k);
}

/* Two lanes have more calls than workers. Calls of the other lanes are still answered, and the
 * waiting calls get a worker when one is free. */
static void test_unary__lanes_are_full__others_answered(void **state) {
    struct rpc_world *w = *state;
    enum { N = RPC_WORKERS_IMAGES + RPC_WORKERS_EXECS + 8 };
    static struct client_call k[N];
    grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
    for (int i = 0; i < N; i++) {
        client_open(&w->client, &k[i], cq, i < RPC_WORKERS_IMAGES + 4 ? "/test/Pull" : "/test/Exec",
                    0);
        client_unary_start(&k[i], "", 0, true);
    }
    assert_true(rpc_world_wait(w, &w->running, RPC_WORKERS_IMAGES + RPC_WORKERS_EXECS));
    Goplugin__ConnInfo m = rpc_world_message(9);
    for (int i = 0; i < 20; i++) {
        struct client_call quick;
        assert_int_equal(client_unary(&w->client, &quick, "/test/Echo", &m.base), GRPC_STATUS_OK);
        client_call_done(&quick);
    }
    assert_int_equal(rpc_world_get(w, &w->running), RPC_WORKERS_IMAGES + RPC_WORKERS_EXECS);
    rpc_world_release(w);
    for (int i = 0; i < N; i++) {
        assert_true(client_wait(cq, NULL));
    }
    for (int i = 0; i < N; i++) {
        assert_int_equal(k[i].status, GRPC_STATUS_OK);
        client_call_done(&k[i]);
    }
    assert_true(client_queue_done(cq));
}

/* All workers are busy and more calls wait. Calls of RPC_INLINE are answered, on the rpc thread. */
static void test_unary__no_worker_left__inline_ones_answered(void **state) {
    struct rpc_world *w = *state;
    /* few enough to end within the 1.5 s of a stop, even with a sanitizer */
    enum { N = RPC_WORKERS + 8 };
    static struct client_call k[N];
    grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
    for (int i = 0; i < N; i++) {
        client_open(&w->client, &k[i], cq, "/test/Block", 0);
        client_unary_start(&k[i], "", 0, true);
    }
    assert_true(rpc_world_wait(w, &w->running, RPC_WORKERS));

    struct client_call c;
    Goplugin__ConnInfo m = rpc_world_message(9);
    assert_int_equal(client_unary(&w->client, &c, "/test/Inline", &m.base), GRPC_STATUS_OK);
    assert_int_equal(rpc_world_take_id(client_decode(&c, RPC_WORLD_MESSAGE)), 9);
    client_call_done(&c);
    pthread_mutex_lock(&w->lock);
    assert_true(pthread_equal(w->callback_thread, w->thread));
    pthread_mutex_unlock(&w->lock);

    m.service_id = 3;
    client_open(&w->client, &c, NULL, "/test/InlineCount", 0);
    assert_true(client_stream_start(&c, &m.base, true));
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(rpc_world_take_id(client_read(&c, RPC_WORLD_MESSAGE)), i);
    assert_int_equal(client_status(&c), GRPC_STATUS_OK);
    client_call_done(&c);
    assert_true(rpc_world_wait(w, &w->closed, 1));

    client_open(&w->client, &c, NULL, "/test/InlineTalk", 0);
    assert_true(client_stream_start(&c, &m.base, false));
    assert_true(client_send(&c, &m.base));
    assert_int_equal(rpc_world_take_id(client_read(&c, RPC_WORLD_MESSAGE)), 3);
    assert_true(client_send_close(&c));
    assert_int_equal(client_status(&c), GRPC_STATUS_OK);
    client_call_done(&c);
    assert_true(rpc_world_wait(w, &w->closed, 2));

    Goplugin__Empty none = GOPLUGIN__EMPTY__INIT;
    assert_int_equal(client_unary(&w->client, &c, "/plugin.GRPCController/Shutdown", &none.base),
                     GRPC_STATUS_OK);
    client_call_done(&c);
    rpc_world_release(w);
    for (int i = 0; i < N; i++)
        client_wait(cq, NULL);
    for (int i = 0; i < N; i++)
        client_call_done(&k[i]);
    assert_true(client_queue_done(cq));
}

/* ---- Deferred calls ---- */

#define DEFERRED 400 /* they end within the 1.5 s of a stop, even with a sanitizer */

static void test_defer__hundreds_at_a_time__all_answered(void **state) {
    struct rpc_world *w = *state;
    static struct client_call k[DEFERRED];
    grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
    for (int i = 0; i < DEFERRED; i++) {
        client_open(&w->client, &k[i], cq, "/test/Defer", 0);
        client_unary_start(&k[i], "", 0, true);
    }
    assert_true(rpc_world_wait(w, &w->running, DEFERRED));
    /* All are open. The client cancels half of them; the stop of the server ends the rest. */
    for (int i = 0; i < DEFERRED; i += 2)
        grpc_call_cancel(k[i].call, NULL);
    assert_true(rpc_world_wait(w, &w->cancelled, DEFERRED / 2));
    assert_true(rpc_world_wait(w, &w->released, DEFERRED / 2));
    client_done(&w->client); /* a channel may be destroyed before its calls */
    client_init(&w->client, w->socket.path);
    assert_int_equal(rpc_world_end(w), 0); /* the rest end because the server stops */
    assert_int_equal(rpc_world_get(w, &w->cancelled), DEFERRED);
    assert_int_equal(rpc_world_get(w, &w->released), DEFERRED);
    int cancelled = 0, unavailable = 0;
    for (int i = 0; i < DEFERRED; i++)
        client_wait(cq, NULL);
    for (int i = 0; i < DEFERRED; i++) {
        cancelled += k[i].status == GRPC_STATUS_CANCELLED;
        unavailable += k[i].status == GRPC_STATUS_UNAVAILABLE;
        client_call_done(&k[i]);
    }
    assert_int_equal(cancelled, DEFERRED / 2);
    assert_int_equal(unavailable, DEFERRED / 2); /* none of them got an invented answer */
    assert_true(client_queue_done(cq));
}

static void *answer_all(void *arg) {
    struct rpc_world *w = arg;
    for (size_t i = 0; i < w->n_calls; i++) {
        Goplugin__ConnInfo m = rpc_world_message((uint32_t)i);
        rpc_call_reply(w->calls[i], &m.base);
    }
    return NULL;
}

static void test_defer__answered_by_another_thread(void **state) {
    struct rpc_world *w = *state;
    static struct client_call k[DEFERRED];
    grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
    for (int i = 0; i < DEFERRED; i++) {
        client_open(&w->client, &k[i], cq, "/test/Defer", 0);
        client_unary_start(&k[i], "", 0, true);
    }
    assert_true(rpc_world_wait(w, &w->running, DEFERRED));
    pthread_t t;
    pthread_create(&t, NULL, answer_all, w);
    static bool seen[DEFERRED];
    memset(seen, 0, sizeof(seen));
    for (int i = 0; i < DEFERRED; i++) {
        void *tag;
        assert_true(client_wait(cq, &tag));
        struct client_call *one = tag;
        assert_int_equal(one->status, GRPC_STATUS_OK);
        seen[rpc_world_take_id(client_decode(one, RPC_WORLD_MESSAGE))] = true;
        client_call_done(one);
    }
    pthread_join(t, NULL);
    for (int i = 0; i < DEFERRED; i++)
        assert_true(seen[i]);
    assert_true(rpc_world_wait(w, &w->released, DEFERRED));
    assert_int_equal(rpc_world_get(w, &w->cancelled), 0);
    assert_true(client_queue_done(cq));
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        RPC_WORLD_TEST(test_unary__answered),
        RPC_WORLD_TEST(test_unary__8_mib__answered),
        RPC_WORLD_TEST(test_method__not_ready__its_error),
        RPC_WORLD_TEST(test_unary__recoverable_error__details),
        RPC_WORLD_TEST(test_unary__no_answer_by_handler__unknown),
        RPC_WORLD_TEST(test_unary__unknown_method__unimplemented),
        RPC_WORLD_TEST(test_unary__broken_utf8__question_marks),
        RPC_WORLD_TEST(test_unary__truncated_message__invalid),
        RPC_WORLD_TEST(test_unary__no_message__invalid),
        RPC_WORLD_TEST(test_unary__client_cancels__handler_wakes),
        RPC_WORLD_TEST(test_unary__deadline__reaches_the_handler),
        RPC_WORLD_TEST(test_unary__lanes_are_full__others_answered),
        RPC_WORLD_TEST(test_unary__no_worker_left__inline_ones_answered),
        RPC_WORLD_TEST(test_defer__hundreds_at_a_time__all_answered),
        RPC_WORLD_TEST(test_defer__answered_by_another_thread),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, rpc_world_group_setup, rpc_world_group_teardown);
}
