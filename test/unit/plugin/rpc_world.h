/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* What the tests of the gRPC server share: a server with test handlers, its client, and what the
 * handlers have counted. Every wait ends after RPC_WORLD_WAIT_SEC. */
#include "plugin/handshake.h"
#include "plugin/rpc.h"
#include "unit/cm.h"
#include "unit/plugin/client.h"

#include "goplugin.pb-c.h"

#include <pthread.h>

#define RPC_WORLD_WAIT_SEC 20
#define RPC_WORLD_CALLS_MAX 500
/* The type of each request and answer of the test handlers. */
#define RPC_WORLD_MESSAGE (&goplugin__conn_info__descriptor)

struct rpc_world {
    struct rpc_service services[3];
    struct handshake_socket socket;
    struct rpc_server *server;
    pthread_t thread; /* of the server */
    int run_result;   /* of rpc_server_run() */
    bool serving;
    struct client client;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    int running;  /* handlers that have been called and wait */
    bool release; /* handlers that wait end */
    int cancelled, released, closed, refused, rooms, messages, ends, sleeps;
    int sleep_result;
    uint64_t deadline_us;
    bool pause;                /* the stream's message callback returns -EAGAIN */
    pthread_t callback_thread; /* that called the last message callback or inline handler */
    struct rpc_stream *stream;
    struct rpc_call *calls[RPC_WORLD_CALLS_MAX];
    size_t n_calls;
};

/** The gRPC library is started once for all tests of a program. */
int rpc_world_group_setup(void **state);
int rpc_world_group_teardown(void **state);
int rpc_world_setup(void **state);
int rpc_world_teardown(void **state);
#define RPC_WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, rpc_world_setup, rpc_world_teardown)

/** Stops the server. Returns what rpc_server_run() returned: -ETIMEDOUT when handlers still run. */
int rpc_world_stop(struct rpc_world *w);
/** Stops the server and waits until all handlers have ended, longer than rpc_server_run() does. On
 * a busy machine they may need more time. Returns 0, or -ETIMEDOUT. */
int rpc_world_end(struct rpc_world *w);
/** Waits until *@counter is at least @n. */
bool rpc_world_wait(struct rpc_world *w, const int *counter, int n);
int rpc_world_get(struct rpc_world *w, const int *counter);
/** Lets the handlers end that wait. */
void rpc_world_release(struct rpc_world *w);

/** A message with the number @id. */
Goplugin__ConnInfo rpc_world_message(uint32_t id);
/** Frees @m and returns its number. */
uint32_t rpc_world_take_id(ProtobufCMessage *m);
