/* SPDX-License-Identifier: MPL-2.0 */
/* Builds the create request: the order of its steps, and the small steps that need no file of
 * their own.
 *
 * StartTask calls create_build(). The order is part of the contract: when a job has two mistakes,
 * the error names the one that is found first. */
#include "src/create/create_fail.h"
#include "src/create/create_json.h"
#include "src/create/create_steps.h"
#include "paddock/log.h"
#include "paddock/path_text.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* ---- environment ---- */

static bool env_char(char ch, bool first) {
    return ch == '_' || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
           (!first && ch >= '0' && ch <= '9');
}

/* Sets NOMAD_PORT_<label> of each port_map entry to the port inside of the container. It replaces
 * Nomad's value, because Nomad knows only the port outside. */
static int env_with_ports(struct create *c, struct kvs *env) {
    int r = kvs_copy(&c->task->env, env);
    for (size_t i = 0; r == 0 && i < c->job->port_map.n; i++) {
        AUTO_FREE char *name = NULL;
        if (asprintf(&name, "NOMAD_PORT_%s", c->job->port_map.v[i].key) < 0) {
            name = NULL;
            return err_oom(c->err);
        }
        for (char *p = name; *p; p++)
            if (!env_char(*p, p == name))
                *p = '_';
        r = kvs_set(env, name, c->job->port_map.v[i].value);
    }
    return r < 0 ? err_oom(c->err) : 0;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The limits of execve(): MAX_ARG_STRLEN (32 pages) for one variable, 6 MiB for all. An error here
 * names the variable. Docker would "start" such a container, and only its exit code would show
 * the failure. */
#define ENV_LINE_MAX ((size_t)32 * 4096 - 1)
#define ENV_ALL_MAX ((size_t)6 << 20)

static int check_env(struct create *c, const struct kvs *env) {
    size_t all = 0;
    for (size_t i = 0; i < env->n; i++) {
        size_t len = strlen(env->v[i].key) + 1 + strlen(env->v[i].value);
        if (len > ENV_LINE_MAX)
            return err_set(
                c->err, ERR_PLAIN, E2BIG,
                "env: %.64s is %zu bytes long, the kernel takes at most %zu for one variable "
                "(argument list too long)",
                env->v[i].key, len, ENV_LINE_MAX);
        all += len + 1;
    }
    if (all > ENV_ALL_MAX)
        return err_set(
            c->err, ERR_PLAIN, E2BIG,
            "env: all variables together are %zu bytes long, the kernel takes at most %zu "
            "(argument list too long)",
            all, ENV_ALL_MAX);
    return 0;
}

static int step_env(struct create *c) {
    AUTO_KVS struct kvs env = {0};
    AUTO_STRV struct strv lines = {0};
    int r = env_with_ports(c, &env);
    if (r == 0) {
        int refused = check_env(c, &env);
        if (refused < 0)
            return refused;
    }
    for (size_t i = 0; r == 0 && i < env.n; i++) {
        char *line = NULL;
        if (asprintf(&line, "%s=%s", env.v[i].key, env.v[i].value) < 0)
            line = NULL;
        r = strv_add_take(&lines, line);
    }
    if (r < 0)
        return err_oom(c->err);
    if (lines.n)
        qsort(lines.v, lines.n, sizeof(*lines.v), by_text);
    create_json_set_list_if(c, c->body, "Env", &lines);
    return create_fail_code(c);
}

/* ---- small steps ---- */

static int step_resources(struct create *c) {
    if (!c->task->resources.present)
        return create_fail(c, EINVAL, "task.Resources is empty");
    return 0;
}

static int step_config(struct create *c) {
    const struct job_config *job = c->job;
    if (create_hostname_check("hostname", job->hostname, c->err) < 0)
        return -EINVAL;
    /* Send the image name from the job, not its id, so that `docker ps` and image filters show
     * the name. */
    create_json_set_text(c, c->body, "Image", job->image);
    if (job->entrypoint_present) /* for Docker, an empty list means "no entrypoint" */
        create_json_array(c, c->body, "Entrypoint");
    create_json_set_list_if(c, c->body, "Entrypoint", &job->entrypoint);
    create_json_set_text_if(c, c->body, "Hostname", job->hostname);
    create_json_set_text_if(c, c->body, "User", c->task->user);
    create_json_set_text_if(c, c->body, "WorkingDir", job->work_dir);
    create_json_set_true_if(c, c->body, "Tty", job->tty);
    create_json_set_true_if(c, c->body, "OpenStdin", job->interactive);
    return create_fail_code(c);
}

static int step_isolation(struct create *c) {
    if (!str_empty(c->job->isolation))
        return create_fail(c, EINVAL,
                           "Failed to create container configuration, cannot use isolation mode "
                           "\"%s\" on linux",
                           c->job->isolation);
    return 0;
}

static int step_host_config(struct create *c) {
    const struct job_config *job = c->job;
    json_t *hc = c->host_config;
    create_json_set_text_if(c, hc, "CgroupnsMode", job->cgroupns);
    create_json_set_map_if(c, hc, "StorageOpt", &job->storage_opt);
    create_json_set_text_if(c, hc, "VolumeDriver", job->volume_driver);
    create_json_set_list_if(c, hc, "GroupAdd", &job->group_add);
    create_json_set_true_if(c, hc, "Init", job->init);
    create_json_set_true_if(c, hc, "ReadonlyRootfs", job->readonly_rootfs);
    /* The client's value is for tasks that set none. The built-in driver reads it and
     * ignores it. */
    int64_t oom = job->oom_score_adj ? job->oom_score_adj : c->plugin->oom_score_adj;
    if (oom)
        create_json_set_int(c, hc, "OomScoreAdj", oom);
    return create_fail_code(c);
}

static int step_logging(struct create *c) {
    const struct job_config *job = c->job;
    const char *type = !str_empty(job->logging_type) ? job->logging_type : job->logging_driver;
    const struct kvs *config = &job->logging_config;
    if (str_empty(type) && config->n == 0) {
        type = c->plugin->logging_type;
        config = &c->plugin->logging_config;
    }
    json_t *log = create_json_object(c, c->host_config, "LogConfig");
    create_json_set_text(c, log, "Type", type);
    create_json_set_map(c, log, "Config", config);
    return create_fail_code(c);
}

static int step_privileged(struct create *c) {
    if (c->job->privileged && !c->plugin->allow_privileged)
        return create_fail(c, EACCES, "Docker privileged mode is disabled on this Nomad agent");
    create_json_set_true_if(c, c->host_config, "Privileged", c->job->privileged);
    return create_fail_code(c);
}

static int step_shm(struct create *c) {
    if (c->job->shm_size)
        create_json_set_int(c, c->host_config, "ShmSize", c->job->shm_size);
    return create_fail_code(c);
}

static int step_extra_hosts(struct create *c) {
    if (!c->own_hosts) /* Docker refuses extra hosts together with a mounted /etc/hosts */
        create_json_set_list_if(c, c->host_config, "ExtraHosts", &c->job->extra_hosts);
    return create_fail_code(c);
}

static bool is_blank(char ch) {
    return ch == ' ' || (ch >= '\t' && ch <= '\r');
}

static int step_command(struct create *c) {
    const char *command = text_of(c->job->command);
    size_t n = strlen(command);
    if (n > 0) {
        if (strspn(command, " \t\n\v\f\r") == n)
            return create_fail(c, EINVAL, "command empty: \"%s\"", command);
        if (is_blank(command[0]) || is_blank(command[n - 1]))
            return create_fail(c, EINVAL, "command contains extra white space: \"%s\"", command);
        create_json_add_text(c, create_json_array(c, c->body, "Cmd"), command);
    }
    create_json_set_list_if(c, c->body, "Cmd", &c->job->args);
    return create_fail_code(c);
}

static int step_healthcheck(struct create *c) {
    if (c->job->healthchecks_disable)
        create_json_add_text(
            c, create_json_array(c, create_json_object(c, c->body, "Healthcheck"), "Test"), "NONE");
    return create_fail_code(c);
}

/* ---- the request ---- */

static int (*const steps[])(struct create *) = {
    step_resources,
    create_limits_check_memory,
    create_own_add,
    create_volumes_add,
    step_config,
    create_security_runtime,
    step_isolation,
    create_limits_pids,
    step_host_config,
    create_limits_memory,
    create_limits_cpu,
    step_logging,
    step_privileged,
    create_caps_add,
    step_shm,
    create_devices_add,
    create_mounts_add,
    create_dns_hosts,
    create_dns_resolv,
    create_mounts_add_nomad,
    step_extra_hosts,
    create_security_namespaces,
    create_security_opts,
    create_limits_ulimits,
    create_network_mode,
    create_network_ports,
    step_command,
    create_labels_add,
    step_env,
    create_network_endpoints,
    create_sysctls_add,
    step_healthcheck,
};

static void create_done(struct create *c) {
    cleanup_free(&c->alloc_dir);
    cleanup_free(&c->task_dir);
    json_value_done(&c->body);
    create_sources_done(&c->sources);
}

int create_build(const struct task_config *task, const struct job_config *job,
                 const struct plugin_config *plugin, const struct create_host *host,
                 json_t **ret_body, struct create_sources *ret_sources, struct err *err) {
    __attribute__((cleanup(create_done))) struct create c = {
        .task = task, .job = job, .plugin = plugin, .host = host, .err = err};
    c.body = json_object();
    c.alloc_dir = path_text_clean(text_of(task->alloc_dir));
    if (!c.body || !c.alloc_dir)
        return err_oom(err);
    if (c.alloc_dir[0] != '/')
        return create_fail(&c, EINVAL, "the allocation's folder is no absolute path: \"%s\"",
                           text_of(task->alloc_dir));
    if (asprintf(&c.task_dir, "%s/%s", c.alloc_dir, text_of(task->name)) < 0) {
        c.task_dir = NULL;
        return err_oom(err);
    }
    if (strchr(text_of(task->name), '/') || strcmp(text_of(task->name), "..") == 0) {
        /* Nomad refuses such names. The path is cleaned in case that one gets through. */
        AUTO_FREE char *raw = TAKE_PTR(c.task_dir);
        c.task_dir = path_text_clean(raw);
        if (!c.task_dir)
            return err_oom(err);
    }
    c.host_config = create_json_object(&c, c.body, "HostConfig");
    c.mounts = create_json_array(&c, c.host_config, "Mounts");
    if (!str_empty(job->cpuset_cpus))
        log_warn("docker", LOG_KV("task_id", text_of(task->id)),
                 "cpuset_cpus is deprecated, the cores are Nomad's to give, ignoring");
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        int r = steps[i](&c);
        if (r < 0)
            return r;
    }
    if (json_array_size(c.mounts) == 0)
        json_object_del(c.host_config, "Mounts");
    *ret_body = TAKE_PTR(c.body);
    *ret_sources = TAKE_STRUCT(c.sources);
    return 0;
}

int create_hostname_check(const char *field, const char *hostname, struct err *err) {
    size_t n = hostname ? strlen(hostname) : 0;
    if (n <= HOST_NAME_MAX)
        return 0;
    return err_set(err, ERR_PLAIN, EINVAL,
                   "%s: \"%.*s...\" is %zu bytes long, the kernel takes at most %d", field,
                   HOST_NAME_MAX, hostname, n, HOST_NAME_MAX);
}

char *create_name(const struct task_config *task) {
    char *name = NULL;
    if (asprintf(&name, "%s-%s", text_of(task->name), text_of(task->alloc_id)) < 0)
        return NULL;
    for (char *p = name; *p && p < name + strlen(text_of(task->name)); p++)
        if (*p == '/')
            *p = '_';
    return name;
}
