/* SPDX-License-Identifier: MPL-2.0 */
/* The handlers for the driver as a whole: schema, capabilities, fingerprint, task events, networks.
 * driver_table.c lists them.
 *
 * The two streams, Fingerprint and TaskEvents, stay open as long as the plugin lives. */
#include "plugin/svc.h"
#include "plugin/svc_common.h"

#include "paddock/driver.h"
#include "paddock/log.h"
#include "plugin/hclspec.h"

#include "driver.pb-c.h"

#include <stdio.h>
#include <string.h>

void svc_driver_init(struct rpc_call *c, const ProtobufCMessage *req) {
    struct err err = {0};
    (void)req;
    if (driver_init(rpc_call_app(c), &err) < 0) {
        rpc_call_fail(c, &err);
        return;
    }
    Driver__InitResponse out = DRIVER__INIT_RESPONSE__INIT;
    rpc_call_reply(c, &out.base);
}

/* Ends nothing: GRPCController.Shutdown follows and ends the process. Neither of them
 * touches a container. */
void svc_driver_shutdown(struct rpc_call *c, const ProtobufCMessage *req) {
    (void)req;
    Driver__ShutdownResponse out = DRIVER__SHUTDOWN_RESPONSE__INIT;
    rpc_call_reply(c, &out.base);
}

void svc_driver_task_config_schema(struct rpc_call *c, const ProtobufCMessage *req) {
    (void)req;
    Driver__TaskConfigSchemaResponse out = DRIVER__TASK_CONFIG_SCHEMA_RESPONSE__INIT;
    if (hclspec_build(config_job_table(), &out.spec) < 0) {
        struct err err = {0};
        err_oom(&err);
        rpc_call_fail(c, &err);
        return;
    }
    rpc_call_reply(c, &out.base);
    hclspec_free(out.spec);
}

/* What the client does with each value: docs/internals/nomad-host.md, Capabilities. */
void svc_driver_capabilities(struct rpc_call *c, const ProtobufCMessage *req) {
    (void)req;
    Driver__NetworkIsolationSpec__NetworkIsolationMode modes[] = {
        DRIVER__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__HOST,
        DRIVER__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__GROUP,
        DRIVER__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__TASK,
    };
    Driver__DriverCapabilities caps = DRIVER__DRIVER_CAPABILITIES__INIT;
    caps.send_signals = true;
    caps.exec = true;
    caps.fs_isolation = DRIVER__DRIVER_CAPABILITIES__FSISOLATION__IMAGE;
    caps.n_network_isolation_modes = ARRAY_LEN(modes);
    caps.network_isolation_modes = modes;
    caps.must_create_network = true;
    caps.disable_log_collection = driver_disables_log_collection(rpc_call_app(c));
    Driver__CapabilitiesResponse out = DRIVER__CAPABILITIES_RESPONSE__INIT;
    out.capabilities = &caps;
    rpc_call_reply(c, &out.base);
}

/* ---- streams that live as long as the plugin ---- */

struct listener {
    struct rpc_stream *stream;
    struct driver_sub *sub;
};

static void listener_close(struct rpc_stream *s, void *ctx) {
    struct listener *l = ctx;
    (void)s;
    fan_unsubscribe(l->sub);
    rpc_stream_unref(l->stream);
    free(l);
}

static const struct rpc_stream_ops listener_ops = {.on_close = listener_close};

/* Returns NULL when out of memory; the stream is then finished with an error. */
static struct listener *listener_new(struct rpc_stream *s) {
    struct listener *l = calloc(1, sizeof(*l));
    if (!l) {
        struct err err = {0};
        err_oom(&err);
        rpc_stream_finish(s, &err);
        return NULL;
    }
    l->stream = rpc_stream_ref(s);
    rpc_stream_set(s, &listener_ops, l);
    return l;
}

static void fill_attribute(const struct driver_attr *a, Structs__Attribute *out) {
    structs__attribute__init(out);
    switch (a->type) {
    case ATTR_STRING:
        out->value_case = STRUCTS__ATTRIBUTE__VALUE_STRING_VAL;
        out->string_val = (char *)a->text;
        break;
    case ATTR_BOOL:
        out->value_case = STRUCTS__ATTRIBUTE__VALUE_BOOL_VAL;
        out->bool_val = a->number != 0;
        break;
    case ATTR_INT:
        out->value_case = STRUCTS__ATTRIBUTE__VALUE_INT_VAL;
        out->int_val = a->number;
        break;
    }
}

/* A full queue means that the agent does not read. It loses nothing: the next
 * fingerprint is as good. */
static void on_fingerprint(void *ctx, const struct driver_fingerprint *f) {
    struct listener *l = ctx;
    Structs__Attribute values[DRIVER_ATTRS_MAX];
    Driver__FingerprintResponse__AttributesEntry entries[DRIVER_ATTRS_MAX], *refs[DRIVER_ATTRS_MAX];
    for (size_t i = 0; i < f->n_attrs; i++) {
        fill_attribute(&f->attrs[i], &values[i]);
        driver__fingerprint_response__attributes_entry__init(&entries[i]);
        entries[i].key = (char *)f->attrs[i].key;
        entries[i].value = &values[i];
        refs[i] = &entries[i];
    }
    Driver__FingerprintResponse out = DRIVER__FINGERPRINT_RESPONSE__INIT;
    out.n_attributes = f->n_attrs;
    out.attributes = refs;
    out.health = (Driver__FingerprintResponse__HealthState)f->health;
    out.health_description = (char *)f->description;
    if (rpc_stream_send(l->stream, &out.base) == -ENOMEM)
        log_warn("fingerprint", NULL, "out of memory, retrying");
}

/* Reports a driver that cannot start as an unhealthy fingerprint and keeps the stream open. If the
 * stream ended, the agent would open it again immediately, for ever. */
static void send_undetected(struct listener *l, const struct err *err) {
    struct driver_fingerprint f = {.health = DRIVER_UNDETECTED};
    snprintf(f.description, sizeof(f.description), "%.255s", err->text);
    on_fingerprint(l, &f);
}

void svc_driver_fingerprint(struct rpc_stream *s, const ProtobufCMessage *req) {
    struct err err = {0};
    (void)req;
    struct listener *l = listener_new(s);
    if (l && fingerprint_subscribe(rpc_stream_app(s), on_fingerprint, l, &l->sub, &err) < 0)
        send_undetected(l, &err);
}

static void on_task_event(void *ctx, const struct driver_event *e) {
    struct listener *l = ctx;
    Driver__DriverTaskEvent__AnnotationsEntry entries[8], *refs[8];
    size_t n = e->annotations.n < ARRAY_LEN(entries) ? e->annotations.n : ARRAY_LEN(entries);
    for (size_t i = 0; i < n; i++) {
        driver__driver_task_event__annotations_entry__init(&entries[i]);
        entries[i].key = e->annotations.v[i].key;
        entries[i].value = e->annotations.v[i].value;
        refs[i] = &entries[i];
    }
    Google__Protobuf__Timestamp when;
    svc_common_fill_time(&when, e->time_ns);
    Driver__DriverTaskEvent out = DRIVER__DRIVER_TASK_EVENT__INIT;
    out.task_id = (char *)e->task_id;
    out.alloc_id = (char *)e->alloc_id;
    out.task_name = (char *)e->task_name;
    out.message = (char *)e->message;
    out.timestamp = &when;
    out.n_annotations = n;
    out.annotations = refs;
    if (rpc_stream_send(l->stream, &out.base) < 0)
        log_debug("task_events", LOG_KV("task_id", e->task_id),
                  "event lost: nobody reads, ignoring");
}

void svc_driver_task_events(struct rpc_stream *s, const ProtobufCMessage *req) {
    struct err err = {0};
    (void)req;
    struct listener *l = listener_new(s);
    if (l && driver_task_events(rpc_stream_app(s), on_task_event, l, &l->sub, &err) < 0)
        log_warn("task_events", NULL, "%s, ignoring", err.text);
}

/* ---- networks ---- */

void svc_driver_create_network(struct rpc_call *c, const ProtobufCMessage *req) {
    const Driver__CreateNetworkRequest *in = (const Driver__CreateNetworkRequest *)req;
    struct driver_network net = {0};
    struct err err = {0};
    if (networks_create(rpc_call_app(c), rpc_call_context(c), in->alloc_id, in->hostname, &net,
                        &err) < 0) {
        rpc_call_fail(c, &err);
        return;
    }
    Driver__NetworkIsolationSpec__LabelsEntry entries[4], *refs[4];
    size_t n = net.labels.n < ARRAY_LEN(entries) ? net.labels.n : ARRAY_LEN(entries);
    for (size_t i = 0; i < n; i++) {
        driver__network_isolation_spec__labels_entry__init(&entries[i]);
        entries[i].key = net.labels.v[i].key;
        entries[i].value = net.labels.v[i].value;
        refs[i] = &entries[i];
    }
    Driver__NetworkIsolationSpec spec = DRIVER__NETWORK_ISOLATION_SPEC__INIT;
    spec.mode = DRIVER__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__GROUP;
    spec.path = net.path;
    spec.n_labels = n;
    spec.labels = refs;
    Driver__CreateNetworkResponse out = DRIVER__CREATE_NETWORK_RESPONSE__INIT;
    out.isolation_spec = &spec;
    out.created = net.created;
    rpc_call_reply(c, &out.base);
    networks_created_done(&net);
}

void svc_driver_destroy_network(struct rpc_call *c, const ProtobufCMessage *req) {
    const Driver__DestroyNetworkRequest *in = (const Driver__DestroyNetworkRequest *)req;
    const char *id = "";
    for (size_t i = 0; in->isolation_spec && i < in->isolation_spec->n_labels; i++)
        if (strcmp(in->isolation_spec->labels[i]->key, "docker_sandbox_container_id") == 0)
            id = in->isolation_spec->labels[i]->value;
    struct err err = {0};
    if (networks_destroy(rpc_call_app(c), rpc_call_context(c), in->alloc_id, id, &err) < 0) {
        rpc_call_fail(c, &err);
        return;
    }
    Driver__DestroyNetworkResponse out = DRIVER__DESTROY_NETWORK_RESPONSE__INIT;
    rpc_call_reply(c, &out.base);
}
