/* SPDX-License-Identifier: MPL-2.0 */
/* StartTask, written as the recipe that it is. The steps in their order:
 * - ask Docker for the image,
 * - build the create request, with the wanted cpuset in it,
 * - make the mounts of what the job may mount,
 * - create the container,
 * - hold the image,
 * - start the container, and make the log pump ready while Docker starts it,
 * - inspect the container, record it in the store and wake the reconciler,
 * - return the handle, and then let the log pump begin. Where only Docker knows whether logs
 *   exist at all, the pump begins before the handle is returned.
 *
 * On failure everything is undone: the container is removed, the image reference dropped, the store
 * entry deleted. A failed create or start is repeated when it may succeed the next time: see
 * may_pass() and create_is_recoverable(). What Docker answers to these calls is in
 * docs/internals/docker.md, Create and start. */
#include "src/task/driver_priv.h"
#include "src/task/siblings.h"

#include "paddock/clock.h"
#include "paddock/create.h"
#include "paddock/docker_refusal.h"
#include "paddock/log.h"
#include "paddock/path.h"
#include "paddock/task_state.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define START_TRANSIENT_TRIES 5
#define START_LEFTOVER_S 10               /* for an unknown kill_timeout: Docker's default */
#define START_LOGS_US (2 * US_PER_SEC)    /* the container runs by then and must be inspected */
#define START_PROC_MAX (1u << 20)         /* bytes of a container's mountinfo */
#define START_BACKOFF_US (50 * US_PER_MS) /* doubled before each retry */

struct start {
    struct driver *d;
    const struct call *call;
    const struct task_config *config;
    const struct plugin_config *plugin;
    struct job_config job;
    struct task *task;
    char *load; /* path of the image archive, NULL = none */
    struct image_want want;
    struct image_look *look; /* the image was asked for; the answer is still to be read */
    struct image image;
    bool image_held;
    char *name; /* name of the container */
    char container_id[65];
    bool prepared;   /* the log pump is ready for the container's output */
    bool unanswered; /* a create was not answered: a container of this name may exist */
    int fifos[2];    /* stdout, stderr; open while the container is replaced */
    struct docker_state state;
    json_t *body; /* body of the create request */
    struct create_sources sources;
    struct sibling sibling;
    unsigned hold; /* of enum create_own: what we mount for the task besides the job's mounts */
    bool guarded;  /* guarded against tasks of the same allocation, see siblings.h */
    bool adopted;  /* the container was started before a crash of the plugin */
    json_t *inspect;
};

static void start_done(struct start *s) {
    siblings_leave(s->d, &s->sibling);
    config_job_done(&s->job);
    free(s->load);
    free(s->name);
    json_decref(s->body);
    create_sources_done(&s->sources);
    images_look_free(s->look);
    json_decref(s->inspect);
    fd_close(s->fifos[0]);
    fd_close(s->fifos[1]);
    store_task_unref(s->task);
}

static struct call slow_call(const struct start *s) {
    return call_within(s->call, s->d->timeout_slow_us);
}

/* ---- image ---- */

static void image_event(void *ctx, const char *message, const char *image) {
    struct start *s = ctx;
    client_tell_ids(s->d, s->config->id, s->config->alloc_id, s->config->name, message, "image",
                    image);
}

static int want_image(struct start *s, struct err *err) {
    if (!str_empty(s->job.load) && asprintf(&s->load, "%s/%s/local/%s", s->config->alloc_dir,
                                            s->config->name, s->job.load) < 0) {
        s->load = NULL;
        return err_oom(err);
    }
    s->want = (struct image_want){
        .image = s->job.image,
        .load_path = s->load,
        .load_root = s->plugin->volumes_enabled ? NULL : s->config->alloc_dir,
        .force_pull = s->job.force_pull,
        .username = s->job.auth_username,
        .password = s->job.auth_password,
        .server_address = s->job.auth_server_address,
        .auth_soft_fail = s->job.auth_soft_fail,
        .pull_timeout_us =
            (uint64_t)(s->job.image_pull_timeout_us ? s->job.image_pull_timeout_us
                                                    : s->plugin->image_pull_timeout_us),
        .user_id = s->config->id,
        .event = image_event,
        .ctx = s,
    };
    return 0;
}

static int hold_image(struct start *s, struct err *err) {
    int r = images_acquire(s->d->images, s->call, &s->want, TAKE_PTR(s->look), &s->image, err);
    s->image_held = r == 0;
    return r;
}

/* ---- the request ---- */

/* For cgroup v1 and a task without reserved cores: the current set of Nomad's own cgroup. */
static void shared_cpuset_v1(const struct start *s, char *out, size_t size) {
    char path[PATH_MAX];
    struct cpuset set;
    AUTO_FD int at = -EBADF;
    AUTO_FD int fd = -EBADF;
    snprintf(path, sizeof(path), "%s/cpuset.effective_cpus", s->config->resources.cpuset_cgroup);
    int r = path_find(path, &at);
    if (r == 0)
        r = path_open_regular(at, &fd);
    ssize_t n = r == 0 ? read(fd, out, size - 1) : 0;
    if (r == 0)
        r = n < 0 ? -errno : cpuset_parse(out, (size_t)n, &set);
    if (r == 0)
        r = cpuset_format(&set, out, size);
    if (r >= 0)
        return;
    out[0] = '\0';
    log_warn("start", LOG_KV("task_id", s->config->id, "path", path, "error", strerror(-r)),
             "Nomad's set cannot be read, the task may use all CPUs");
}

/* The wanted set as text. It is "" when the set cannot be known. Docker then allows all CPUs, and
 * the reconciler reports that. */
static void wanted_cpuset(const struct start *s, char *out, size_t size) {
    const struct task_resources *res = &s->config->resources;
    struct cpuset set;
    out[0] = '\0';
    if (!s->plugin->cpuset_enabled)
        return;
    int fd = s->d->cgroup_v2 ? s->d->cgroup_root_fd : -EBADF;
    int r = pin_wanted_now(s->d->pin, fd, s->d->cgroup_root,
                           res->cpuset_cgroup ? res->cpuset_cgroup : "",
                           res->cpuset_cpus ? res->cpuset_cpus : "", &set);
    if (r == 0 && cpuset_format(&set, out, size) >= 0)
        return;
    if (!s->d->cgroup_v2 && !str_empty(res->cpuset_cpus))
        snprintf(out, size, "%s", res->cpuset_cpus);
    else if (!s->d->cgroup_v2 && !str_empty(res->cpuset_cgroup))
        shared_cpuset_v1(s, out, size);
}

/* The memory nodes of the wanted set, when paddock manages them. Like the set, they apply from the
 * first instruction on. */
static void wanted_mems(const struct start *s, const char *cpus, char *out, size_t size) {
    struct cpuset set, mems = {{0}};
    if (cpuset_parse(cpus, strlen(cpus), &set) == 0)
        pin_wanted_mems(s->d->pin, &set, &mems);
    if (cpuset_format(&mems, out, size) < 0)
        out[0] = '\0';
}

/* Some kernels refuse memory.swappiness on cgroup v1. Like the built-in driver, we probe Nomad's
 * own cgroup. */
static bool can_set_swappiness(const struct driver *d) {
    if (d->cgroup_v2 || d->cgroup_root_fd < 0)
        return false;
    AUTO_FD int fd =
        openat(d->cgroup_root_fd, "memory/nomad/memory.swappiness", O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, "0", 1) == 1;
}

/* @sources_dir: NULL = Docker is sent the names of what the job mounts. */
static int build_request(struct start *s, const char *sources_dir, struct err *err) {
    struct fingerprint_docker docker;
    int r = fingerprint_info(s->d->fingerprint, s->call, &docker, err);
    if (r < 0)
        return r;
    int minor = docker_http_api_minor(s->d->docker, s->call, err);
    if (minor < 0)
        return minor;
    AUTO_FREE char *cpus = malloc(CPUSET_TEXT_MAX);
    AUTO_FREE char *mems = malloc(CPUSET_TEXT_MAX);
    if (!cpus || !mems)
        return err_oom(err);
    wanted_cpuset(s, cpus, CPUSET_TEXT_MAX);
    wanted_mems(s, cpus, mems, CPUSET_TEXT_MAX);
    struct create_host host = {.cpuset = cpus,
                               .mems = mems,
                               .runtimes = docker.runtimes,
                               .cgroup_v2 = s->d->cgroup_v2,
                               .swappiness = can_set_swappiness(s->d),
                               .num_cpu = s->d->num_cpu,
                               .total_compute_mhz = s->plugin->node_total_compute_mhz,
                               .owner_label = client_owner(s->d),
                               .sources_dir = sources_dir,
                               .hold = sources_dir ? s->hold : 0,
                               .api_minor = minor,
                               .root = docker.remapped ? &docker.root : NULL};
    return create_build(s->config, &s->job, s->plugin, &host, &s->body, &s->sources, err);
}

/* Builds the request. Where this process cannot mount, Docker is sent names, and the task is
 * not guarded. */
static int plan_and_build(struct start *s, char **ret_dir, struct err *err) {
    AUTO_FREE char *dir = NULL;
    json_decref(TAKE_PTR(s->body));
    create_sources_done(&s->sources);
    int r = sources_plan(s->d, s->plugin, &s->job, s->hold != 0, s->name, &dir, err);
    if (r < 0)
        return r;
    if (r == 0 && s->hold) {
        s->guarded = false;
        s->hold = 0;
    }
    *ret_dir = TAKE_PTR(dir);
    return build_request(s, *ret_dir, err);
}

/* Builds the request. What the task must be guarded against is known here only as far as this
 * process knows it; settle_names() asks Docker for the rest. */
static int build_guarded(struct start *s, struct err *err) {
    AUTO_FREE char *dir = NULL;
    if (s->guarded)
        s->hold |= siblings_expose(s->d, &s->sibling);
    int r = plan_and_build(s, &dir, err);
    while (r == 0 && s->guarded && s->sources.reaches) {
        r = siblings_reach(s->d, &s->sibling, s->call, err);
        if (r <= 0)
            break;
        s->hold = CREATE_OWN_ALL;
        cleanup_free(&dir);
        r = plan_and_build(s, &dir, err);
    }
    if (r == 0 && s->hold == CREATE_OWN_ALL)
        siblings_cover(s->d, &s->sibling);
    return r;
}

/* Builds the request and makes the mounts that it refers to. Removes the mounts of an
 * earlier start. */
static int prepare_request(struct start *s, struct err *err) {
    if (!s->name && !(s->name = create_name(s->config)))
        return err_oom(err);
    s->guarded = sources_possible(s->d, s->plugin);
    int r = build_guarded(s, err);
    if (r < 0)
        return r;
    struct err failed = {0};
    r = sources_mount(s->d, s->name, &s->sources, &failed);
    create_sources_close(&s->sources);
    if (r == -EPERM) { /* Docker is sent names now; plan_and_build() logs that */
        AUTO_FREE char *dir = NULL;
        s->guarded = false;
        return plan_and_build(s, &dir, err);
    }
    return r < 0 ? err_set(err, failed.cls, -r, "%s", failed.text) : 0;
}

/* ---- create ---- */

/* True when an immediate retry makes sense. After a timeout it does not; Nomad's restart policy
 * will retry. */
static bool is_transient(int r) {
    return r == -EIO || r == -ENOTCONN || r == -EPROTO;
}

/* True when the same request may succeed the next time. */
static bool may_pass(int r, const struct err *failed) {
    return is_transient(r) && !(r == -EIO && docker_refusal_is_final(failed->text));
}

/* Ends a leftover container. A running one gets its stop signal first. Its kill_timeout is not
 * known, so Docker's default is used. */
static int stop_leftover(struct start *s, const struct docker_state *state, struct err *err) {
    struct call call = slow_call(s);
    int r = state->running
                ? docker_container_stop(s->d->docker, &call, state->id, START_LEFTOVER_S, err)
                : 0;
    if (r == 0)
        r = docker_container_remove(s->d->docker, &call, state->id, true, err);
    if (r == -ENOENT || r == -EEXIST) { /* removed already, or being removed */
        err_clear(err);
        r = 0;
    }
    return r;
}

/* The container name is in use. A running container with the same task id is ours from before
 * a crash: it is adopted. Any other container of this name is a leftover of this very task
 * and allocation: it is stopped and removed. Returns 1 when adopted; 0 when the name is free
 * now; -errno. */
static int resolve_conflict(struct start *s, struct err *err) {
    struct call call = slow_call(s);
    struct docker_state state;
    AUTO_JSON json_t *inspect = NULL;
    int r = docker_container_inspect(s->d->docker, &call, s->name, &state, &inspect, err);
    if (r == -ENOENT) {
        err_clear(err);
        return 0;
    }
    if (r < 0)
        return r;
    json_t *labels = json_object_get(json_object_get(inspect, "Config"), "Labels");
    const char *id = json_string_value(json_object_get(labels, LABEL_TASK_ID));
    if (state.running && id && strcmp(id, s->config->id) == 0) {
        snprintf(s->container_id, sizeof(s->container_id), "%s", state.id);
        return 1;
    }
    log_info("start", LOG_KV("task_id", s->config->id, "container_id", state.id),
             "removing a leftover container of the same name");
    return stop_leftover(s, &state, err);
}

/* Returns whether Nomad's restart policy may try again, as in the built-in driver. A 5xx that stays
 * after our own attempts is final, because the same request would always fail. */
static bool create_is_recoverable(int r, const struct err *err) {
    if (image_pull_lacks_platform(err->text))
        return false;
    return r == -ENOENT || r == -ETIMEDOUT || r == -ENOTCONN || r == -EPROTO ||
           strstr(err->text, "duplicate mount point");
}

static int create_container(struct start *s, struct err *err) {
    unsigned conflicts = 0, transients = 0;
    uint64_t backoff = START_BACKOFF_US;
    s->adopted = false;
    for (;;) {
        struct call call = slow_call(s);
        struct err failed = {0};
        int r = docker_container_create(s->d->docker, &call, s->name, s->body, s->container_id,
                                        &failed);
        /* A 500 does not prove that nothing was created: curl repeats a request by itself when a
         * kept-alive connection breaks. */
        s->unanswered |= r == -ETIMEDOUT || r == -ECANCELED || is_transient(r);
        if (r == 0)
            return 0;
        bool retry = false;
        if (r == -EEXIST && ++conflicts <= s->plugin->container_exists_attempts) {
            err_clear(&failed);
            int c = resolve_conflict(s, &failed);
            s->adopted = c > 0;
            if (c > 0)
                return 0;
            retry = c == 0;
            r = c < 0 ? c : r;
        } else if (may_pass(r, &failed) && ++transients < START_TRANSIENT_TRIES) {
            retry = true;
        }
        if (!retry)
            return err_set(err, create_is_recoverable(r, &failed) ? ERR_RECOVERABLE : ERR_PLAIN, -r,
                           "Failed to create container: %s", failed.text);
        backoff *= 2;
        r = call_sleep(s->call, backoff);
        if (r < 0)
            return err_set(err, ERR_PLAIN, -r, "Failed to create container: %s", failed.text);
    }
}

/* Docker also answers 404, after about 15 s, when a volume's driver is missing. */
static bool wants_image(const struct start *s, const struct err *refused) {
    return s->image.fetched || strstr(refused->text, "No such image");
}

/* Removes the start's container. @container: its id or name. An adopted container has run for a
 * while, so it gets its stop signal first. */
static int discard_container(const struct start *s, const struct call *call, const char *container,
                             struct err *err) {
    struct err failed = {0};
    if (s->adopted &&
        docker_container_stop(s->d->docker, call, container, START_LEFTOVER_S, &failed) < 0)
        log_debug("start", LOG_KV("container", container, "error", failed.text),
                  "an adopted container could not be stopped in order, ignoring");
    return docker_container_remove(s->d->docker, call, container, true, err);
}

static int remove_container(struct start *s, const char *why, struct err *err) {
    struct call call = slow_call(s);
    int r = discard_container(s, &call, s->container_id, err);
    if (r == -ENOENT || r == -EEXIST) { /* removed, or being removed: the name is checked next */
        err_clear(err);
        r = 0;
    }
    if (r < 0)
        return err_wrap(err, r, "Failed to remove container %s %s", s->container_id, why);
    s->container_id[0] = '\0';
    return 0;
}

/* True when the image, or the job's mount targets, may lead the folder alloc elsewhere. */
static bool is_unproven(const struct start *s) {
    return !create_verify_has_usual_targets(s->body) || !siblings_is_plain_image(s->d, s->image.id);
}

/* The container is created and does not run yet. Docker has reported by now which containers of the
 * allocation run. When none of them can swap what Docker was sent by name, the names are checked
 * once more; from here to Docker's mount nothing can change them. Otherwise the container is
 * removed and created again, with mount points. */
static int settle_names(struct start *s, struct err *err) {
    while (s->guarded && !s->adopted) {
        int r = siblings_take_turn(s->d, &s->sibling, is_unproven(s), s->call, err);
        if (r < 0)
            return r;
        unsigned reach = siblings_running(s->d, &s->sibling, s->call);
        if ((reach & ~s->hold) == 0)
            return create_own_check_sent(s->config->alloc_dir, &s->sources, err);
        s->hold |= reach;
        siblings_pass(s->d, &s->sibling);
        r = remove_container(s, "that would mount by name", err);
        if (r == 0)
            r = prepare_request(s, err);
        if (r == 0)
            r = create_container(s, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The image is usually present. It is asked for, the container is created while Docker answers, and
 * then the answer is read. */
static int make_container(struct start *s, struct err *err) {
    int r = want_image(s, err);
    if (r == 0 && !(s->look = images_look(s->d->images, &s->want)))
        r = hold_image(s, err);
    if (r == 0)
        r = prepare_request(s, err);
    if (r < 0)
        return r;
    struct err refused = {0};
    bool ahead = s->look != NULL;
    int made = create_container(s, &refused);
    if (made < 0) /* no other start has to wait for a pull */
        siblings_leave(s->d, &s->sibling);
    if (ahead && (made == 0 || made == -ENOENT))
        r = hold_image(s, err);
    if (ahead && r == 0 && made == -ENOENT && wants_image(s, &refused)) {
        /* A pull takes long, so the wanted cpuset may have changed. */
        err_clear(&refused);
        r = prepare_request(s, err);
        made = r < 0 ? r : create_container(s, &refused);
    }
    if (r == 0 && made < 0)
        return err_set(err, refused.cls, -made, "%s", refused.text);
    return r < 0 ? r : settle_names(s, err);
}

/* ---- start ---- */

/* Waits for the answer to the start. Sets *@ret_again when another container may start. */
static int wait_started(struct start *s, struct docker_begun *asked, bool *ret_again,
                        struct err *err) {
    struct call call = slow_call(s);
    struct err failed = {0};
    int r = asked ? docker_container_start_end(asked, &call, &failed)
                  : docker_container_start(s->d->docker, &call, s->container_id, &failed);
    *ret_again = r < 0 && may_pass(r, &failed);
    if (r == 0)
        return 0;
    return err_set(err, r == -ETIMEDOUT || *ret_again ? ERR_RECOVERABLE : ERR_PLAIN, -r,
                   "Failed to start container %s: %s", s->container_id, failed.text);
}

/* The shared pool may have changed since the request was built. The container does not run yet, so
 * Docker stores the new set in its own record, too. A failure here does not fail the start: the
 * reconciler corrects the container when it runs. */
static void refresh_cpuset(struct start *s) {
    AUTO_FREE char *cpus = malloc(CPUSET_TEXT_MAX);
    AUTO_FREE char *mems = malloc(CPUSET_TEXT_MAX);
    json_t *host = json_object_get(s->body, "HostConfig");
    const char *asked = json_string_value(json_object_get(host, "CpusetCpus"));
    if (!cpus || !mems)
        return;
    wanted_cpuset(s, cpus, CPUSET_TEXT_MAX);
    wanted_mems(s, cpus, mems, CPUSET_TEXT_MAX);
    if (!cpus[0] || (asked && strcmp(asked, cpus) == 0))
        return;
    struct call call = call_within(s->call, s->d->timeout_us);
    struct err failed = {0};
    AUTO_JSON json_t *update = json_pack("{s:s}", "CpusetCpus", cpus);
    if (mems[0] && update)
        json_object_set_new(update, "CpusetMems", json_string(mems));
    int r = update ? docker_container_update(s->d->docker, &call, s->container_id, update, &failed)
                   : -ENOMEM;
    if (r < 0)
        log_warn("start", LOG_KV("task_id", s->config->id, "cpuset", cpus, "error", failed.text),
                 "Docker did not take a new cpuset before the start; it is set after it, retrying");
    else
        json_object_update(host, update); /* for a container that replaces this one */
}

/* Starts the container. While Docker does so, the log pump is made ready for its output. */
static int ask_for_start(struct start *s, bool *ret_again, struct err *err) {
    struct docker_begun *asked = docker_container_start_begin(s->d->docker, s->container_id);
    struct call soon = call_within(s->call, START_LOGS_US);
    s->prepared = logs_prepare(s->d, &soon, s->task, false);
    return wait_started(s, asked, ret_again, err);
}

/* A dockerd that runs without a bridge (--bridge=none) has no network "bridge". Its containers
 * start without one. A running dockerd never gets a bridge, so the fingerprint's answer holds. */
static bool lacks_network(const struct start *s) {
    struct call call = call_within(s->call, s->d->timeout_us);
    const char *wanted = create_compare_wanted_network(s->body);
    if (strcmp(wanted, "bridge") == 0 && fingerprint_lacks_bridge(s->d->fingerprint))
        return true;
    return docker_system_has_network(s->d->docker, &call, wanted, NULL) == 0;
}

/* A container that still is "created" does not run and will never end. A running one must have the
 * networks and ports of the request. */
static int check_started(struct start *s, struct err *err) {
    struct err failed = {0};
    if (strcmp(s->state.status, "created") == 0)
        return err_set(err, docker_refusal_is_final(s->state.error) ? ERR_PLAIN : ERR_RECOVERABLE,
                       ESRCH, "Failed to start container %s: it was not started%s%s",
                       s->container_id, s->state.error[0] ? ": " : "", s->state.error);
    int r = s->state.running ? create_compare_ports(s->body, s->inspect, &failed) : 0;
    if (r == 0 || (r == -ENETUNREACH && lacks_network(s)))
        return 0;
    return err_set(err, failed.cls, -r, "Failed to start container %s: %s", s->container_id,
                   failed.text);
}

static int inspect_container(struct start *s, bool *ret_again, struct err *err) {
    struct call call = call_within(s->call, s->d->timeout_us);
    int r =
        docker_container_inspect(s->d->docker, &call, s->container_id, &s->state, &s->inspect, err);
    *ret_again = false;
    if (r < 0) {
        err_reclass(err, r, ERR_RECOVERABLE);
        return err_wrap(err, r, "Failed to inspect container %s", s->container_id);
    }
    r = check_started(s, err);
    *ret_again = r < 0 && err->cls == ERR_RECOVERABLE;
    if (r < 0)
        return r;
    /* From here on the container is pinned, however long the rest takes. */
    exit_task_runs(s->d, s->task, &s->state);
    if (!s->state.running) /* a short task: its die event may not have come yet */
        r = exit_check(s->d, s->task, s->state.exit_code);
    return r < 0
               ? err_set(err, ERR_RECOVERABLE, -r, "container %s does not answer", s->container_id)
               : 0;
}

static bool wants_logs(const struct start *s) {
    return !s->plugin->disable_log_collection &&
           !(strcmp(s->config->stdout_path, "/dev/null") == 0 &&
             strcmp(s->config->stderr_path, "/dev/null") == 0);
}

/* Keeps the FIFOs open until the start has ended, because Nomad's logmon stops reading when the
 * last writer closes. logs_follow() reports a FIFO that cannot be opened. */
static void hold_fifos(struct start *s) {
    if (store_look(s->task).logs && s->fifos[0] < 0 &&
        (pump_fifo_open(s->task->stdout_path, &s->fifos[0]) < 0 ||
         pump_fifo_open(s->task->stderr_path, &s->fifos[1]) < 0))
        log_debug("start", LOG_KV("task_id", s->task->id), "log FIFOs are not there");
}

/* Replaces the container whose start failed. It is not started again, because Docker 29 would then
 * omit its networks. */
static int replace_container(struct start *s, struct err *err) {
    hold_fifos(s);
    logs_drop(s->d, s->task);
    if (s->d->pump)
        logpump_forget(s->d->pump, s->container_id);
    json_decref(TAKE_PTR(s->inspect));
    int r = remove_container(s, "after a failed start", err);
    return r < 0 ? r : create_container(s, err);
}

/* Starts the container. Replaces it when its start failed and may succeed the next time. */
static int start_container(struct start *s, struct err *err) {
    uint64_t backoff = START_BACKOFF_US;
    for (unsigned tries = 1;; tries++) {
        struct err failed = {0};
        bool again;
        /* The store knows the container's id before the container runs, so that an immediate end
         * finds its task. */
        store_set_container(s->task, s->container_id, s->image.id, s->job.tty, wants_logs(s));
        refresh_cpuset(s);
        int r = ask_for_start(s, &again, &failed);
        if (r == 0)
            r = inspect_container(s, &again, &failed);
        if (r == 0)
            return 0;
        backoff *= 2;
        if (!again || tries >= START_TRANSIENT_TRIES || call_sleep(s->call, backoff) < 0)
            return err_set(err, failed.cls, -r, "%s", failed.text);
        log_info("start", LOG_KV("task_id", s->config->id, "error", failed.text),
                 "the container is created again, retrying");
        r = replace_container(s, err);
        if (r < 0)
            return r;
    }
}

/* ---- after the start ---- */

/* Reads /proc/PID/@name of the container's first process. Returns 0; -ESRCH when the process has
 * ended; another -errno. */
static int read_proc(const struct start *s, const char *name, struct buf *text) {
    char path[64], piece[4096];
    snprintf(path, sizeof(path), "%d/%s", (int)s->state.pid, name);
    AUTO_FD int fd = openat(s->d->proc_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    for (;;) {
        ssize_t n = read(fd, piece, sizeof(piece));
        if (n <= 0)
            return n == 0 ? 0 : errno == EINVAL ? -ESRCH : -errno;
        int r = buf_append(text, piece, (size_t)n);
        if (r < 0)
            return r;
    }
}

/* Returns whether the process belongs to the container. Its pid may have been reused, or may belong
 * to another pid namespace. */
static bool is_of_container(const struct start *s) {
    AUTO_BUF struct buf text;
    buf_init(&text, START_PROC_MAX);
    return read_proc(s, "cgroup", &text) == 0 && strstr(buf_text(&text), s->container_id);
}

/* Returns whether what @mountinfo shows is true of each container of the image. The process could
 * deceive us with another root directory or with more rights. */
static bool is_true_of_image(const struct start *s, const char *mountinfo) {
    return create_verify_has_usual_targets(s->body) && !s->sources.reaches &&
           create_verify_shows_rootfs(mountinfo) && is_of_container(s);
}

/* Checks the container's mounts. When nothing can be read of a running container, its allocation is
 * treated as one in which alloc/logs can be moved. */
static int prove_mounts(struct start *s, struct err *err) {
    AUTO_BUF struct buf text;
    struct err failed = {0};
    buf_init(&text, START_PROC_MAX);
    if (!s->guarded || s->adopted || !s->state.running || !is_unproven(s))
        return 0;
    int r = read_proc(s, "mountinfo", &text);
    if (r == 0)
        r = create_verify_mounts(s->body, buf_text(&text), &failed);
    if (r == -ESRCH)
        return 0;
    if (r == -EACCES && failed.set) {
        if (is_of_container(s))
            return err_set(err, ERR_PLAIN, EACCES, "Failed to start container %s: %s",
                           s->container_id, failed.text);
        return 0;
    }
    if (r < 0)
        store_set_logs_movable(s->d->store, s->config->alloc_id);
    else if (is_true_of_image(s, buf_text(&text)))
        siblings_set_plain_image(s->d, s->image.id);
    return 0;
}

/* True when the log driver's files can be read, so that the start does not depend on Docker's
 * answer to the pump. For other log drivers only Docker knows. */
static bool is_readable(const struct start *s) {
    const char *type = s->state.log_driver;
    return strcmp(type, "json-file") == 0 || strcmp(type, "local") == 0;
}

static int fill_result(struct start *s, struct driver_started *ret, struct err *err) {
    struct create_network_override net;
    create_network_override_get(&s->job, s->inspect, &net);
    snprintf(ret->addr, sizeof(ret->addr), "%s", net.addr);
    ret->auto_advertise = net.auto_advertise;
    int r = kvs_copy(&s->job.port_map, &ret->port_map);
    if (r == 0)
        r = store_set_network(s->task, &ret->port_map, net.addr, net.auto_advertise);
    if (r < 0)
        return err_oom(err);

    AUTO_BUF struct buf out;
    buf_init(&out, 1u << 20);
    struct task_state state = {.container_id = s->container_id,
                               .container_name = s->name,
                               .image_id = s->image.id,
                               .has_network = true,
                               .port_map = ret->port_map,
                               .ip = ret->addr,
                               .auto_advertise = net.auto_advertise,
                               .pid = s->state.pid,
                               .tty = s->job.tty,
                               .logs = store_look(s->task).logs};
    r = task_state_encode(&state, &out, err);
    if (r < 0)
        return r;
    ret->state_len = out.len;
    ret->state = buf_take(&out);
    return ret->state ? 0 : err_oom(err);
}

/* DestroyTask may have come during the start. Then no other code would know of this container. */
static int check_wanted(struct start *s, struct err *err) {
    AUTO_TASK struct task *t = store_get(s->d->store, s->config->id);
    return t == s->task ? 0
                        : err_set(err, ERR_PLAIN, ECANCELED,
                                  "task %s was destroyed while it was started", s->config->id);
}

static void undo_start(struct start *s) {
    /* Runs also after the request was cancelled: what was begun must not stay. */
    struct call call = call_within(NULL, s->d->timeout_us);
    struct err err = {0};
    const char *container = s->container_id[0] ? s->container_id : s->unanswered ? s->name : "";
    images_look_free(TAKE_PTR(s->look));
    if (s->inspect) /* the container has run: deliver its output, which may contain the reason */
        logs_give_up(s->d, s->task);
    int r = container[0] ? discard_container(s, &call, container, &err) : 0;
    if (r < 0 && r != -ENOENT)
        log_warn("start", LOG_KV("container", container, "error", err.text),
                 s->container_id[0] ? "the container of a failed start is still there, retrying"
                                    : "a container of a failed start may be left, ignoring");
    if (s->image_held)
        image_users_release(s->d->images, s->image.id, s->config->id);
    if (s->task) {
        logs_drop(s->d, s->task);
        if (s->d->pump && s->container_id[0])
            logpump_forget(s->d->pump, s->container_id);
        sources_leave(s->d, s->task);
        exit_task_leaves(s->d, s->task);
    }
    if (r < 0 && r != -ENOENT && s->container_id[0]) /* it belongs to no task now */
        removals_add(s->d->removals, s->container_id);
}

static int run_start(struct start *s, struct driver_started *ret, struct err *err) {
    int r = make_container(s, err);
    if (r < 0)
        return r;
    r = start_container(s, err);
    if (r == 0)
        r = prove_mounts(s, err);
    siblings_leave(s->d, &s->sibling);
    if (r == 0 && !(s->prepared && is_readable(s)))
        r = logs_follow(s->d, s->call, s->task, false, err);
    if (r == 0)
        r = fill_result(s, ret, err);
    if (r == 0)
        r = check_wanted(s, err);
    return r;
}

int task_start(struct driver *d, const struct call *call, const struct task_config *config,
               struct driver_started *ret, struct err *err) {
    AUTO_CONFIG struct config_snapshot *plugin = client_config_get(d);
    struct start s = {.d = d,
                      .call = call,
                      .config = config,
                      .plugin = &plugin->c,
                      .fifos = {-EBADF, -EBADF},
                      .sibling = SIBLING(config)};
    struct driver_started result = {0};
    int r = config_job_decode(config->driver_config, config->driver_config_len, &s.job, err);
    if (r == 0)
        r = client_meet(d, config, err);
    if (r == 0) {
        r = store_add(d->store, config, &s.task);
        if (r == -EEXIST)
            err_set(err, ERR_PLAIN, EEXIST, "task with ID \"%s\" already started", config->id);
        else if (r < 0)
            err_oom(err);
    }
    if (r == 0) {
        r = run_start(&s, &result, err);
        if (r < 0) {
            undo_start(&s);
        } else {
            result.task = TAKE_PTR(s.task);
            *ret = TAKE_STRUCT(result);
        }
    }
    task_start_done(&result);
    start_done(&s);
    return r;
}

void task_start_reported(struct driver *d, struct driver_started *s) {
    AUTO_TASK struct task *t = TAKE_PTR(s->task);
    logs_begin(d, t);
}

void task_start_done(struct driver_started *s) {
    store_task_unref(s->task);
    free(s->state);
    kvs_done(&s->port_map);
    *s = (struct driver_started){0};
}
