/* SPDX-License-Identifier: MPL-2.0 */
/* The table of the job's config block, and its decoder.
 *
 * task_start.c calls config_job_decode() for each start. Names, types and defaults are those of
 * Nomad's docker driver. Here only the types are checked, and an empty image is refused. What a
 * value means, and whether it is allowed, is decided when the create request is made. */
#include "src/config/config_table.h"
#include "src/config/config_wire.h"

#define AT(member) offsetof(struct job_config, member)
#define ROW(field_name, kind, member, literal, text)                                               \
    {                                                                                              \
        .name = (field_name), .type = (kind), .default_literal = (literal), .offset = AT(member),  \
        .help = (text)                                                                             \
    }
#define OPT_INT(field_name, struct_name, member, text)                                             \
    {                                                                                              \
        .name = (field_name), .type = CONFIG_NUMBER,                                               \
        .offset = offsetof(struct struct_name, member), .aux = CONFIG_AUX_OPT, .help = (text)      \
    }
#define BLOCK(field_name, inner, text)                                                             \
    { .name = (field_name), .type = CONFIG_BLOCK, .fields = (inner), .help = (text) }
#define LIST(field_name, inner, struct_name, member, text)                                         \
    {                                                                                              \
        .name = (field_name), .type = CONFIG_BLOCK_LIST, .fields = (inner), .offset = AT(member),  \
        .aux = sizeof(struct struct_name), .help = (text)                                          \
    }
#define OF(struct_name, field_name, kind, member, literal, text)                                   \
    {                                                                                              \
        .name = (field_name), .type = (kind), .default_literal = (literal),                        \
        .offset = offsetof(struct struct_name, member), .help = (text)                             \
    }
#define SECRET(field_name, kind, struct_name, member, text)                                        \
    {                                                                                              \
        .name = (field_name), .type = (kind), .secret = true,                                      \
        .offset = offsetof(struct struct_name, member), .help = (text)                             \
    }
#define END                                                                                        \
    { .name = NULL }

/* The decoder expects a list's count directly after its pointer. */
_Static_assert(AT(n_devices) == AT(devices) + sizeof(void *), "count follows list");
_Static_assert(AT(n_mounts) == AT(mounts) + sizeof(void *), "count follows list");

static const struct config_field auth_fields[] = {
    ROW("username", CONFIG_STRING, auth_username, NULL, "registry user"),
    ROW("password", CONFIG_STRING, auth_password, NULL, "registry password"),
    ROW("email", CONFIG_STRING, auth_email, NULL, "accepted, ignored"),
    ROW("server_address", CONFIG_STRING, auth_server_address, NULL, "registry, if not the image's"),
    END};

static const struct config_field device_fields[] = {
    OF(job_device, "host_path", CONFIG_STRING, host_path, NULL, "device on the host (needed)"),
    OF(job_device, "container_path", CONFIG_STRING, container_path, NULL,
       "its name inside; not given: the same"),
    OF(job_device, "cgroup_permissions", CONFIG_STRING, cgroup_permissions, NULL,
       "any of `r`, `w`, `m`; not given: `rwm`"),
    END};

static const struct config_field healthchecks_fields[] = {
    ROW("disable", CONFIG_BOOL, healthchecks_disable, NULL, "switch the image's healthcheck off"),
    END};

static const struct config_field logging_fields[] = {
    ROW("type", CONFIG_STRING, logging_type, NULL, "Docker log driver"),
    ROW("driver", CONFIG_STRING, logging_driver, NULL, "old name of `type`, which wins"),
    SECRET("config", CONFIG_MAP_STRING, job_config, logging_config, "its options"), END};

static const struct config_field bind_fields[] = {
    OF(job_mount, "propagation", CONFIG_STRING, propagation, NULL, "`rprivate`, `rshared`, ..."),
    END};

static const struct config_field tmpfs_fields[] = {
    OPT_INT("size", job_mount, tmpfs_size, "bytes"),
    OPT_INT("mode", job_mount, tmpfs_mode, "file mode, decimal"), END};

static const struct config_field volume_driver_fields[] = {
    OF(job_mount, "name", CONFIG_STRING, volume_driver_name, NULL, "volume driver"),
    SECRET("options", CONFIG_MAP_STRING, job_mount, volume_driver_options, "its options"), END};

static const struct config_field volume_fields[] = {
    OF(job_mount, "no_copy", CONFIG_BOOL, no_copy, NULL, "do not fill it from the image"),
    OF(job_mount, "labels", CONFIG_MAP_STRING, volume_labels, NULL, "labels of the volume"),
    BLOCK("driver_config", volume_driver_fields, "who makes the volume"), END};

static const struct config_field mount_fields[] = {
    OF(job_mount, "type", CONFIG_STRING, type, "\"volume\"", "`volume`, `bind` or `tmpfs`"),
    OF(job_mount, "target", CONFIG_STRING, target, NULL, "path inside"),
    OF(job_mount, "source", CONFIG_STRING, source, NULL, "host path or volume name"),
    OF(job_mount, "readonly", CONFIG_BOOL, readonly, NULL, "no writing"),
    BLOCK("bind_options", bind_fields, "for `bind`"),
    BLOCK("tmpfs_options", tmpfs_fields, "for `tmpfs`"),
    BLOCK("volume_options", volume_fields, "for `volume`"),
    END};

static const struct config_field table[] = {
    {.name = "image",
     .type = CONFIG_STRING,
     .required = true,
     .offset = AT(image),
     .help = "image to run; a leading `https://` is cut off"},
    ROW("advertise_ipv6_address", CONFIG_BOOL, advertise_ipv6_address, NULL,
        "advertise the container's IPv6 address"),
    ROW("args", CONFIG_LIST_STRING, args, NULL, "arguments, after `command` if there is one"),
    {.name = "auth",
     .type = CONFIG_BLOCK,
     .secret = true,
     .fields = auth_fields,
     .help = "credentials for the image's registry"},
    ROW("auth_soft_fail", CONFIG_BOOL, auth_soft_fail, NULL,
        "pull without credentials when they cannot be found"),
    ROW("cap_add", CONFIG_LIST_STRING, cap_add, NULL,
        "Linux capabilities to add (of `allow_caps`)"),
    ROW("cap_drop", CONFIG_LIST_STRING, cap_drop, NULL, "Linux capabilities to drop"),
    ROW("cgroupns", CONFIG_STRING, cgroupns, NULL, "cgroup namespace: `host` or `private`"),
    ROW("command", CONFIG_STRING, command, NULL, "command to run instead of the image's"),
    OPT_INT("container_exists_attempts", job_config, container_exists_attempts,
            "accepted, without effect, as in Nomad"),
    ROW("cpu_cfs_period", CONFIG_NUMBER, cpu_cfs_period, "100000",
        "period of `cpu_hard_limit` in microseconds, 0 to 1000000"),
    ROW("cpu_hard_limit", CONFIG_BOOL, cpu_hard_limit, NULL, "never more CPU than reserved"),
    ROW("cpuset_cpus", CONFIG_STRING, cpuset_cpus, NULL,
        "old: the cores come from Nomad (`cores` of `resources`)"),
    LIST("devices", device_fields, job_device, devices, "devices of the host"),
    ROW("dns_search_domains", CONFIG_LIST_STRING, dns_search_domains, NULL,
        "DNS search domains, unless the network block has `dns`"),
    ROW("dns_options", CONFIG_LIST_STRING, dns_options, NULL, "DNS options, likewise"),
    ROW("dns_servers", CONFIG_LIST_STRING, dns_servers, NULL, "DNS servers, likewise"),
    {.name = "entrypoint",
     .type = CONFIG_LIST_STRING,
     .offset = AT(entrypoint),
     .aux = AT(entrypoint_present),
     .help = "entrypoint instead of the image's; `[]`: none"},
    ROW("extra_hosts", CONFIG_LIST_STRING, extra_hosts, NULL,
        "`name:address` lines for /etc/hosts"),
    ROW("force_pull", CONFIG_BOOL, force_pull, NULL, "pull even when the image is there"),
    ROW("group_add", CONFIG_LIST_STRING, group_add, NULL, "further groups of the process"),
    BLOCK("healthchecks", healthchecks_fields, "Docker's own health checks"),
    ROW("hostname", CONFIG_STRING, hostname, NULL, "host name inside"),
    ROW("image_pull_timeout", CONFIG_DURATION, image_pull_timeout_us, NULL,
        "longest pull; not given: the plugin's"),
    ROW("init", CONFIG_BOOL, init, NULL, "run an init process that reaps"),
    ROW("interactive", CONFIG_BOOL, interactive, NULL, "keep stdin open"),
    ROW("ipc_mode", CONFIG_STRING, ipc_mode, NULL, "IPC namespace (of `allowed_modes`)"),
    ROW("ipv4_address", CONFIG_STRING, ipv4_address, NULL, "fixed address in a Docker network"),
    ROW("ipv6_address", CONFIG_STRING, ipv6_address, NULL, "fixed address in a Docker network"),
    ROW("isolation", CONFIG_STRING, isolation, NULL, "for Windows only: refused when set"),
    ROW("labels", CONFIG_MAP_STRING, labels, NULL, "labels of the container"),
    ROW("load", CONFIG_STRING, load, NULL, "image archive below the task's `local/` to load"),
    BLOCK("logging", logging_fields, "Docker's own logging; not given: the plugin's"),
    ROW("mac_address", CONFIG_STRING, mac_address, NULL, "MAC address"),
    ROW("memory_hard_limit", CONFIG_NUMBER, memory_hard_limit_mb, NULL,
        "hard limit in MB; the task's memory becomes the reservation"),
    LIST("mount", mount_fields, job_mount, mounts, "a mount"),
    LIST("mounts", mount_fields, job_mount, mounts, "old name of `mount`, added after those"),
    ROW("network_aliases", CONFIG_LIST_STRING, network_aliases, NULL,
        "names in a user-defined Docker network"),
    ROW("network_mode", CONFIG_STRING, network_mode, NULL,
        "`bridge`, `host`, `none`, `container:x` or a Docker network"),
    ROW("oom_score_adj", CONFIG_NUMBER, oom_score_adj, "0", "OOM killer's preference"),
    ROW("pid_mode", CONFIG_STRING, pid_mode, NULL, "PID namespace (of `allowed_modes`)"),
    OPT_INT("pids_limit", job_config, pids_limit, "most processes; not above the plugin's"),
    ROW("port_map", CONFIG_MAP_NUMBER, port_map, NULL,
        "old: container ports by label, for task-level networks"),
    ROW("ports", CONFIG_LIST_STRING, ports, NULL, "labels of the group's ports to publish"),
    ROW("privileged", CONFIG_BOOL, privileged, NULL, "all privileges, if `allow_privileged`"),
    ROW("readonly_rootfs", CONFIG_BOOL, readonly_rootfs, NULL, "read-only root file system"),
    ROW("runtime", CONFIG_STRING, runtime, NULL, "OCI runtime (of `allow_runtimes`)"),
    ROW("security_opt", CONFIG_LIST_STRING, security_opt, NULL,
        "Docker security options; seccomp profiles by path"),
    ROW("shm_size", CONFIG_NUMBER, shm_size, NULL, "bytes of /dev/shm"),
    ROW("storage_opt", CONFIG_ATTRS, storage_opt, NULL, "storage driver options"),
    ROW("sysctl", CONFIG_MAP_STRING, sysctl, NULL, "kernel parameters of the container"),
    ROW("tty", CONFIG_BOOL, tty, NULL, "give it a terminal"),
    ROW("ulimit", CONFIG_MAP_STRING, ulimit, NULL, "`name = \"soft:hard\"`"),
    ROW("userns_mode", CONFIG_STRING, userns_mode, NULL, "user namespace (of `allowed_modes`)"),
    ROW("uts_mode", CONFIG_STRING, uts_mode, NULL, "UTS namespace (of `allowed_modes`)"),
    ROW("volume_driver", CONFIG_STRING, volume_driver, NULL,
        "driver of named volumes; needs `volumes.enabled`"),
    ROW("volumes", CONFIG_LIST_STRING, volumes, NULL, "binds, `source:target[:mode]`"),
    ROW("work_dir", CONFIG_STRING, work_dir, NULL, "working directory"),
    END};

const struct config_field *config_job_table(void) {
    return table;
}

int config_job_decode(const void *msgpack, size_t len, struct job_config *ret, struct err *err) {
    AUTO_JOB_CONFIG struct job_config c = {0};
    AUTO_CONFIG_JSON json_t *object = NULL;
    int r = len ? config_wire_decode(msgpack, len, &object, err) : 0;
    if (r == 0)
        r = config_table_decode(table, object, &c, err);
    if (r < 0)
        return r;
    config_table_strip_https(c.image);
    if (str_empty(c.image))
        return err_set(err, ERR_INVALID, EINVAL, "image name required for docker driver");
    *ret = TAKE_STRUCT(c);
    return 0;
}

void config_job_done(struct job_config *c) {
    config_table_done(table, c);
    *c = (struct job_config){0};
}
