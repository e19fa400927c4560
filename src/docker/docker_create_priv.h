#pragma once
/* What the steps of the create request share. Each step is one function of its own file, called in
 * the order that docker_create.c lists; it reads the configurations and adds to the body.
 *
 * The create_set_/create_add_ functions may fail for want of memory or because a text is no UTF-8.
 * They are no-ops after the first failure, which create_status() returns: a step ends with `return
 * create_status(c)` instead of a check at each line. */
#include "paddock/docker.h"
#include "paddock/docker_create.h"

struct create {
    const struct task_config *task;
    const struct job_config *job;
    const struct plugin_config *plugin;
    const struct docker_create_host *host;
    struct err *err;
    int r; /* first failure of a create_set_ or create_add_ */

    char *alloc_dir;            /* cleaned */
    char *task_dir;             /* alloc_dir/<task name> */
    json_t *body, *host_config; /* host_config is borrowed from body */
    json_t *mounts;             /* borrowed */
    const char *network_mode;   /* of the request; owner: @body */
    struct docker_create_sources sources;
    bool own_hosts; /* /etc/hosts is mounted: extra_hosts are in it */
};

/** "" for NULL. */
static inline const char *text_of(const char *text) {
    return text ? text : "";
}

int create_status(const struct create *c) MUST_CHECK;
/** -EINVAL and the like with a text of its own: `return create_fail(c, EINVAL, "...", ...)`. Never
 * 0. */
int create_fail(struct create *c, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/** @r of a look at @path: when this machine lacks memory or fds, which is no fault of the job, the
 * failure with its text (fds: recoverable); 0 for any other @r. */
int create_shortage(struct create *c, int r, const char *path) MUST_CHECK;

/* Objects and arrays that they return are borrowed from their parent; NULL after a failure, which
 * all of them accept as a parent. */
void create_set(struct create *c, json_t *object, const char *key, json_t *value_taken);
void create_set_text(struct create *c, json_t *object, const char *key, const char *text);
void create_set_text_if(struct create *c, json_t *object, const char *key,
                        const char *text); /* not "" */
void create_set_int(struct create *c, json_t *object, const char *key, int64_t v);
void create_set_true_if(struct create *c, json_t *object, const char *key, bool v);
void create_set_list_if(struct create *c, json_t *object, const char *key, const struct strv *v);
void create_set_map(struct create *c, json_t *object, const char *key, const struct kvs *v);
void create_set_map_if(struct create *c, json_t *object, const char *key, const struct kvs *v);
json_t *create_object(struct create *c, json_t *object, const char *key); /* found or made */
json_t *create_array(struct create *c, json_t *object, const char *key);  /* found or made */
void create_add(struct create *c, json_t *array, json_t *value_taken);
void create_add_text(struct create *c, json_t *array, const char *text);

/** `*` stands for any text, also none; all else for itself. Context: pure. */
bool create_glob(const char *pattern, const char *text);

/** What a volume or a bind mount of the job is told to Docker as: @path (cleaned) when volumes are
 * enabled; else where it leads below the allocation, or the mount point that it is given in
 * host->sources_dir (and then a place in c->sources).
 *  @text: the job's words, for errors. @options: `ro,rslave`, what of it concerns propagation
 * matters. @make: a missing directory is made, as Docker does for `volumes`; only for a mount
 * point. Returns 0; -EXDEV and others of docker_create_path_resolve; -ENOENT it is missing and not
 * made; no @err is set. Owner of @ret_source: caller, free(). */
int docker_create_source(struct create *c, const char *path, const char *text, const char *options,
                         bool make, char **ret_source) MUST_CHECK;

/** Adds source:target[:mode][,label] to HostConfig.Binds. @field and @value name it in an error:
 * the job's field and its text. Returns 0; -EINVAL with @err when a part contains ':', which Docker
 * would split; -ENOMEM. */
int create_add_bind(struct create *c, const char *field, const char *value, const char *src,
                    const char *dst, const char *mode) MUST_CHECK;

/** Puts *@fd into c->sources as the mount point @name, which the caller of docker_create_build
 * mounts.
 *  @text: for errors. @shared: see struct docker_create_source. Returns 0, and *@fd is taken;
 *  -ENOMEM and other -errno, no @err is set. Owner of @ret_source, the path for Docker: caller,
 *  free(). */
int create_hold(struct create *c, int *fd, const char *name, const char *text, bool shared,
                char **ret_source) MUST_CHECK;

/** The source of one of Nomad's folders or of a generated file: @below (relative, "web/local") of
 * the allocation's folder. It must be there, without a link on the way. Docker is sent its path, or
 * a mount point when host->hold has @lies_in.
 *  Returns 0; -EACCES a link; -ENOENT, -ENOTDIR and others; with @err. Owner of @ret_source:
 * caller, free(). */
int create_own_source(struct create *c, enum docker_own lies_in, const char *below, bool is_dir,
                      char **ret_source) MUST_CHECK;

/** True when the container may be able to undo mounts of its own: privileged, CAP_SYS_ADMIN, or a
 * security_opt that loosens something. After docker_create_caps. Context: pure. */
bool create_is_unconfined(const struct create *c);

/* ---- the steps ---- */
int docker_create_own_folders(struct create *c) MUST_CHECK; /* called by docker_create_binds */
int docker_create_binds(struct create *c) MUST_CHECK;
int docker_create_runtime(struct create *c) MUST_CHECK;
int docker_create_memory_check(struct create *c) MUST_CHECK;
int docker_create_pids(struct create *c) MUST_CHECK;
int docker_create_memory(struct create *c) MUST_CHECK;
int docker_create_cpu(struct create *c) MUST_CHECK;
int docker_create_caps(struct create *c) MUST_CHECK;
int docker_create_devices(struct create *c) MUST_CHECK;
int docker_create_mounts(struct create *c) MUST_CHECK;
int docker_create_hosts(struct create *c) MUST_CHECK;
int docker_create_dns(struct create *c) MUST_CHECK;
int docker_create_task_mounts(struct create *c) MUST_CHECK;
int docker_create_namespaces(struct create *c) MUST_CHECK;
int docker_create_security_opt(struct create *c) MUST_CHECK;
int docker_create_ulimits(struct create *c) MUST_CHECK;
int docker_create_network_mode(struct create *c) MUST_CHECK;
int docker_create_ports(struct create *c) MUST_CHECK;
int docker_create_endpoints(struct create *c) MUST_CHECK;
int docker_create_sysctls(struct create *c) MUST_CHECK;
int docker_create_labels(struct create *c) MUST_CHECK;

/** The settings of the container's endpoint in its network, found or made. Called after
 * docker_create_network_mode(). Borrowed from the body; NULL after a failure. */
json_t *docker_create_endpoint(struct create *c);

/** `src:dst[:mode]`, further parts dropped as the built-in driver does. Returns 0; -EINVAL fewer
 * than two parts; -ENOMEM. Owner: caller, each free(). @ret_mode "" when there is none. */
int docker_create_volume_parse(const char *text, char **ret_src, char **ret_dst,
                               char **ret_mode) MUST_CHECK;

/** The generated resolv.conf: each list of @dns that is empty comes from @system (text of the
 * host's file). Returns 0; -EMSGSIZE more than 128 KiB; -ENOMEM. Owner: caller, free(). Context:
 * pure. */
int docker_create_resolv_text(const struct task_dns *dns, const char *system,
                              char **ret_text) MUST_CHECK;

/** True when the only nameserver in @system is systemd-resolved's stub, which no container can
 * reach. */
bool docker_create_resolv_is_stub(const char *system);
/** An IPv4 or IPv6 address, nothing else. */
bool create_is_ip(const char *text);
