#include "plugin/rpc_priv.h"
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

/* Calls that gRPC may hand over before we ask for more. */
#define ACCEPTS 4
#define ADDRESS_MAX (3 * sizeof(((struct sockaddr_un *)0)->sun_path) + 8)
#define STOP_LIMIT_US (1500 * US_PER_MS)

struct rpc_accept {
    struct rpc_tag tag;
    struct rpc_server *server;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
};

struct rpc_server {
    grpc_completion_queue *cq;
    grpc_server *grpc;
    const struct rpc_service *services;
    struct rpc_work *work;
    struct rpc_accept accepts[ACCEPTS];
    struct rpc_tag stopped_tag;
    /* ---- rpc thread only ---- */
    bool stopped;  /* gRPC's own end: it may come before the last events of calls */
    unsigned open; /* calls that gRPC still owes events */
    /* ---- under the lock ---- */
    pthread_mutex_t lock;
    pthread_cond_t changed;      /* CLOCK_MONOTONIC */
    unsigned alive;              /* calls and streams that somebody still knows */
    _Atomic uint64_t stop_at_us; /* 0: serving; else until when */
};

/* ---- accepting ---- */

static const struct rpc_method *server_find(const struct rpc_server *s, grpc_slice path,
                                            void **ret_app) {
    for (const struct rpc_service *sv = s->services; sv->methods; sv++) {
        for (size_t i = 0; i < sv->n_methods; i++) {
            if (grpc_slice_str_cmp(path, sv->methods[i].path) == 0) {
                *ret_app = sv->app;
                return &sv->methods[i];
            }
        }
    }
    return NULL;
}

static void accept_ask(struct rpc_accept *a) {
    struct rpc_server *s = a->server;
    a->call = NULL;
    grpc_call_details_init(&a->details);
    grpc_metadata_array_init(&a->metadata);
    if (grpc_server_request_call(s->grpc, &a->call, &a->details, &a->metadata, s->cq, s->cq,
                                 &a->tag) != GRPC_CALL_OK)
        abort(); /* only for arguments that cannot be */
}

static void accept_event(struct rpc_tag *t, bool ok) {
    struct rpc_accept *a = (struct rpc_accept *)(void *)t;
    struct rpc_server *s = a->server;
    if (ok) {
        void *app = NULL;
        const struct rpc_method *m = server_find(s, a->details.method, &app);
        bool stream = m && m->kind != RPC_UNARY;
        int r = stream ? rpc_stream_accept(s, a->call, a->details.deadline, m, app)
                       : rpc_call_accept(s, a->call, a->details.deadline, m, app);
        if (r < 0)
            log_error("rpc", NULL, "out of memory: a call was dropped");
    }
    grpc_call_details_destroy(&a->details);
    grpc_metadata_array_destroy(&a->metadata);
    if (ok)
        accept_ask(a);
}

static void stopped_event(struct rpc_tag *t, bool ok) {
    struct rpc_server *s =
        (struct rpc_server *)(void *)((char *)t - offsetof(struct rpc_server, stopped_tag));
    (void)ok;
    s->stopped = true;
}

/* ---- life ---- */

/* gRPC's own words, in the form that the host reads; only its errors, by its default. */
static void server_log(gpr_log_func_args *args) {
    log_warn("grpc", NULL, "%s", args->message);
}

static grpc_arg int_arg(const char *key, int value) {
    grpc_arg a = {.type = GRPC_ARG_INTEGER, .key = (char *)key};
    a.value.integer = value;
    return a;
}

/* "unix:PATH" is a URI for gRPC, which decodes it: all but plain characters are sent as %XX. */
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
        int_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                INT_MAX), /* two streams a task, for as long as it runs */
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, -1), /* environments and templates */
        int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1),
        int_arg(GRPC_ARG_HTTP2_MAX_PING_STRIKES,
                0), /* a Go host pings with each window it measures */
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
    /* gRPC does not say why it could not. */
    return port > 0 ? 0 : err_set(err, ERR_PLAIN, EADDRINUSE, "cannot listen on %s", socket_path);
}

static void server_init_sync(struct rpc_server *s) {
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attr);
    pthread_condattr_destroy(&attr);
}

int rpc_server_new(const char *socket_path, const struct rpc_service *services,
                   struct rpc_server **ret, struct err *err) {
    if (strlen(socket_path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return err_set(err, ERR_PLAIN, EINVAL, "path of the socket is too long: %s", socket_path);
    struct rpc_server *s = calloc(1, sizeof(*s));
    if (!s)
        return err_oom(err);
    server_init_sync(s);
    s->services = services;
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
    for (size_t i = 0; i < ACCEPTS; i++) {
        s->accepts[i].tag.event = accept_event;
        s->accepts[i].server = s;
        accept_ask(&s->accepts[i]);
    }
    *ret = s;
    return 0;
}

void rpc_server_stop(struct rpc_server *s) {
    uint64_t serving = 0;
    if (!atomic_compare_exchange_strong(&s->stop_at_us, &serving, clock_now_us() + STOP_LIMIT_US))
        return;
    /* The order is gRPC's: no new calls, then an end to those that there are. */
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

/* Until gRPC has let go, or the time is over. */
static int server_serve(struct rpc_server *s) {
    while (!s->stopped || s->open > 0) {
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

/* Handlers that still run, deferred calls that nobody finished, streams that somebody still refers
 * to. */
static int server_wait_users(struct rpc_server *s) {
    uint64_t at = atomic_load(&s->stop_at_us);
    struct timespec until = {.tv_sec = (time_t)(at / US_PER_SEC),
                             .tv_nsec = (long)(at % US_PER_SEC * 1000)};
    int r = 0;
    pthread_mutex_lock(&s->lock);
    while (s->alive > 0 && r == 0)
        r = pthread_cond_timedwait(&s->changed, &s->lock, &until);
    r = s->alive > 0 ? -ETIMEDOUT : 0;
    pthread_mutex_unlock(&s->lock);
    return r;
}

int rpc_server_run(struct rpc_server *s) {
    int r = server_serve(s);
    if (r == 0)
        r = server_wait_users(s);
    if (r < 0) {
        pthread_mutex_lock(&s->lock);
        unsigned alive = s->alive;
        pthread_mutex_unlock(&s->lock);
        log_warn("rpc", NULL, "%u calls were not finished in time, ignoring", alive);
    }
    return r;
}

void rpc_server_free(struct rpc_server *s) {
    if (!s)
        return;
    if (s->accepts[0].server) { /* it was started */
        rpc_server_stop(s);
        int r = server_serve(s); /* for the case that nobody ran it */
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
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- for calls and streams ---- */

void rpc_server_born(struct rpc_server *s) {
    s->open++;
    pthread_mutex_lock(&s->lock);
    s->alive++;
    pthread_mutex_unlock(&s->lock);
}

void rpc_server_released(struct rpc_server *s) {
    s->open--;
}

void rpc_server_died(struct rpc_server *s) {
    pthread_mutex_lock(&s->lock);
    s->alive--;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

struct rpc_work *rpc_server_work(struct rpc_server *s) {
    return s->work;
}
