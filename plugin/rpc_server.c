/* SPDX-License-Identifier: MPL-2.0 */
/* The gRPC server: listens, runs the rpc thread, stops.
 *
 * serve.c makes it and runs it on the main thread. Below it are rpc_accept (finds the method),
 * rpc_call and rpc_stream (the life of a call), rpc_base (gRPC's events), rpc_life and rpc_work. A
 * stop breaks all calls, because a host takes any answer to WaitTask for the end of the task. */
#include "plugin/rpc_accept.h"
#include "paddock/clock.h"
#include "paddock/log.h"

#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define ADDRESS_MAX (3 * sizeof(((struct sockaddr_un *)0)->sun_path) + 8)
#define STOP_LIMIT_US (1500 * US_PER_MS)

struct rpc_server {
    grpc_completion_queue *cq;
    grpc_server *grpc;
    struct rpc_work *work;
    struct rpc_life life;
    struct rpc_acceptor acceptor;
    struct rpc_tag stopped_tag;
    bool started;
    bool stopped; /* gRPC's server has ended, maybe before the last events; rpc thread only */
    _Atomic uint64_t stop_at_us; /* 0: serving; else until this time */
};

static void stopped_event(struct rpc_tag *t, bool ok) {
    struct rpc_server *s =
        (struct rpc_server *)(void *)((char *)t - offsetof(struct rpc_server, stopped_tag));
    (void)ok;
    s->stopped = true;
}

/* Forwards gRPC's own messages to the log. By its default gRPC sends only its errors. */
static void server_log(gpr_log_func_args *args) {
    log_warn("grpc", NULL, "%s", args->message);
}

static grpc_arg int_arg(const char *key, int value) {
    grpc_arg a = {.type = GRPC_ARG_INTEGER, .key = (char *)key};
    a.value.integer = value;
    return a;
}

/* gRPC takes "unix:PATH" as a URI and decodes it, so all but plain characters
 * are written as %XX. */
static void server_address(const char *socket_path, char ret[static ADDRESS_MAX]) {
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-";
    int n = snprintf(ret, ADDRESS_MAX, "unix:");
    for (const char *p = socket_path; *p; p++)
        n += snprintf(ret + n, ADDRESS_MAX - (size_t)n, strchr(plain, *p) ? "%c" : "%%%02X",
                      (unsigned char)*p);
}

static int server_listen(struct rpc_server *s, const char *socket_path, struct err *err) {
    grpc_arg args[] = {
        int_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, INT_MAX), /* two per task while it runs */
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, -1),  /* environments, templates */
        int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1),
        int_arg(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0), /* Go hosts ping per measured window */
        /* No filters for deadlines, sizes and compression of answers: handlers have the deadline,
         * and an open call needs 0.7 KiB less. */
        int_arg(GRPC_ARG_MINIMAL_STACK, 1),
    };
    grpc_channel_args all = {.num_args = ARRAY_LEN(args), .args = args};
    s->cq = grpc_completion_queue_create_for_next(NULL);
    s->grpc = grpc_server_create(&all, NULL);
    grpc_server_register_completion_queue(s->grpc, s->cq, NULL);

    char address[ADDRESS_MAX];
    server_address(socket_path, address);
    grpc_server_credentials *creds = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(s->grpc, address, creds);
    grpc_server_credentials_release(creds);
    /* gRPC does not report the reason. */
    return port > 0 ? 0 : err_set(err, ERR_PLAIN, EADDRINUSE, "cannot listen on %s", socket_path);
}

static void server_stop(void *ctx) {
    rpc_server_stop(ctx);
}

int rpc_server_new(const char *socket_path, const struct rpc_service *services,
                   struct rpc_server **ret, struct err *err) {
    if (strlen(socket_path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return err_set(err, ERR_PLAIN, EINVAL, "path of the socket is too long: %s", socket_path);
    struct rpc_server *s = calloc(1, sizeof(*s));
    if (!s)
        return err_oom(err);
    rpc_life_init(&s->life, server_stop, s);
    s->stopped_tag.event = stopped_event;
    gpr_set_log_function(server_log);
    grpc_init();
    int r = rpc_work_new(&s->work);
    if (r < 0)
        err_set(err, ERR_PLAIN, -r, "no workers: %s", strerror(-r));
    else
        r = server_listen(s, socket_path, err);
    if (r < 0) {
        rpc_server_free(s);
        return r;
    }
    grpc_server_start(s->grpc);
    s->acceptor = (struct rpc_acceptor){
        .grpc = s->grpc, .cq = s->cq, .services = services, .life = &s->life, .work = s->work};
    rpc_accept_start(&s->acceptor);
    s->started = true;
    *ret = s;
    return 0;
}

void rpc_server_stop(struct rpc_server *s) {
    uint64_t serving = 0;
    if (!atomic_compare_exchange_strong(&s->stop_at_us, &serving, clock_now_us() + STOP_LIMIT_US))
        return;
    /* gRPC requires this order: no new calls first, then the end of the existing calls. */
    grpc_server_shutdown_and_notify(s->grpc, s->cq, &s->stopped_tag);
    grpc_server_cancel_all_calls(s->grpc);
}

static gpr_timespec server_next_deadline(struct rpc_server *s) {
    uint64_t at = atomic_load(&s->stop_at_us);
    if (at == 0)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    uint64_t now = clock_now_us();
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_micros(at > now ? (int64_t)(at - now) : 0, GPR_TIMESPAN));
}

/* Handles events until gRPC has ended, or the time is over. */
static int server_serve(struct rpc_server *s) {
    while (!s->stopped || s->life.open > 0) {
        grpc_event e = grpc_completion_queue_next(s->cq, server_next_deadline(s), NULL);
        if (e.type == GRPC_QUEUE_TIMEOUT)
            return -ETIMEDOUT;
        if (e.type == GRPC_QUEUE_SHUTDOWN)
            return 0;
        struct rpc_tag *t = e.tag;
        t->event(t, e.success != 0);
    }
    return 0;
}

static void server_drain(struct rpc_server *s) {
    grpc_completion_queue_shutdown(s->cq);
    for (;;) {
        grpc_event e = grpc_completion_queue_next(s->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (e.type != GRPC_OP_COMPLETE)
            return;
        struct rpc_tag *t = e.tag;
        t->event(t, e.success != 0);
    }
}

/* Also waits for handlers that still run, for deferred calls that are not finished, and for streams
 * that are still referred to. */
int rpc_server_run(struct rpc_server *s) {
    int r = server_serve(s);
    unsigned alive = rpc_life_wait(&s->life, r < 0 ? 0 : atomic_load(&s->stop_at_us));
    if (r == 0 && alive > 0)
        r = -ETIMEDOUT;
    if (r < 0)
        log_warn("rpc", NULL, "%u calls were not finished in time, ignoring", alive);
    return r;
}

void rpc_server_free(struct rpc_server *s) {
    if (!s)
        return;
    if (s->started) {
        rpc_server_stop(s);
        int r = server_serve(s); /* in case rpc_server_run() was never called */
        (void)r;
    }
    if (s->cq)
        server_drain(s);
    rpc_work_free(s->work);
    if (s->grpc)
        grpc_server_destroy(s->grpc);
    if (s->cq)
        grpc_completion_queue_destroy(s->cq);
    grpc_shutdown();
    rpc_life_done(&s->life);
    free(s);
}
