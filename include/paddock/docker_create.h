#pragma once
/* The create request: (TaskConfig, job config, plugin config, what the host and Docker are) to the JSON body
 * of POST /containers/create. Checks come in a fixed order, each with one error that names field and value.
 * Facts: docker-driver 4.3 - 4.9. It reads files (volume escape checks, seccomp profiles, resolv.conf) and
 * writes the generated resolv.conf and hosts into the task's folder; it never talks to Docker. */
#include "paddock/config.h"
#include "paddock/task_config.h"
#include <jansson.h>

struct docker_create_host {
    const char *image_id;        /* Config.Image: what was acquired */
    const char *cpuset;          /* wanted set at start, list text, "" = none */
    const char *runtimes;        /* names that /info knows, comma separated and sorted; "" = unknown */
    bool cgroup_v2;
    bool swappiness;             /* cgroup v1 only: memory.swappiness may be set */
    const char *cgroup_parent;   /* "" = Docker's choice */
    unsigned num_cpu;            /* CPUs that this process may use, for cfs quotas */
    uint64_t total_compute_mhz;  /* of the node, 0 = unknown */
    const char *owner_label;     /* value of paddock's own label: which node and driver owns the container */
    const char *resolv_conf;     /* path of the system's file, for tests; NULL = /etc/resolv.conf */
};

#define DOCKER_LABEL_ALLOC_ID "com.hashicorp.nomad.alloc_id"
#define DOCKER_LABEL_OWNER "io.paddock.owner"
#define DOCKER_LABEL_TASK_ID "io.paddock.task_id"

/** Returns 0 with the body (owner: caller, json_decref); -EINVAL/-EACCES/-EIO... with @err of class
 *  ERR_PLAIN (never recoverable). Context: any thread, blocks on local files only. */
int docker_create_build(const struct task_config *task, const struct job_config *job,
                        const struct plugin_config *plugin, const struct docker_create_host *host,
                        json_t **ret_body, struct err *err) MUST_CHECK;

/** `<task name with / as _>-<alloc id>`; free(). NULL without memory. */
char *docker_create_name(const struct task_config *task);

/** What StartTask tells Nomad of the network (docker-driver 4.12): @inspect is the container's JSON. */
struct docker_network_override {
    bool present;
    char addr[64];
    bool auto_advertise;
};
void docker_create_override(const struct job_config *job, const json_t *inspect,
                            struct docker_network_override *ret);
