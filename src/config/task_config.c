/* SPDX-License-Identifier: MPL-2.0 */
/* Releases a task configuration.
 *
 * task_decode.c in plugin/ fills the struct; the handlers free it here through AUTO_TASK_CONFIG. It
 * accepts a struct that is only partly filled. */
#include "paddock/task_config.h"

static void ports_done(struct task_port **ports, size_t n) {
    for (size_t i = 0; i < n; i++) {
        cleanup_free(&(*ports)[i].label);
        cleanup_free(&(*ports)[i].host_ip);
    }
    cleanup_free(ports);
}

static void networks_done(struct task_resources *r) {
    for (size_t i = 0; i < r->n_networks; i++) {
        struct task_network *n = &r->networks[i];
        cleanup_free(&n->device);
        cleanup_free(&n->cidr);
        cleanup_free(&n->ip);
        ports_done(&n->reserved_ports, n->n_reserved_ports);
        ports_done(&n->dynamic_ports, n->n_dynamic_ports);
    }
    cleanup_free(&r->networks);
}

static void resources_done(struct task_resources *r) {
    networks_done(r);
    cleanup_free(&r->cpuset_cpus);
    cleanup_free(&r->cpuset_cgroup);
    ports_done(&r->ports, r->n_ports);
}

static void mounts_done(struct task_config *c) {
    for (size_t i = 0; i < c->n_mounts; i++) {
        cleanup_free(&c->mounts[i].task_path);
        cleanup_free(&c->mounts[i].host_path);
        cleanup_free(&c->mounts[i].propagation_mode);
    }
    cleanup_free(&c->mounts);
}

static void devices_done(struct task_config *c) {
    for (size_t i = 0; i < c->n_devices; i++) {
        cleanup_free(&c->devices[i].task_path);
        cleanup_free(&c->devices[i].host_path);
        cleanup_free(&c->devices[i].cgroup_permissions);
    }
    cleanup_free(&c->devices);
}

void task_config_done(struct task_config *c) {
    char **texts[] = {&c->id,
                      &c->name,
                      &c->user,
                      &c->alloc_dir,
                      &c->stdout_path,
                      &c->stderr_path,
                      &c->task_group_name,
                      &c->job_name,
                      &c->alloc_id,
                      &c->job_id,
                      &c->namespace,
                      &c->node_name,
                      &c->node_id,
                      &c->parent_job_id,
                      &c->network.path,
                      &c->network.hosts_hostname,
                      &c->network.hosts_address};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        cleanup_free(texts[i]);
    cleanup_free(&c->driver_config);
    kvs_done(&c->env);
    kvs_done(&c->device_env);
    resources_done(&c->resources);
    mounts_done(c);
    devices_done(c);
    kvs_done(&c->network.labels);
    strv_done(&c->dns.servers);
    strv_done(&c->dns.searches);
    strv_done(&c->dns.options);
    *c = (struct task_config){0};
}
