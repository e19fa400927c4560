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
 * task_start_container.c and task_start_run.c. task_start.h lists the parts. */
#include "src/task/task_start.h"

#include "paddock/log.h"
#include "paddock/task_state.h"

#include <stdio.h>
#include <string.h>

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

/* ---- container ---- */

/* Docker also answers 404, after about 15 s, when a volume's driver is missing. */
static bool wants_image(const struct start *s, const struct err *refused) {
    return s->image.fetched || strstr(refused->text, "No such image");
}

/* The container is created and does not run yet. Docker has reported by now which containers of the
 * allocation run. When none of them can swap what Docker was sent by name, the names are checked
 * once more; from here to Docker's mount nothing can change them. Otherwise the container is
 * removed and created again, with mount points. */
static int settle_names(struct start *s, struct err *err) {
    while (s->guarded && !s->adopted) {
        int r =
            siblings_take_turn(s->d, &s->sibling, task_start_mounts_are_unproven(s), s->call, err);
        if (r < 0)
            return r;
        unsigned reach = siblings_running(s->d, &s->sibling, s->call);
        if ((reach & ~s->hold) == 0)
            return create_own_check_sent(s->config->alloc_dir, &s->sources, err);
        s->hold |= reach;
        siblings_pass(s->d, &s->sibling);
        r = task_start_container_remove(s, "that would mount by name", err);
        if (r == 0)
            r = task_start_request_prepare(s, err);
        if (r == 0)
            r = task_start_container_create(s, err);
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
        r = task_start_request_prepare(s, err);
    if (r < 0)
        return r;
    struct err refused = {0};
    bool ahead = s->look != NULL;
    int made = task_start_container_create(s, &refused);
    if (made < 0) /* no other start has to wait for a pull */
        siblings_leave(s->d, &s->sibling);
    if (ahead && (made == 0 || made == -ENOENT))
        r = hold_image(s, err);
    if (ahead && r == 0 && made == -ENOENT && wants_image(s, &refused)) {
        /* A pull takes long, so the wanted cpuset may have changed. */
        err_clear(&refused);
        r = task_start_request_prepare(s, err);
        made = r < 0 ? r : task_start_container_create(s, &refused);
    }
    if (r == 0 && made < 0)
        return err_set(err, refused.cls, -made, "%s", refused.text);
    return r < 0 ? r : settle_names(s, err);
}

/* ---- result ---- */

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
    int r = container[0] ? task_start_container_discard(s, &call, container, &err) : 0;
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
    r = task_start_run(s, err);
    if (r == 0)
        r = task_start_mounts_prove(s, err);
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
