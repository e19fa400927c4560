/* SPDX-License-Identifier: MPL-2.0 */
/* The server from its start to its end, with a real gRPC client: its socket, the services that
 * go-plugin needs, and a stop while handlers run. */
#include "unit/plugin/rpc_world.h"

#include "paddock/clock.h"

#include "google/empty.pb-c.h"
#include "health.pb-c.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Services of go-plugin ---- */

static int health(struct rpc_world *w, const char *service) {
    Health__HealthCheckRequest m = HEALTH__HEALTH_CHECK_REQUEST__INIT;
    m.service = (char *)service;
    struct client_call k;
    int status = client_unary(&w->client, &k, "/grpc.health.v1.Health/Check", &m.base);
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

/* A host always holds these two streams open. */
static void test_shutdown__answered_then_server_ends(void **state) {
    struct rpc_world *w = *state;
    Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
    Goplugin__ConnInfo knock = rpc_world_message(1);
    struct client_call stdio, broker, k;
    client_open(&w->client, &stdio, NULL, "/plugin.GRPCStdio/StreamStdio", 0);
    assert_true(client_stream_start(&stdio, &empty.base, true));
    client_open(&w->client, &broker, NULL, "/plugin.GRPCBroker/StartStream", 0);
    assert_true(client_stream_start(&broker, &knock.base, false));
    assert_true(client_send(&broker, &knock.base));

    Goplugin__Empty m = GOPLUGIN__EMPTY__INIT;
    assert_int_equal(client_unary(&w->client, &k, "/plugin.GRPCController/Shutdown", &m.base),
                     GRPC_STATUS_OK);
    client_call_done(&k);
    pthread_join(w->thread, NULL); /* nothing else stops the server; CTest has the deadline */
    w->serving = false;
    assert_int_equal(w->run_result, 0);
    assert_int_equal(client_status(&stdio), GRPC_STATUS_UNAVAILABLE);
    assert_int_equal(client_status(&broker), GRPC_STATUS_UNAVAILABLE);
    client_call_done(&stdio);
    client_call_done(&broker);
    struct stat st;
    assert_int_equal(stat(w->socket.path, &st), -1); /* the socket is removed */
}

/* ---- Stop ---- */

static void test_stop__handler_that_listens__ends(void **state) {
    struct rpc_world *w = *state;
    struct client_call k;
    client_open(&w->client, &k, NULL, "/test/Nap", 0);
    client_unary_start(&k, "", 0, true);
    assert_true(rpc_world_wait(w, &w->running, 1));
    assert_int_equal(rpc_world_end(w), 0);
    assert_int_equal(rpc_world_get(w, &w->sleep_result), -ECANCELED);
    client_wait(k.cq, NULL);
    assert_int_equal(k.status, GRPC_STATUS_UNAVAILABLE);
    client_call_done(&k);
}

static void test_stop__handler_that_hangs__timeout(void **state) {
    struct rpc_world *w = *state;
    struct client_call k;
    client_open(&w->client, &k, NULL, "/test/Pull", 0);
    client_unary_start(&k, "", 0, true);
    assert_true(rpc_world_wait(w, &w->running, 1));
    uint64_t before = clock_now_us();
    assert_int_equal(rpc_world_stop(w), -ETIMEDOUT);
    assert_true(clock_now_us() - before < 10 * US_PER_SEC);
    client_wait(k.cq, NULL);
    client_call_done(&k);
    /* Ends the handler, so that the test leaks nothing. */
    rpc_world_release(w);
    assert_int_equal(rpc_world_end(w), 0);
}

/* ---- Start ---- */

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

/* The path is not parsed as a URI: the socket is created exactly there. */
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
    const struct CMUnitTest tests[] = {
        RPC_WORLD_TEST(test_health),
        RPC_WORLD_TEST(test_shutdown__answered_then_server_ends),
        RPC_WORLD_TEST(test_stop__handler_that_listens__ends),
        RPC_WORLD_TEST(test_stop__handler_that_hangs__timeout),
        cmocka_unit_test(test_new__path_too_long__einval),
        cmocka_unit_test(test_new__folder_missing__fails),
        cmocka_unit_test(test_new__percent_and_other_signs_in_the_path__listens_there),
        cmocka_unit_test(test_free__never_run),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, rpc_world_group_setup, rpc_world_group_teardown);
}
