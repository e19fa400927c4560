/* SPDX-License-Identifier: MPL-2.0 */
/* The handlers for one task, from StartTask to DestroyTask. driver_table.c lists them.
 *
 * Each handler decodes the request, calls the driver and encodes the answer. Nomad dereferences
 * some parts of the answers without a check (result, handle.config, agg_resource_usage), so they
 * are always present. */
#include "plugin/svc.h"
#include "plugin/svc_common.h"

#include "paddock/driver.h"
#include "paddock/log.h"
#include "plugin/task_decode.h"

#include "driver.pb-c.h"

#include <string.h>

#define HANDLE_VERSION 1 /* as in the built-in driver, because tasks move between the two */

/* ---- NetworkOverride ---- */

struct override {
    Driver__NetworkOverride msg;
    Driver__NetworkOverride__PortMapEntry *entries, **refs;
};

static void override_done(struct override *o) {
    free(o->entries);
    free(o->refs);
}

static int override_fill(struct override *o, const struct kvs *ports, const char *addr,
                         bool advertise) {
    driver__network_override__init(&o->msg);
    o->entries = calloc(ports->n + 1, sizeof(*o->entries));
    o->refs = calloc(ports->n + 1, sizeof(*o->refs));
    if (!o->entries || !o->refs)
        return -ENOMEM;
    for (size_t i = 0; i < ports->n; i++) {
        driver__network_override__port_map_entry__init(&o->entries[i]);
        o->entries[i].key = ports->v[i].key;
        o->entries[i].value = (int32_t)strtol(ports->v[i].value, NULL, 10);
        o->refs[i] = &o->entries[i];
    }
    o->msg.n_port_map = ports->n;
    o->msg.port_map = o->refs;
    o->msg.addr = (char *)addr;
    o->msg.auto_advertise = advertise;
    return 0;
}

/* ---- StartTask, RecoverTask ---- */

static void reply_started(struct rpc_call *c, const Driver__StartTaskRequest *in,
                          struct driver_started *s) {
    struct override net = {0};
    Driver__TaskHandle handle = DRIVER__TASK_HANDLE__INIT;
    handle.version = HANDLE_VERSION;
    handle.config = in->task;
    handle.state = DRIVER__TASK_STATE__RUNNING;
    handle.driver_state.data = s->state;
    handle.driver_state.len = s->state_len;
    Driver__StartTaskResponse out = DRIVER__START_TASK_RESPONSE__INIT;
    out.handle = &handle;
    if (override_fill(&net, &s->port_map, s->addr, s->auto_advertise) == 0)
        out.network_override = &net.msg;
    rpc_call_reply(c, &out.base);
    override_done(&net);
}

void svc_task_start(struct rpc_call *c, const ProtobufCMessage *req) {
    const Driver__StartTaskRequest *in = (const Driver__StartTaskRequest *)req;
    AUTO_TASK_CONFIG struct task_config task = {0};
    struct driver_started started = {0};
    struct err err = {0};
    int r = task_decode(in->task, &task, &err);
    if (r == 0)
        r = task_start(rpc_call_app(c), rpc_call_context(c), &task, &started, &err);
    if (r < 0) {
        rpc_call_fail(c, &err);
    } else {
        void *driver = rpc_call_app(c);
        reply_started(c, in, &started);
        task_start_reported(driver, &started);
    }
    task_start_done(&started);
}

void svc_task_recover(struct rpc_call *c, const ProtobufCMessage *req) {
    const Driver__RecoverTaskRequest *in = (const Driver__RecoverTaskRequest *)req;
    AUTO_TASK_CONFIG struct task_config task = {0};
    struct err err = {0};
    int r = 0;
    if (!in->handle)
        r = err_set(&err, ERR_INVALID, EINVAL, "handle: must not be empty");
    else if (in->handle->version != HANDLE_VERSION)
        r = err_set(&err, ERR_INVALID, EINVAL, "handle.version: %d is not known (want %d)",
                    (int)in->handle->version, HANDLE_VERSION);
    if (r == 0)
        r = task_decode(in->handle->config, &task, &err);
    if (r == 0)
        r = task_recover(rpc_call_app(c), rpc_call_context(c), &task, in->handle->driver_state.data,
                         in->handle->driver_state.len, &err);
    if (r < 0) {
        rpc_call_fail(c, &err);
        return;
    }
    Driver__RecoverTaskResponse out = DRIVER__RECOVER_TASK_RESPONSE__INIT;
    rpc_call_reply(c, &out.base);
}

/* ---- WaitTask: occupies no thread; the store's waiter finishes the call ---- */

struct wait {
    struct rpc_call *call;
    struct task *task;
    struct task_waiter waiter;
};

static void wait_done(void *ctx, const struct task_exit *exit) {
    struct wait *w = ctx;
    Driver__ExitResult result;
    svc_common_fill_exit(&result, exit);
    Driver__WaitTaskResponse out = DRIVER__WAIT_TASK_RESPONSE__INIT;
    out.result = &result;
    out.err = (char *)exit->err;
    rpc_call_reply(w->call, &out.base);
}

/* The client has disconnected. No one reads this answer, but the call must be finished. */
static void wait_cancelled(struct rpc_call *c, void *ctx) {
    struct wait *w = ctx;
    if (store_wait_cancel(w->task, &w->waiter)) {
        struct err err = {0};
        err_set(&err, ERR_PLAIN, ECANCELED, "the wait was cancelled");
        rpc_call_fail(c, &err);
    }
}

static void wait_release(void *ctx) {
    struct wait *w = ctx;
    store_task_unref(w->task);
    free(w);
}

void svc_task_wait(struct rpc_call *c, const ProtobufCMessage *req) {
    const Driver__WaitTaskRequest *in = (const Driver__WaitTaskRequest *)req;
    struct err err = {0};
    struct wait *w = calloc(1, sizeof(*w));
    if (!w) {
        err_oom(&err);
        rpc_call_fail(c, &err);
        return;
    }
    *w = (struct wait){.call = c, .waiter = {.done = wait_done, .ctx = w}};
    rpc_call_defer(c, wait_cancelled, wait_release, w);
    if (exit_wait(rpc_call_app(c), in->task_id, &w->waiter, &w->task, &err) < 0)
        rpc_call_fail(c, &err);
}

/* ---- the other methods of a task ---- */

struct stop {
    struct rpc_call *call;
    struct driver_stop stop;
};

static void stop_ended(void *ctx, int r, const struct err *err) {
    struct stop *x = ctx;
    Driver__StopTaskResponse out = DRIVER__STOP_TASK_RESPONSE__INIT;
    if (r < 0)
        rpc_call_fail(x->call, err);
    else
        rpc_call_reply(x->call, &out.base);
}

static void stop_cancelled(struct rpc_call *c, void *ctx) {
    struct stop *x = ctx;
    (void)c;
    task_stop_cancel(&x->stop);
}

static void stop_release(void *ctx) {
    struct stop *x = ctx;
    task_stop_done(&x->stop);
    free(x);
}

/* Like WaitTask, this occupies no thread while the task takes its time to end. */
void svc_task_stop(struct rpc_call *c, const ProtobufCMessage *req) {
    const Driver__StopTaskRequest *in = (const Driver__StopTaskRequest *)req;
    struct stop *x = calloc(1, sizeof(*x));
    if (!x) {
        struct err err = {0};
        err_oom(&err);
        rpc_call_fail(c, &err);
        return;
    }
    *x = (struct stop){.call = c, .stop = {.ended = stop_ended, .ctx = x}};
    rpc_call_defer(c, stop_cancelled, stop_release, x);
    task_stop(rpc_call_app(c), rpc_call_context(c), in->task_id,
              svc_common_duration_us(in->timeout), in->signal, &x->stop);
}

void svc_task_signal(struct rpc_call *c, const ProtobufCMessage *req) {
    const Driver__SignalTaskRequest *in = (const Driver__SignalTaskRequest *)req;
    struct err err = {0};
    if (task_signal(rpc_call_app(c), rpc_call_context(c), in->task_id, in->signal, &err) < 0) {
        rpc_call_fail(c, &err);
        return;
    }
    Driver__SignalTaskResponse out = DRIVER__SIGNAL_TASK_RESPONSE__INIT;
    rpc_call_reply(c, &out.base);
}

void svc_task_destroy(struct rpc_call *c, const ProtobufCMessage *req) {
    const Driver__DestroyTaskRequest *in = (const Driver__DestroyTaskRequest *)req;
    struct err err = {0};
    if (task_destroy(rpc_call_app(c), rpc_call_context(c), in->task_id, in->force, &err) < 0) {
        rpc_call_fail(c, &err);
        return;
    }
    Driver__DestroyTaskResponse out = DRIVER__DESTROY_TASK_RESPONSE__INIT;
    rpc_call_reply(c, &out.base);
}

static Driver__TaskState state_of(enum task_phase phase) {
    switch (phase) {
    case TASK_RUNNING:
        return DRIVER__TASK_STATE__RUNNING;
    case TASK_EXITED:
        return DRIVER__TASK_STATE__EXITED;
    case TASK_STARTING:
        break;
    }
    return DRIVER__TASK_STATE__UNKNOWN;
}

static void reply_inspect(struct rpc_call *c, const char *task_id, struct driver_inspect *i) {
    struct override net = {0};
    Google__Protobuf__Timestamp started, completed;
    svc_common_fill_time(&started, i->look.started_ns);
    svc_common_fill_time(&completed, i->look.completed_ns);
    Driver__ExitResult result;
    svc_common_fill_exit(&result, &i->look.exit);
    Driver__TaskStatus status = DRIVER__TASK_STATUS__INIT;
    status.id = (char *)task_id;
    status.name = i->name;
    status.state = state_of(i->look.phase);
    status.started_at = &started;
    status.completed_at = &completed;
    status.result = &result;

    Driver__TaskDriverStatus__AttributesEntry entry =
        DRIVER__TASK_DRIVER_STATUS__ATTRIBUTES_ENTRY__INIT;
    Driver__TaskDriverStatus__AttributesEntry *entries[] = {&entry};
    entry.key = (char *)"container_id";
    entry.value = i->look.container_id;
    Driver__TaskDriverStatus driver = DRIVER__TASK_DRIVER_STATUS__INIT;
    driver.n_attributes = 1;
    driver.attributes = entries;

    Driver__InspectTaskResponse out = DRIVER__INSPECT_TASK_RESPONSE__INIT;
    out.task = &status;
    out.driver = &driver;
    if (override_fill(&net, &i->port_map, i->look.addr, i->look.addr_auto) == 0)
        out.network_override = &net.msg;
    rpc_call_reply(c, &out.base);
    override_done(&net);
}

void svc_task_inspect(struct rpc_call *c, const ProtobufCMessage *req) {
    const Driver__InspectTaskRequest *in = (const Driver__InspectTaskRequest *)req;
    struct driver_inspect i;
    struct err err = {0};
    if (task_inspect(rpc_call_app(c), in->task_id, &i, &err) < 0) {
        rpc_call_fail(c, &err);
        return;
    }
    reply_inspect(c, in->task_id, &i);
    task_inspect_done(&i);
}

/* ---- TaskStats ---- */

struct stats {
    struct rpc_stream *stream;
    struct driver_sub *sub;
    char *task_id;
};

static void stats_close(struct rpc_stream *s, void *ctx) {
    struct stats *x = ctx;
    (void)s;
    fan_unsubscribe(x->sub);
    rpc_stream_unref(x->stream);
    free(x->task_id);
    free(x);
}

static const struct rpc_stream_ops stats_ops = {.on_close = stats_close};

static void fill_cpu(Driver__CPUUsage *cpu, const struct driver_stats *s) {
    /* The fields for which `nomad alloc status -stats` has a column. When another field is listed,
     * it shows the values under wrong headings. Total ticks are sent, but not listed. */
    static Driver__CPUUsage__Fields fields[] = {
        DRIVER__CPUUSAGE__FIELDS__SYSTEM_MODE,       DRIVER__CPUUSAGE__FIELDS__USER_MODE,
        DRIVER__CPUUSAGE__FIELDS__THROTTLED_PERIODS, DRIVER__CPUUSAGE__FIELDS__THROTTLED_TIME,
        DRIVER__CPUUSAGE__FIELDS__PERCENT,
    };
    driver__cpuusage__init(cpu);
    cpu->system_mode = s->system_percent;
    cpu->user_mode = s->user_percent;
    cpu->total_ticks = s->total_ticks;
    cpu->percent = s->percent;
    cpu->throttled_periods = s->throttled_periods;
    cpu->throttled_time = s->throttled_time_ns;
    cpu->n_measured_fields = ARRAY_LEN(fields);
    cpu->measured_fields = fields;
}

#define MEMORY_FIELDS_MAX 6

static void fill_memory(Driver__MemoryUsage *m,
                        Driver__MemoryUsage__Fields fields[MEMORY_FIELDS_MAX],
                        const struct driver_stats *s) {
    driver__memory_usage__init(m);
    m->rss = s->rss;
    m->cache = s->cache;
    m->swap = s->swap;
    m->usage = s->usage;
    m->max_usage = s->max_usage;
    m->kernel_usage = s->kernel_usage;
    size_t n = 0;
    fields[n++] = DRIVER__MEMORY_USAGE__FIELDS__RSS;
    fields[n++] = DRIVER__MEMORY_USAGE__FIELDS__CACHE;
    fields[n++] = DRIVER__MEMORY_USAGE__FIELDS__SWAP;
    fields[n++] = DRIVER__MEMORY_USAGE__FIELDS__USAGE;
    if (s->has_max_usage)
        fields[n++] = DRIVER__MEMORY_USAGE__FIELDS__MAX_USAGE;
    if (s->has_kernel)
        fields[n++] = DRIVER__MEMORY_USAGE__FIELDS__KERNEL_USAGE;
    m->n_measured_fields = n;
    m->measured_fields = fields;
}

static void on_stats(void *ctx, const struct driver_stats *s) {
    struct stats *x = ctx;
    if (!s) {
        rpc_stream_finish(x->stream, NULL);
        return;
    }
    Driver__CPUUsage cpu;
    Driver__MemoryUsage memory;
    Driver__MemoryUsage__Fields fields[MEMORY_FIELDS_MAX];
    fill_cpu(&cpu, s);
    fill_memory(&memory, fields, s);
    Driver__TaskResourceUsage usage = DRIVER__TASK_RESOURCE_USAGE__INIT;
    usage.cpu = &cpu;
    usage.memory = &memory;
    Google__Protobuf__Timestamp when;
    svc_common_fill_time(&when, s->time_ns);
    Driver__TaskStats stats = DRIVER__TASK_STATS__INIT;
    stats.id = x->task_id;
    stats.timestamp = &when;
    stats.agg_resource_usage = &usage;
    Driver__TaskStatsResponse out = DRIVER__TASK_STATS_RESPONSE__INIT;
    out.stats = &stats;
    /* When the queue is full, the sample is dropped: the next one is as good. */
    if (rpc_stream_send(x->stream, &out.base) == -ENOMEM)
        log_debug("stats", LOG_KV("task_id", x->task_id), "out of memory, ignoring");
}

void svc_task_stats(struct rpc_stream *s, const ProtobufCMessage *req) {
    const Driver__TaskStatsRequest *in = (const Driver__TaskStatsRequest *)req;
    struct err err = {0};
    struct stats *x = calloc(1, sizeof(*x));
    if (x)
        x->task_id = strdup(in->task_id);
    if (!x || !x->task_id) {
        free(x);
        err_oom(&err);
        rpc_stream_finish(s, &err);
        return;
    }
    x->stream = rpc_stream_ref(s);
    rpc_stream_set(s, &stats_ops, x);
    if (task_stats(rpc_stream_app(s), in->task_id, svc_common_duration_us(in->collection_interval),
                   on_stats, x, &x->sub, &err) < 0)
        rpc_stream_finish(s, &err);
}
