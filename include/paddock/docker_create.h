#pragma once
/* The create request: (TaskConfig, job config, plugin config, what the host and Docker are) to the
 * JSON body of POST /containers/create.
 *
 * The checks come in a fixed order (the table in docker_create.c), each with one error that names
 * field and value; order and texts are those of Nomad's docker driver. It reads files (where
 * volumes lead, seccomp profiles, the system's resolv.conf) and writes the generated resolv.conf
 * into the task's folder and hosts into the allocation's; it never talks to Docker.
 *
 * Paths: unless volumes are enabled, whatever a job names must lie below the allocation's folder,
 * all symlinks followed; Docker is given the path without them. What the task does to its folders
 * between this and Docker's mount is out of our hands: Docker takes names, not descriptors. */
#include "paddock/config.h"
#include "paddock/task_config.h"
#include <jansson.h>

struct docker_create_host {
    const char *image_id; /* sent only where the job has no text for its image: `docker ps` and its
                           * filters show what was sent */
    const char *cpuset;   /* wanted set at start, list text, "" = none */
    const char *mems;     /* memory nodes of @cpuset, list text, "" or NULL = any */
    const char *runtimes; /* names that /info knows, comma separated and sorted; "" = unknown */
    bool cgroup_v2;
    bool swappiness;            /* cgroup v1 only: memory.swappiness can be set, 0 is sent */
    const char *cgroup_parent;  /* "" = Docker's choice */
    unsigned num_cpu;           /* CPUs that this process may use, for cfs quotas */
    uint64_t total_compute_mhz; /* of the node, 0 = unknown */
    const char *owner_label;    /* value of paddock's own label: node and driver that own it */
    const char *resolv_conf;    /* path of the system's file, for tests; NULL = /etc/resolv.conf */
};

#define DOCKER_LABEL_ALLOC_ID "com.hashicorp.nomad.alloc_id"
#define DOCKER_LABEL_OWNER "io.paddock.owner"
#define DOCKER_LABEL_TASK_ID "io.paddock.task_id"

/** Returns 0 with the body (owner: caller, json_decref). -EINVAL bad value; -EACCES not allowed by
 * the client's configuration; -ENOMEM; -ENOENT and others of a file; all with @err of class
 * ERR_PLAIN (never recoverable). Warnings about ignored fields are logged. Context: any thread,
 * blocks on local files. */
int docker_create_build(const struct task_config *task, const struct job_config *job,
                        const struct plugin_config *plugin, const struct docker_create_host *host,
                        json_t **ret_body, struct err *err) MUST_CHECK;

/** `<task name with / as _>-<alloc id>`; free(). NULL without memory. */
char *docker_create_name(const struct task_config *task);

/** What StartTask tells Nomad of the network (docker-driver 4.12): @inspect is the container's
 * JSON. */
struct docker_network_override {
    bool present;
    char addr[64];
    bool auto_advertise;
};
void docker_create_override(const struct job_config *job, const json_t *inspect,
                            struct docker_network_override *ret);
