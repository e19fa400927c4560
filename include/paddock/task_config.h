/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Nomad's TaskConfig as a plain struct; its fields are those of Nomad's driver.proto. plugin/ fills
 * it from protobuf, and nothing in src/ uses protobuf. All strings are owned, absent ones are "".
 * Plain data: any thread that owns the struct. */
#include "paddock/strv.h"
#include <stdbool.h>
#include <stdint.h>

struct task_port {
    char *label;
    int32_t value; /* host port */
    int32_t to;    /* container port, 0 = same as value */
    char *host_ip;
};

struct task_network { /* NetworkResource: task networks of old job files */
    char *device, *cidr, *ip;
    int32_t mbits;
    struct task_port *reserved_ports; /* label and value only */
    size_t n_reserved_ports;
    struct task_port *dynamic_ports;
    size_t n_dynamic_ports;
};

struct task_mount {
    char *task_path, *host_path;
    bool readonly;
    char *propagation_mode; /* "", private, host-to-task, bidirectional */
};

struct task_device {
    char *task_path, *host_path, *cgroup_permissions;
};

struct task_resources {
    bool present;                     /* TaskConfig.resources was present */
    bool nomad_present;               /* allocated_resources was present */
    bool linux_present;               /* linux_resources was present */
    int64_t cpu_mhz;                  /* allocated_resources.cpu.cpu_shares */
    int64_t memory_mb, memory_max_mb; /* max: 0 = none, -1 = unlimited */
    struct task_network *networks;
    size_t n_networks;
    int64_t cpu_period, cpu_quota, cpu_shares, memory_limit_bytes, oom_score_adj;
    double percent_ticks;
    char *cpuset_cpus;   /* reserved cores, "2,3", or "" */
    char *cpuset_cgroup; /* the cgroup that contains the set Nomad wants, or "" */
    struct task_port *ports;
    size_t n_ports;
};

enum net_isolation_mode { NET_HOST = 0, NET_GROUP = 1, NET_TASK = 2, NET_NONE = 3 };

struct net_isolation {
    bool present;
    enum net_isolation_mode mode;
    char *path; /* netns file */
    struct kvs labels;
    bool hosts_present;
    char *hosts_hostname, *hosts_address;
};

struct task_dns {
    bool present;
    struct strv servers, searches, options;
};

struct task_config {
    char *id, *name;
    void *driver_config; /* msgpack of the job's config block; NULL when absent */
    size_t driver_config_len;
    struct kvs env, device_env;
    struct task_resources resources;
    struct task_mount *mounts;
    size_t n_mounts;
    struct task_device *devices;
    size_t n_devices;
    char *user, *alloc_dir, *stdout_path, *stderr_path;
    char *task_group_name, *job_name, *alloc_id, *job_id, *namespace, *node_name, *node_id;
    char *parent_job_id;
    struct net_isolation network;
    struct task_dns dns;
};

/** Releases the members of the struct and zeroes it. */
void task_config_done(struct task_config *c);
#define AUTO_TASK_CONFIG __attribute__((cleanup(task_config_done)))
