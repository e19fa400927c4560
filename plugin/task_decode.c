/* SPDX-License-Identifier: MPL-2.0 */
/* Copies a TaskConfig message of the host into the driver's own struct.
 *
 * svc_task.c calls it for StartTask and RecoverTask. The copy does not point into the message. A
 * host may omit any part of the message, so each submessage can be NULL. Maps are sorted by key,
 * because the order of a Go map changes with each message. */
#include "plugin/task_decode.h"

#include <stdio.h>
#include <string.h>

/* Copies one text. @r is shared by many copies: the first failure is kept. */
static void copy_text(char **dst, const char *text, int *r) {
    *dst = strdup(text ? text : "");
    if (!*dst)
        *r = -ENOMEM;
}

static void copy_list(struct strv *dst, size_t n, char **v, int *r) {
    for (size_t i = 0; i < n && *r == 0; i++)
        *r = strv_add(dst, v[i]);
}

/* The three map types of a task have the same layout; protobuf-c makes a
 * struct for each of them. */
struct entry {
    ProtobufCMessage base;
    char *key, *value;
};
_Static_assert(sizeof(struct entry) == sizeof(Driver__TaskConfig__EnvEntry), "map entry");
_Static_assert(sizeof(struct entry) == sizeof(Driver__TaskConfig__DeviceEnvEntry), "map entry");
_Static_assert(sizeof(struct entry) == sizeof(Driver__NetworkIsolationSpec__LabelsEntry),
               "map entry");

struct ranked {
    const struct entry *e;
    size_t at;
};

static int compare_ranked(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    int c = strcmp(x->e->key, y->e->key);
    return c ? c : (x->at > y->at) - (x->at < y->at);
}

/* Copies a map, sorted by key. Of equal keys the last one counts. kvs_set() is not used, because
 * its search would take seconds for a large environment. */
static int copy_map(struct kvs *dst, size_t n, void *entries) {
    struct entry **in = entries;
    AUTO_FREE struct ranked *order = calloc(n + 1, sizeof(*order));
    dst->v = calloc(n + 1, sizeof(*dst->v));
    if (!order || !dst->v)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        order[i] = (struct ranked){in[i], i};
    qsort(order, n, sizeof(*order), compare_ranked);
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && strcmp(order[i].e->key, order[i + 1].e->key) == 0)
            continue;
        int r = 0;
        struct kv *kv = &dst->v[dst->n++];
        copy_text(&kv->key, order[i].e->key, &r);
        copy_text(&kv->value, order[i].e->value, &r);
        if (r < 0)
            return r;
    }
    return 0;
}

static struct task_port *copy_network_ports(size_t n, Driver__NetworkPort **in, size_t *ret_n,
                                            int *r) {
    struct task_port *ports = calloc(n + 1, sizeof(*ports));
    if (!ports) {
        *r = -ENOMEM;
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        copy_text(&ports[i].label, in[i]->label, r);
        copy_text(&ports[i].host_ip, "", r);
        ports[i].value = in[i]->value;
    }
    *ret_n = n;
    return ports;
}

static void decode_networks(const Driver__AllocatedTaskResources *in, struct task_resources *out,
                            int *r) {
    out->networks = calloc(in->n_networks + 1, sizeof(*out->networks));
    if (!out->networks) {
        *r = -ENOMEM;
        return;
    }
    for (size_t i = 0; i < in->n_networks; i++) {
        const Driver__NetworkResource *from = in->networks[i];
        struct task_network *to = &out->networks[out->n_networks++];
        copy_text(&to->device, from->device, r);
        copy_text(&to->cidr, from->cidr, r);
        copy_text(&to->ip, from->ip, r);
        to->mbits = from->mbits;
        to->reserved_ports = copy_network_ports(from->n_reserved_ports, from->reserved_ports,
                                                &to->n_reserved_ports, r);
        to->dynamic_ports =
            copy_network_ports(from->n_dynamic_ports, from->dynamic_ports, &to->n_dynamic_ports, r);
    }
}

static void decode_linux(const Driver__LinuxResources *in, struct task_resources *out, int *r) {
    out->linux_present = in != NULL;
    copy_text(&out->cpuset_cpus, in ? in->cpuset_cpus : "", r);
    copy_text(&out->cpuset_cgroup, in ? in->cpuset_cgroup : "", r);
    if (!in)
        return;
    out->cpu_period = in->cpu_period;
    out->cpu_quota = in->cpu_quota;
    out->cpu_shares = in->cpu_shares;
    out->memory_limit_bytes = in->memory_limit_bytes;
    out->oom_score_adj = in->oom_score_adj;
    out->percent_ticks = in->percent_ticks;
}

static void decode_resources(const Driver__Resources *in, struct task_resources *out, int *r) {
    out->present = in != NULL;
    decode_linux(in ? in->linux_resources : NULL, out, r);
    if (!in)
        return;
    const Driver__AllocatedTaskResources *nomad = in->allocated_resources;
    if (nomad) {
        out->nomad_present = true;
        out->cpu_mhz = nomad->cpu ? nomad->cpu->cpu_shares : 0;
        out->memory_mb = nomad->memory ? nomad->memory->memory_mb : 0;
        out->memory_max_mb = nomad->memory ? nomad->memory->memory_max_mb : 0;
        decode_networks(nomad, out, r);
    }
    out->ports = calloc(in->n_ports + 1, sizeof(*out->ports));
    if (!out->ports) {
        *r = -ENOMEM;
        return;
    }
    for (size_t i = 0; i < in->n_ports; i++) {
        struct task_port *p = &out->ports[out->n_ports++];
        copy_text(&p->label, in->ports[i]->label, r);
        copy_text(&p->host_ip, in->ports[i]->host_ip, r);
        p->value = in->ports[i]->value;
        p->to = in->ports[i]->to;
    }
}

static void decode_mounts(const Driver__TaskConfig *in, struct task_config *out, int *r) {
    out->mounts = calloc(in->n_mounts + 1, sizeof(*out->mounts));
    out->devices = calloc(in->n_devices + 1, sizeof(*out->devices));
    if (!out->mounts || !out->devices) {
        *r = -ENOMEM;
        return;
    }
    for (size_t i = 0; i < in->n_mounts; i++) {
        struct task_mount *m = &out->mounts[out->n_mounts++];
        copy_text(&m->task_path, in->mounts[i]->task_path, r);
        copy_text(&m->host_path, in->mounts[i]->host_path, r);
        copy_text(&m->propagation_mode, in->mounts[i]->propagation_mode, r);
        m->readonly = in->mounts[i]->readonly;
    }
    for (size_t i = 0; i < in->n_devices; i++) {
        struct task_device *d = &out->devices[out->n_devices++];
        copy_text(&d->task_path, in->devices[i]->task_path, r);
        copy_text(&d->host_path, in->devices[i]->host_path, r);
        copy_text(&d->cgroup_permissions, in->devices[i]->cgroup_permissions, r);
    }
}

static int decode_network(const Driver__NetworkIsolationSpec *in, struct net_isolation *out) {
    int r = 0;
    out->present = in != NULL;
    out->mode = in ? (enum net_isolation_mode)in->mode : NET_HOST;
    out->hosts_present = in && in->hosts_config;
    copy_text(&out->path, in ? in->path : "", &r);
    copy_text(&out->hosts_hostname, out->hosts_present ? in->hosts_config->hostname : "", &r);
    copy_text(&out->hosts_address, out->hosts_present ? in->hosts_config->address : "", &r);
    return r < 0 || !in ? r : copy_map(&out->labels, in->n_labels, in->labels);
}

static void decode_dns(const Driver__DNSConfig *in, struct task_dns *out, int *r) {
    out->present = in != NULL;
    if (!in)
        return;
    copy_list(&out->servers, in->n_servers, in->servers, r);
    copy_list(&out->searches, in->n_searches, in->searches, r);
    copy_list(&out->options, in->n_options, in->options, r);
}

static void decode_texts(const Driver__TaskConfig *in, struct task_config *out, int *r) {
    const struct {
        char **to;
        const char *from;
    } texts[] = {
        {&out->id, in->id},
        {&out->name, in->name},
        {&out->user, in->user},
        {&out->alloc_dir, in->alloc_dir},
        {&out->stdout_path, in->stdout_path},
        {&out->stderr_path, in->stderr_path},
        {&out->task_group_name, in->task_group_name},
        {&out->job_name, in->job_name},
        {&out->alloc_id, in->alloc_id},
        {&out->job_id, in->job_id},
        {&out->namespace, in->namespace_},
        {&out->node_name, in->node_name},
        {&out->node_id, in->node_id},
        {&out->parent_job_id, in->parent_job_id},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        copy_text(texts[i].to, texts[i].from, r);
}

static int decode_driver_config(const ProtobufCBinaryData *in, struct task_config *out) {
    if (in->len == 0)
        return 0;
    out->driver_config = malloc(in->len);
    if (!out->driver_config)
        return -ENOMEM;
    memcpy(out->driver_config, in->data, in->len);
    out->driver_config_len = in->len;
    return 0;
}

int task_decode(const Driver__TaskConfig *in, struct task_config *ret, struct err *err) {
    if (!in)
        return err_set(err, ERR_INVALID, EINVAL, "task: the task's configuration is missing");
    const struct {
        const char *name, *value;
    } required[] = {{"id", in->id}, {"name", in->name}, {"alloc_dir", in->alloc_dir}};
    for (size_t i = 0; i < ARRAY_LEN(required); i++)
        if (str_empty(required[i].value))
            return err_set(err, ERR_INVALID, EINVAL, "task.%s: must not be empty",
                           required[i].name);

    AUTO_TASK_CONFIG struct task_config out = {0};
    int r = 0;
    decode_texts(in, &out, &r);
    if (r == 0)
        r = decode_driver_config(&in->msgpack_driver_config, &out);
    if (r == 0)
        r = copy_map(&out.env, in->n_env, in->env);
    if (r == 0)
        r = copy_map(&out.device_env, in->n_device_env, in->device_env);
    if (r == 0)
        decode_resources(in->resources, &out.resources, &r);
    if (r == 0)
        decode_mounts(in, &out, &r);
    if (r == 0)
        r = decode_network(in->network_isolation_spec, &out.network);
    if (r == 0)
        decode_dns(in->dns, &out.dns, &r);
    if (r < 0)
        return err_oom(err);
    *ret = TAKE_STRUCT(out);
    return 0;
}
