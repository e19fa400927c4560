/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* Builds the JSON body of POST /containers/create from the TaskConfig, the job's and the plugin's
 * configuration, and facts about the host and Docker.
 *
 * The checks come in a fixed order (the table in create.c), each with one error that names field
 * and value. Order and texts are those of Nomad's docker driver. The module reads files (the
 * sources of volumes, seccomp profiles, the system's resolv.conf). It writes the generated
 * resolv.conf into the task's folder, and hosts into the allocation's folder. It never
 * calls Docker.
 *
 * Paths: unless volumes are enabled, each path of a job must lie below the allocation's folder
 * after all symlinks are followed. Docker accepts names, not descriptors. Between this check and
 * Docker's mount, a sibling task can replace a folder by a symlink. So this module returns the
 * checked sources as open descriptors. The caller mounts them, and Docker gets the paths of these
 * mount points. The folders that Nomad gives each task, and the generated files, are sent to Docker
 * by name. Their paths contain no symlink. The ones in create_host.hold are mounted by the
 * caller too. */
#include "paddock/config.h"
#include "paddock/labels.h"
#include "paddock/path_below.h"
#include "paddock/task_config.h"
#include <jansson.h>

/* The things that Nomad and this driver put into a container, by the folder that contains them. A
 * task that can write to that folder can swap them. */
enum create_own {
    CREATE_OWN_IN_ALLOC = 1,  /* in the allocation's folder: alloc, hosts */
    CREATE_OWN_IN_SHARED = 2, /* in alloc: logs */
    CREATE_OWN_IN_TASK = 4,   /* in the task's folder: local, secrets, resolv.conf */
    CREATE_OWN_ALL = 7,
};

struct create_host {
    const char *cpuset;   /* wanted set at start, list text, "" = none */
    const char *mems;     /* memory nodes of @cpuset, list text, "" or NULL = any */
    const char *runtimes; /* names in Docker's /info, comma separated and sorted; "" = unknown */
    bool cgroup_v2;
    bool swappiness;            /* cgroup v1 only: memory.swappiness can be set, and 0 is sent */
    unsigned num_cpu;           /* CPUs that this process may use, for cfs quotas */
    uint64_t total_compute_mhz; /* of the node, 0 = unknown */
    const char *owner_label;    /* value of paddock's own label: node and driver that own it */
    const char *sources_dir; /* where the caller mounts the job's sources; a path without ':'; NULL
                                = Docker gets their names */
    unsigned hold; /* mask of enum create_own: these are held and mounted too; needs @sources_dir */
    int api_minor; /* of Docker's API in use, of docker_http_api_minor(); 0 = the oldest */
    /* The user of this host who is root in Docker's containers; NULL = root. This user owns the
     * folders that are created for `volumes`, and the hosts file. */
    const struct path_owner *root;
    const char *resolv_conf; /* path of the system's file, for tests; NULL = /etc/resolv.conf */
};

/* A source of the job. It is mounted at host->sources_dir/@name before Docker gets the request. */
struct create_source {
    int fd;      /* O_PATH or a directory: the object that was checked */
    char *name;  /* one component, ASCII, without ':' */
    char *text;  /* the job's words, for errors */
    bool is_dir; /* else a mount point that is a file */
    bool shared; /* the job wants its mount shared or slave, for which Docker requires a shared
                    source */
};
/* A folder or file of Nomad or this driver that is sent to Docker by name. */
struct create_sent {
    char *below; /* path below the allocation's folder: "web/local" */
    bool is_dir; /* else a regular file */
};
struct create_sources {
    struct create_source *v;
    size_t n;
    struct create_sent *sent;
    size_t n_sent;
    bool reaches; /* the container can swap folders or files of a task of the allocation: through
                     its mounts (known only with a sources_dir), or because it is unconfined */
};
/** Closes the descriptors, frees all of @s and zeroes it. */
void create_sources_done(struct create_sources *s);
/** Closes and frees @v. Called when the sources are mounted. */
void create_sources_close(struct create_sources *s);

/** Checks again that the things that were sent to Docker by name exist, without a link in their
 * paths. The caller has made sure that nothing can swap them from now on. Returns 0; -EACCES,
 * -ENOENT and others with @err. Context: any thread, local files. */
int create_own_check_sent(const char *alloc_dir, const struct create_sources *s,
                          struct err *err) MUST_CHECK;

/** Returns true when alloc/logs may no longer be a mount point of the container @id, because
 * another container has put a different folder there. Also true for an unknown container. */
typedef bool create_reach_movable(void *ctx, const char *id);

/** Finds the folders of the allocation of @task in which the containers of @list can swap the
 * things that Nomad and this driver put there.
 *  @list: Docker's list of the allocation's running containers, with their mounts.
 *  @run_dir: the folder below which this driver, and others like it, mount
 * sources (create_host.sources_dir).
 *  @movable: called for each container that mounts alloc. Returns a mask of enum create_own. A
 * folder counts as reached when that cannot be found out. Context: any thread, reads
 * local files. */
unsigned create_reach_find(const json_t *list, const struct task_config *task, const char *run_dir,
                           create_reach_movable *movable, void *ctx);

/** Builds the request. Returns 0 with the body (owner: caller, json_decref()) and the sources
 * (owner: caller, create_sources_done(); none without a sources_dir); -EINVAL bad value; -EACCES
 * not allowed by the client's configuration; -ENOMEM; -ENOENT and others of a file; all with @err
 * of class ERR_PLAIN (never recoverable). Warnings about ignored fields are logged. Context: any
 * thread, blocks on local files. */
int create_build(const struct task_config *task, const struct job_config *job,
                 const struct plugin_config *plugin, const struct create_host *host,
                 json_t **ret_body, struct create_sources *ret_sources, struct err *err) MUST_CHECK;

/** Refuses a host name that is longer than HOST_NAME_MAX (64 bytes). Docker would fail only when it
 * starts the container. @field: for the error. Returns 0; -EINVAL with @err. Context: pure. */
int create_hostname_check(const char *field, const char *hostname, struct err *err) MUST_CHECK;

/** Returns `<task name with / as _>-<alloc id>`, NULL when out of memory. Owner: caller, free(). */
char *create_name(const struct task_config *task);

/* What StartTask reports to Nomad about the network. */
struct create_network_override {
    char addr[64];
    bool auto_advertise;
};
/** @inspect: the JSON of the container. @ret->addr is "" when the container has no address.
 * Context: pure. */
void create_network_override_get(const struct job_config *job, const json_t *inspect,
                                 struct create_network_override *ret);

/** Compares the networks and published ports of @inspect (the JSON of a running container) with
 * those of @request (the body that create_build returned). Returns 0; -ENETUNREACH when the
 * container is in no network, which is right only when Docker does not have the network
 * create_compare_wanted_network(); -EADDRNOTAVAIL when a port is not published. Errors are
 * ERR_RECOVERABLE and name the port. Context: pure, any thread. */
int create_compare_ports(const json_t *request, const json_t *inspect, struct err *err) MUST_CHECK;
/** Checks that a container has the folder alloc once, at the target of @request, with alloc/logs on
 * top of it. @mountinfo: the container's /proc/<pid>/mountinfo. Returns 0; -EACCES when a link of
 * the image or of a mounted folder led elsewhere, ERR_PLAIN; -EINVAL a request without these
 * folders; -ENOMEM. Context: pure, any thread. */
int create_verify_mounts(const json_t *request, const char *mountinfo, struct err *err) MUST_CHECK;
/** Returns true when the root of the process is the container's root file system, an overlay. A
 * process that has changed its root (chroot) shows mount points of its choice. False also for
 * storage drivers without an overlay. Context: pure. */
bool create_verify_shows_rootfs(const char *mountinfo);
/** Returns true when alloc, local and secrets are mounted at /alloc, /local and /secrets. Then an
 * image treats these targets the same at each start. Context: pure. */
bool create_verify_has_usual_targets(const json_t *request);
/** Returns the name or id of the network that @request asks for ("bridge" for the default one).
 * Owner: @request. */
const char *create_compare_wanted_network(const json_t *request);
