/* SPDX-License-Identifier: MPL-2.0 */
/* The plugin block of the client's configuration: first the table, then the rules
 * that check values.
 *
 * driver_set_config() decodes SetConfig with it. Names, types and defaults are those of Nomad's
 * docker driver (its documentation; drivers/docker/config.go of v1.6.3). `cpuset` and `metrics` are
 * ours. Default literals are JSON, which HCL2 reads as well. */
#include "src/config/config_table.h"
#include "src/config/config_wire.h"

#include "paddock/clock.h"
#include "paddock/parse.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#if defined(__aarch64__)
#define GOARCH "arm64"
#elif defined(__x86_64__)
#define GOARCH "amd64"
#else
#error "how does Go call this architecture?"
#endif

#define MINUTE_US ((int64_t)(60 * US_PER_SEC))
#define INTERVAL_MIN_US ((int64_t)(10 * US_PER_MS))
#define INTERVAL_MAX_US (60 * MINUTE_US)

#define LOG_BACKLOG_MAX_MB INT64_C(1000000)
#define AT(member) offsetof(struct plugin_config, member)
#define ROW(field_name, kind, member, literal, text)                                               \
    {                                                                                              \
        .name = (field_name), .type = (kind), .default_literal = (literal), .offset = AT(member),  \
        .help = (text)                                                                             \
    }
#define BLOCK(field_name, inner, literal, text)                                                    \
    {                                                                                              \
        .name = (field_name), .type = CONFIG_BLOCK, .default_literal = (literal),                  \
        .fields = (inner), .help = (text)                                                          \
    }
#define END                                                                                        \
    { .name = NULL }

static const struct config_field auth_fields[] = {
    ROW("config", CONFIG_STRING, auth_config, NULL,
        "path of a Docker `config.json` with credentials"),
    ROW("helper", CONFIG_STRING, auth_helper, NULL,
        "credential helper: the `x` of the program `docker-credential-x`"),
    END};

static const struct config_field tls_fields[] = {
    ROW("cert", CONFIG_STRING, tls_cert, NULL, "path of the client's certificate"),
    ROW("key", CONFIG_STRING, tls_key, NULL, "path of its key"),
    ROW("ca", CONFIG_STRING, tls_ca, NULL, "path of the certificate authority's certificate"), END};

static const struct config_field logging_fields[] = {
    ROW("type", CONFIG_STRING, logging_type, NULL, "Docker log driver of tasks that name none"),
    {.name = "config",
     .type = CONFIG_ATTRS,
     .secret = true,
     .offset = AT(logging_config),
     .help = "options of that log driver"},
    END};

static const struct config_field dangling_fields[] = {
    ROW("enabled", CONFIG_BOOL, dangling_enabled, "true",
        "remove containers of this node that no task knows"),
    ROW("period", CONFIG_DURATION, dangling_period_us, "\"5m\"", "time between two looks"),
    ROW("creation_grace", CONFIG_DURATION, dangling_grace_us, "\"5m\"",
        "a container is left alone until it is that old; at least 1m"),
    ROW("dry_run", CONFIG_BOOL, dangling_dry_run, "false", "only log what would be removed"), END};

static const struct config_field gc_fields[] = {
    ROW("image", CONFIG_BOOL, gc_image, "true", "remove images that no task uses any more"),
    ROW("image_delay", CONFIG_DURATION, gc_image_delay_us, "\"3m\"",
        "how long an unused image is kept"),
    ROW("container", CONFIG_BOOL, gc_container, "true",
        "remove a task's container when it is done"),
    BLOCK("dangling_containers", dangling_fields, NULL, "containers that no task uses"), END};

static const struct config_field volumes_fields[] = {
    ROW("enabled", CONFIG_BOOL, volumes_enabled, "false",
        "allow host paths outside the allocation and volume drivers"),
    ROW("selinuxlabel", CONFIG_STRING, volumes_selinuxlabel, NULL,
        "SELinux label of all binds (`z` or `Z`)"),
    END};

static const struct config_field modes_fields[] = {
    ROW("pid", CONFIG_LIST_STRING, allowed_pid_modes, "[]", "values that `pid_mode` may have"),
    ROW("ipc", CONFIG_LIST_STRING, allowed_ipc_modes, "[]", "values that `ipc_mode` may have"),
    ROW("userns", CONFIG_LIST_STRING, allowed_userns_modes, "[]",
        "values that `userns_mode` may have"),
    ROW("uts", CONFIG_LIST_STRING, allowed_uts_modes, "[]", "values that `uts_mode` may have"),
    END};

static const struct config_field cpuset_fields[] = {
    ROW("enabled", CONFIG_BOOL, cpuset_enabled, "true",
        "keep containers on the cores Nomad gave them"),
    ROW("interval", CONFIG_DURATION, cpuset_interval_us, "\"1s\"",
        "longest time until a wrong cpuset is seen, 10ms to 1h"),
    ROW("systemd", CONFIG_BOOL, cpuset_systemd, "true",
        "tell systemd too, so that a daemon-reload does not undo it"),
    ROW("realtime", CONFIG_BOOL, cpuset_realtime, "true",
        "the reconciler's thread has the lowest real-time priority"),
    {.name = "mems",
     .type = CONFIG_STRING,
     .default_literal = "\"off\"",
     .offset = AT(cpuset_mems),
     .aux = CONFIG_AUX_MEMS,
     .help = "`follow`: memory comes from the NUMA nodes of the cores; `off`: from any"},
    END};

static const struct config_field metrics_fields[] = {
    ROW("listen", CONFIG_STRING, metrics_listen, NULL,
        "loopback `HOST:PORT` where Prometheus finds the counters; not given: nowhere"),
    END};

static const struct config_field table[] = {
    ROW("endpoint", CONFIG_STRING, endpoint, NULL,
        "Docker's address; not given: `DOCKER_HOST`, else `unix:///var/run/docker.sock`"),
    {.name = "auth",
     .type = CONFIG_BLOCK,
     .secret = true,
     .fields = auth_fields,
     .help = "where credentials for registries come from"},
    BLOCK("tls", tls_fields, NULL, "TLS towards Docker over TCP"),
    ROW("extra_labels", CONFIG_LIST_STRING, extra_labels, NULL,
        "more labels on containers (globs over `job_name`, `task_name`, `node_id`, ...)"),
    BLOCK("logging", logging_fields,
          "{\"type\": \"json-file\", \"config\": {\"max-file\": \"2\", \"max-size\": \"2m\"}}",
          "Docker's own logging of tasks that set none"),
    BLOCK("gc", gc_fields, NULL, "what is removed when it is no longer used"),
    BLOCK("volumes", volumes_fields, NULL, "what tasks may mount"),
    ROW("allow_privileged", CONFIG_BOOL, allow_privileged, "false", "allow `privileged` tasks"),
    ROW("allow_caps", CONFIG_LIST_STRING, allow_caps,
        "[\"AUDIT_WRITE\", \"CHOWN\", \"DAC_OVERRIDE\", \"FOWNER\", \"FSETID\", \"KILL\", "
        "\"MKNOD\", "
        "\"NET_BIND_SERVICE\", \"SETFCAP\", \"SETGID\", \"SETPCAP\", \"SETUID\", \"SYS_CHROOT\"]",
        "Linux capabilities that tasks may have; `all` for all"),
    ROW("nvidia_runtime", CONFIG_STRING, nvidia_runtime, "\"nvidia\"",
        "runtime of tasks with GPUs"),
    ROW("allow_runtimes", CONFIG_LIST_STRING, allow_runtimes, "[\"runc\", \"nvidia\"]",
        "runtimes that tasks may name"),
    ROW("infra_image", CONFIG_STRING, infra_image, "\"registry.k8s.io/pause-" GOARCH ":3.3\"",
        "image of the container that holds a group's network; on arm64 `pause-arm64`"),
    ROW("infra_image_pull_timeout", CONFIG_DURATION, infra_image_pull_timeout_us, "\"5m\"",
        "longest pull of that image"),
    ROW("image_pull_timeout", CONFIG_DURATION, image_pull_timeout_us, "\"5m\"",
        "longest pull of a task's image, unless the task says otherwise"),
    ROW("container_exists_attempts", CONFIG_NUMBER, container_exists_attempts, "5",
        "attempts at a container name that is taken"),
    ROW("oom_score_adj", CONFIG_NUMBER, oom_score_adj, "0",
        "OOM killer's preference of tasks that set none"),
    ROW("pull_activity_timeout", CONFIG_DURATION, pull_activity_timeout_us, "\"2m\"",
        "a pull without progress for so long is given up; at least 1m"),
    ROW("pids_limit", CONFIG_NUMBER, pids_limit, NULL, "most processes of a task"),
    ROW("log_backlog", CONFIG_NUMBER, log_backlog_mb, "256",
        "paddock's: MB of rotated log files that are held open for each task while Nomad does not "
        "read its output; the oldest are dropped then"),
    ROW("disable_log_collection", CONFIG_BOOL, disable_log_collection, "false",
        "do not bring task output to Nomad"),
    {.name = "windows_allow_insecure_container_admin",
     .type = CONFIG_BOOL,
     .default_literal = "false",
     .aux = CONFIG_AUX_WINDOWS,
     .help = "for Windows only: accepted, without effect, a warning when true"},
    BLOCK("allowed_modes", modes_fields, NULL, "namespaces of others that tasks may enter"),
    BLOCK("cpuset", cpuset_fields, NULL, "paddock's: cores"),
    BLOCK("metrics", metrics_fields, NULL, "paddock's: counters"),
    END};

const struct config_field *config_plugin_table(void) {
    return table;
}

/* ---- rules for values ---- */

static int check_at_least(const char *key, int64_t us, int64_t min_us, const char *min,
                          struct err *err) {
    if (us >= min_us)
        return 0;
    return err_set(err, ERR_INVALID, EINVAL, "%s: %.6gs is less than %s", key,
                   (double)us / (double)US_PER_SEC, min);
}

static int check_log_backlog(const struct plugin_config *c, struct err *err) {
    if (c->log_backlog_mb >= 1 && c->log_backlog_mb <= LOG_BACKLOG_MAX_MB)
        return 0;
    return err_set(err, ERR_INVALID, EINVAL, "log_backlog: %lld is not from 1 to %lld",
                   (long long)c->log_backlog_mb, (long long)LOG_BACKLOG_MAX_MB);
}

static int check_durations(const struct plugin_config *c, struct err *err) {
    int r = check_at_least("gc.dangling_containers.creation_grace", c->dangling_grace_us, MINUTE_US,
                           "1m", err);
    if (r == 0)
        r = check_at_least("gc.dangling_containers.period", c->dangling_period_us, 1000000, "1s",
                           err);
    if (r == 0)
        r = check_at_least("pull_activity_timeout", c->pull_activity_timeout_us, MINUTE_US, "1m",
                           err);
    if (r == 0)
        r = check_at_least("image_pull_timeout", c->image_pull_timeout_us, 1000000, "1s", err);
    if (r == 0)
        r = check_at_least("infra_image_pull_timeout", c->infra_image_pull_timeout_us, 1000000,
                           "1s", err);
    if (r == 0)
        r = check_at_least("cpuset.interval", c->cpuset_interval_us, INTERVAL_MIN_US, "10ms", err);
    if (r == 0 && c->cpuset_interval_us > INTERVAL_MAX_US)
        r = err_set(err, ERR_INVALID, EINVAL, "cpuset.interval: %.6gs is more than 1h",
                    (double)c->cpuset_interval_us / (double)US_PER_SEC);
    return r;
}

/* Docker's validators (moby api/types/container/hostconfig.go, Apache-2.0). All modes allow "host".
 * pid and ipc also allow "container:x" (ipc without the x, too), and ipc three more. */
static bool pid_mode_valid(const char *m) {
    return !m[0] || strcmp(m, "host") == 0 || (strncmp(m, "container:", 10) == 0 && m[10]);
}

static bool ipc_mode_valid(const char *m) {
    return !m[0] || strcmp(m, "host") == 0 || strcmp(m, "none") == 0 || strcmp(m, "private") == 0 ||
           strcmp(m, "shareable") == 0 || strncmp(m, "container:", 10) == 0;
}

static bool host_mode_valid(const char *m) {
    return !m[0] || strcmp(m, "host") == 0;
}

static int check_modes(const struct plugin_config *c, struct err *err) {
    const struct {
        const char *name;
        const struct strv *list;
        bool (*valid)(const char *);
    } kinds[] = {{"pid", &c->allowed_pid_modes, pid_mode_valid},
                 {"ipc", &c->allowed_ipc_modes, ipc_mode_valid},
                 {"userns", &c->allowed_userns_modes, host_mode_valid},
                 {"uts", &c->allowed_uts_modes, host_mode_valid}};
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
        for (size_t i = 0; i < kinds[k].list->n; i++)
            if (!kinds[k].valid(kinds[k].list->v[i]))
                return err_set(err, ERR_INVALID, EINVAL,
                               "cannot apply allowed_modes configuration, allowed_modes.%s: "
                               "\"%.200s\" is not a %s mode of Docker",
                               kinds[k].name, kinds[k].list->v[i], kinds[k].name);
    return 0;
}

/* The counters contain task names, so they must not be reachable from the network. */
static int check_listen(const char *listen, struct err *err) {
    if (!listen[0])
        return 0;
    const char *colon = strrchr(listen, ':');
    char host[64];
    uint64_t port;
    if (!colon || (size_t)(colon - listen) >= sizeof(host) ||
        parse_u64(colon + 1, 65535, &port) < 0 || port == 0)
        return config_table_refuse(err, "metrics.listen", listen, "is not HOST:PORT");
    snprintf(host, sizeof(host), "%.*s", (int)(colon - listen), listen);
    struct in_addr v4;
    bool loopback = strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
                    (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
    return loopback
               ? 0
               : config_table_refuse(err, "metrics.listen", listen, "is not a loopback address");
}

static int check_values(const struct plugin_config *c, struct err *err) {
    int r = check_durations(c, err);
    if (r == 0)
        r = check_log_backlog(c, err);
    if (r == 0)
        r = check_modes(c, err);
    if (r == 0)
        r = check_listen(c->metrics_listen, err);
    if (r == 0 && (c->container_exists_attempts < 0 || c->container_exists_attempts > 1000))
        r = err_set(err, ERR_INVALID, EINVAL, "container_exists_attempts: %lld is not in 0..1000",
                    (long long)c->container_exists_attempts);
    return r;
}

int config_plugin_decode(const void *msgpack, size_t len, struct plugin_config *ret,
                         struct err *err) {
    AUTO_PLUGIN_CONFIG struct plugin_config c = {0};
    AUTO_CONFIG_JSON json_t *object = NULL;
    int r = len ? config_wire_decode(msgpack, len, &object, err) : 0;
    if (r == 0)
        r = config_table_decode(table, object, &c, err);
    if (r == 0)
        r = check_values(&c, err);
    if (r < 0)
        return r;
    config_table_strip_https(c.infra_image);
    *ret = TAKE_STRUCT(c);
    return 0;
}

void config_plugin_done(struct plugin_config *c) {
    config_table_done(table, c);
    *c = (struct plugin_config){0};
}
