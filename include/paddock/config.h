/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* The two configurations as plain structs: the plugin block of the client's HCL, and the
 * job's config block.
 *
 * The tables in src/config contain the name, type, default, place and help text of each field. The
 * hclspec, the decoder, the defaults, the error texts and the reference in the docs are all made
 * from these tables. The meaning of a field and its default are those of Nomad's docker driver. All
 * strings are owned; "" = not given. */
#include "paddock/err.h"
#include "paddock/strv.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct opt_int { /* a number that may be absent (nil on the wire) */
    bool set;
    int64_t v;
};

enum cpuset_mems { CPUSET_MEMS_OFF, CPUSET_MEMS_FOLLOW };

struct plugin_config {
    char *endpoint; /* "" = DOCKER_HOST or unix:///var/run/docker.sock */
    char *auth_config, *auth_helper;
    char *tls_cert, *tls_key, *tls_ca;
    struct strv extra_labels;
    char *logging_type; /* json-file */
    struct kvs logging_config;
    bool gc_image, gc_container;
    int64_t gc_image_delay_us;
    bool dangling_enabled, dangling_dry_run;
    int64_t dangling_period_us, dangling_grace_us;
    bool volumes_enabled;
    char *volumes_selinuxlabel;
    bool allow_privileged;
    struct strv allow_caps, allow_runtimes;
    char *nvidia_runtime;
    char *infra_image; /* "https://" prefix stripped */
    int64_t infra_image_pull_timeout_us, image_pull_timeout_us, pull_activity_timeout_us;
    int64_t container_exists_attempts;
    int64_t oom_score_adj;
    int64_t pids_limit;     /* 0 = unset */
    int64_t log_backlog_mb; /* of 1,000,000 bytes */
    bool disable_log_collection;
    struct strv allowed_pid_modes, allowed_ipc_modes, allowed_userns_modes, allowed_uts_modes;
    /* fields of this driver only */
    bool cpuset_enabled;
    int64_t cpuset_interval_us;
    bool cpuset_systemd;
    bool cpuset_realtime;
    enum cpuset_mems cpuset_mems;
    char *metrics_listen; /* "" = off; else 127.0.0.1:PORT */
    /* Not in the HCL: from the NomadDriverConfig of SetConfig, filled by plugin/ (0 = unknown). */
    uint64_t node_total_compute_mhz;
    unsigned node_cores;
};

struct job_device {
    char *host_path, *container_path, *cgroup_permissions;
};

struct job_mount {
    char *type, *target, *source; /* type: volume (default), bind, tmpfs */
    bool readonly;
    char *propagation;
    struct opt_int tmpfs_size, tmpfs_mode;
    bool no_copy;
    struct kvs volume_labels;
    char *volume_driver_name;
    struct kvs volume_driver_options;
};

struct job_ulimit_text { /* as written; parsed when the create request is made */
    char *name, *value;
};

struct job_config {
    char *image;
    bool advertise_ipv6_address;
    struct strv args;
    char *auth_username, *auth_password, *auth_email, *auth_server_address;
    bool auth_soft_fail;
    struct strv cap_add, cap_drop;
    char *cgroupns, *command;
    struct opt_int container_exists_attempts;
    int64_t cpu_cfs_period; /* 100000 */
    bool cpu_hard_limit;
    char *cpuset_cpus;
    struct job_device *devices;
    size_t n_devices;
    struct strv dns_search_domains, dns_options, dns_servers;
    struct strv entrypoint, extra_hosts;
    bool entrypoint_present; /* an empty list clears the image's entrypoint */
    bool force_pull;
    struct strv group_add;
    bool healthchecks_disable;
    char *hostname;
    int64_t image_pull_timeout_us; /* 0 = the plugin's */
    bool init, interactive;
    char *ipc_mode, *ipv4_address, *ipv6_address, *isolation;
    struct kvs labels;
    char *load;
    char *logging_type, *logging_driver;
    struct kvs logging_config;
    char *mac_address;
    int64_t memory_hard_limit_mb;
    struct job_mount *mounts; /* the mount blocks, then the entries of the older `mounts` */
    size_t n_mounts;
    struct strv network_aliases;
    char *network_mode;
    int64_t oom_score_adj;
    char *pid_mode;
    struct opt_int pids_limit;
    struct kvs port_map; /* label -> container port, decimal */
    struct strv ports;
    bool privileged, readonly_rootfs;
    char *runtime;
    struct strv security_opt;
    int64_t shm_size;
    struct kvs storage_opt, sysctl, ulimit;
    bool tty;
    char *userns_mode, *uts_mode, *volume_driver;
    struct strv volumes;
    char *work_dir;
};

/** Decodes the msgpack of SetConfig (empty = all defaults) and checks each value.
 *  Returns 0; -EINVAL (ERR_INVALID) with a text that names the key and the value; -ENOMEM.
 *  @ret: set on success only. Pure, any thread. */
int config_plugin_decode(const void *msgpack, size_t len, struct plugin_config *ret,
                         struct err *err) MUST_CHECK;
/** Frees the members and zeroes the struct. */
void config_plugin_done(struct plugin_config *c);
#define AUTO_PLUGIN_CONFIG __attribute__((cleanup(config_plugin_done)))

/** The same for the job's config block. Refuses an empty image here ("image name required
 * for docker driver"). */
int config_job_decode(const void *msgpack, size_t len, struct job_config *ret,
                      struct err *err) MUST_CHECK;
/** Frees the members and zeroes the struct. */
void config_job_done(struct job_config *c);
#define AUTO_JOB_CONFIG __attribute__((cleanup(config_job_done)))

/* The tables, for code that reads them: the hclspec encoder in plugin/ and the
 * reference of the docs. */
enum config_type {
    CONFIG_STRING,
    CONFIG_BOOL,
    CONFIG_NUMBER,
    CONFIG_DURATION,    /* string on the wire */
    CONFIG_LIST_STRING, /* list(string) */
    CONFIG_MAP_STRING,  /* list(map(string)): merged in order, later key wins */
    CONFIG_MAP_NUMBER,  /* list(map(number)) */
    CONFIG_ATTRS,       /* BlockAttrs: a plain map(string) */
    CONFIG_BLOCK,       /* one block with fields of its own */
    CONFIG_BLOCK_LIST,  /* any number of such blocks */
};

struct config_field {
    const char *name;
    enum config_type type;
    bool required;
    bool secret;                 /* no text shows its value, nor the value of a field below it */
    const char *default_literal; /* JSON, which HCL2 reads too ("true", "\"3m\""), NULL = none */
    const struct config_field *fields; /* of a block; ends with name == NULL */
    size_t offset;                     /* where the value goes in the struct */
    size_t aux;       /* for the decoder only (size of a list element, offset of a count...) */
    const char *help; /* one line for the reference */
};

/** Each table is static and ends with name == NULL. */
const struct config_field *config_plugin_table(void);
const struct config_field *config_job_table(void);

/** Writes the section of docs/configuration.md between its two `reference` markers, from the
 * tables. Returns 0 or -EIO. */
int config_reference_markdown(FILE *out) MUST_CHECK;
/** Writes the whole manual page paddock-config(5), from the tables. Returns 0 or -EIO. */
int config_reference_man(FILE *out) MUST_CHECK;
