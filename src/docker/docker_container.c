/* SPDX-License-Identifier: MPL-2.0 */
/* The calls about one container and the list of containers.
 *
 * src/task, the log pump and other files of this folder call them. Each function builds path and
 * body of one request, and copies the values that its caller needs from the answer. A value that is
 * absent in Docker's JSON is read as empty. */
#include "src/docker/docker_list.h"
#include "paddock/clock.h"
#include "paddock/docker_multi.h"
#include "paddock/parse.h"

#include <stdio.h>
#include <string.h>

static int post_path(struct docker *d, const struct call *call, const char *path, struct err *err) {
    struct docker_request rq = {.method = "POST", .path = path};
    return docker_http_do(d, call, &rq, NULL, NULL, err);
}

/* "/containers/ID" + @rest. */
static char *container_path(const char *id, const char *rest) {
    AUTO_FREE char *escaped = docker_http_escape(id);
    char *path;
    if (!escaped || asprintf(&path, "/containers/%s%s", escaped, rest) < 0)
        return NULL;
    return path;
}

static int post_container(struct docker *d, const struct call *call, const char *id,
                          const char *rest, struct err *err) {
    AUTO_FREE char *path = container_path(id, rest);
    return path ? post_path(d, call, path, err) : err_oom(err);
}

/* ---- inspect ---- */

static int64_t time_of(const json_t *object, const char *key) {
    int64_t ns;
    return parse_rfc3339_ns(json_value_text(object, key), &ns) == 0 ? ns : 0;
}

/* Docker overwrites an event's attributes with labels of the same name. These two are the
 * attributes that we read. */
static bool exit_in_events(const json_t *labels) {
    return !json_object_get(labels, "exitCode") && !json_object_get(labels, "execID");
}

static void fill_state(const json_t *j, struct docker_state *s) {
    const json_t *state = json_object_get(j, "State");
    const json_t *config = json_object_get(j, "Config");
    const json_t *host = json_object_get(j, "HostConfig");
    const char *name = json_value_text(j, "Name");
    *s = (struct docker_state){
        .running = json_value_bool(state, "Running"),
        .paused = json_value_bool(state, "Paused"),
        .restarting = json_value_bool(state, "Restarting"),
        .oom_killed = json_value_bool(state, "OOMKilled"),
        .dead = json_value_bool(state, "Dead"),
        .tty = json_value_bool(config, "Tty"),
        .exit_code = (int)json_value_int(state, "ExitCode"),
        .pid = (pid_t)json_value_int(state, "Pid"),
        .started_ns = time_of(state, "StartedAt"),
        .finished_ns = time_of(state, "FinishedAt"),
        .exit_in_events = exit_in_events(json_object_get(config, "Labels")),
    };
    json_value_copy(j, "Id", s->id, sizeof(s->id));
    snprintf(s->name, sizeof(s->name), "%s", name[0] == '/' ? name + 1 : name);
    json_value_copy(state, "Status", s->status, sizeof(s->status));
    json_value_copy(state, "Error", s->error, sizeof(s->error));
    json_value_copy(j, "Image", s->image_id, sizeof(s->image_id));
    json_value_copy(config, "Image", s->image, sizeof(s->image));
    json_value_copy(json_object_get(host, "LogConfig"), "Type", s->log_driver,
                    sizeof(s->log_driver));
}

/* A state without "Running" would look like an exit, and one without an exit code like a success.
 * Returns false for these. */
static bool tells_state(const json_t *state) {
    const json_t *running = json_object_get(state, "Running");
    return json_is_true(running) ||
           (json_is_false(running) && json_is_number(json_object_get(state, "ExitCode")));
}

int docker_container_inspect(struct docker *d, const struct call *call, const char *id_or_name,
                             struct docker_state *ret, json_t **ret_json, struct err *err) {
    AUTO_FREE char *path = container_path(id_or_name, "/json");
    if (!path)
        return err_oom(err);
    AUTO_JSON json_t *j = NULL;
    int r = docker_http_get_json(d, call, path, &j, err);
    if (r < 0)
        return r;
    if (!tells_state(json_object_get(j, "State")) || !json_value_text(j, "Id")[0])
        return err_set(err, ERR_PLAIN, EPROTO,
                       "Docker's answer to GET %.200s has no Id or no State", path);
    fill_state(j, ret);
    if (ret_json)
        *ret_json = TAKE_PTR(j);
    return 0;
}

/* ---- create, start, stop, remove ---- */

int docker_container_post_for_id(struct docker *d, const struct call *call, const char *path,
                                 const json_t *body, const char *what, char ret_id[65],
                                 struct err *err) {
    struct docker_request rq = {.method = "POST", .path = path, .body = body};
    AUTO_JSON json_t *j = NULL;
    int r = docker_http_do(d, call, &rq, NULL, &j, err);
    if (r < 0)
        return r;
    if (!json_value_text(j, "Id")[0])
        return err_set(err, ERR_PLAIN, EPROTO, "Docker's answer to the %s request has no Id", what);
    json_value_copy(j, "Id", ret_id, 65);
    return 0;
}

int docker_container_create(struct docker *d, const struct call *call, const char *name,
                            const json_t *body, char ret_id[65], struct err *err) {
    AUTO_FREE char *escaped = docker_http_escape(name);
    AUTO_FREE char *path = NULL;
    if (!escaped || asprintf(&path, "/containers/create?name=%s", escaped) < 0) {
        path = NULL;
        return err_oom(err);
    }
    return docker_container_post_for_id(d, call, path, body, "create", ret_id, err);
}

int docker_container_start(struct docker *d, const struct call *call, const char *id,
                           struct err *err) {
    return post_container(d, call, id, "/start", err);
}

struct docker_begun *docker_container_start_begin(struct docker *d, const char *id) {
    AUTO_FREE char *path = container_path(id, "/start");
    return path ? docker_http_begin(d, "POST", path) : NULL;
}

int docker_container_start_end(struct docker_begun *b, const struct call *call, struct err *err) {
    return docker_http_end(b, call, NULL, err);
}

static char *stop_path(const char *id, unsigned timeout_s) {
    char rest[32];
    snprintf(rest, sizeof(rest), "/stop?t=%u", timeout_s);
    return container_path(id, rest);
}

static char *kill_path(const char *id, const char *signal) {
    AUTO_FREE char *escaped = docker_http_escape(signal && signal[0] ? signal : "SIGKILL");
    AUTO_FREE char *rest = NULL;
    if (!escaped || asprintf(&rest, "/kill?signal=%s", escaped) < 0) {
        rest = NULL;
        return NULL;
    }
    return container_path(id, rest);
}

int docker_container_stop(struct docker *d, const struct call *call, const char *id,
                          unsigned timeout_s, struct err *err) {
    AUTO_FREE char *path = stop_path(id, timeout_s);
    return path ? post_path(d, call, path, err) : err_oom(err);
}

int docker_container_kill(struct docker *d, const struct call *call, const char *id,
                          const char *signal, struct err *err) {
    AUTO_FREE char *path = kill_path(id, signal);
    return path ? post_path(d, call, path, err) : err_oom(err);
}

int docker_container_stop_multi(struct docker_multi *m, const char *id, unsigned timeout_s,
                                const struct docker_get_ops *ops, void *ctx,
                                struct docker_get **ret) {
    AUTO_FREE char *path = stop_path(id, timeout_s);
    return path ? docker_multi_post(m, path, ops, ctx, ret) : -ENOMEM;
}

int docker_container_kill_multi(struct docker_multi *m, const char *id, const char *signal,
                                const struct docker_get_ops *ops, void *ctx,
                                struct docker_get **ret) {
    AUTO_FREE char *path = kill_path(id, signal);
    return path ? docker_multi_post(m, path, ops, ctx, ret) : -ENOMEM;
}

int docker_container_update(struct docker *d, const struct call *call, const char *id,
                            const json_t *body, struct err *err) {
    AUTO_FREE char *path = container_path(id, "/update");
    if (!path)
        return err_oom(err);
    struct docker_request rq = {.method = "POST", .path = path, .body = body};
    return docker_http_do(d, call, &rq, NULL, NULL, err);
}

int docker_container_remove(struct docker *d, const struct call *call, const char *id, bool force,
                            struct err *err) {
    AUTO_FREE char *path = container_path(id, force ? "?v=1&force=1" : "?v=1");
    if (!path)
        return err_oom(err);
    struct docker_request rq = {.method = "DELETE", .path = path};
    return docker_http_do(d, call, &rq, NULL, NULL, err);
}

static int on_list_data(void *ctx, const char *data, size_t len) {
    return docker_list_feed(ctx, data, len);
}

int docker_container_list(struct docker *d, const struct call *call, bool all,
                          const json_t *filters, json_t **ret, size_t *ret_skipped,
                          struct err *err) {
    AUTO_FREE char *text = filters ? json_dumps(filters, JSON_COMPACT) : strdup("{}");
    AUTO_FREE char *escaped = text ? docker_http_escape(text) : NULL;
    AUTO_FREE char *path = NULL;
    if (!escaped || asprintf(&path, "/containers/json?all=%d&filters=%s", all, escaped) < 0) {
        path = NULL;
        return err_oom(err);
    }
    struct docker_list list;
    docker_list_init(&list);
    struct docker_request rq = {
        .method = "GET", .path = path, .on_data = on_list_data, .ctx = &list};
    struct call mine = call ? *call : (struct call){0};
    if (!mine.deadline_us)
        mine.deadline_us = clock_now_us() + d->timeout_us;
    struct err failed = {0};
    int r = docker_http_do(d, &mine, &rq, NULL, NULL, &failed);
    /* Reporting an incomplete list as "none" could make a caller remove a container. */
    if (list.broken || (r == 0 && !docker_list_is_whole(&list)))
        r = err_set(err, ERR_PLAIN, EPROTO, "Docker's list of containers is no list");
    else if (r < 0)
        err_set(err, failed.cls, -r, "%s", failed.text);
    if (r == 0) {
        atomic_fetch_add(&d->skipped_items, list.skipped);
        *ret_skipped = list.skipped;
        *ret = TAKE_PTR(list.items);
    }
    docker_list_done(&list);
    return r;
}

struct docker_begun *docker_container_labelled_begin(struct docker *d, const char *label) {
    AUTO_JSON json_t *filters = json_pack("{s:[s]}", "label", label);
    AUTO_FREE char *text = filters ? json_dumps(filters, JSON_COMPACT) : NULL;
    AUTO_FREE char *escaped = text ? docker_http_escape(text) : NULL;
    AUTO_FREE char *path = NULL;
    if (!escaped || asprintf(&path, "/containers/json?filters=%s", escaped) < 0) {
        path = NULL;
        return NULL;
    }
    return docker_http_begin(d, "GET", path);
}

int docker_container_labelled_end(struct docker_begun *b, const struct call *call, json_t **ret,
                                  struct err *err) {
    AUTO_JSON json_t *list = NULL;
    int r = docker_http_end(b, call, &list, err);
    if (r < 0)
        return r;
    if (!json_is_array(list))
        return err_set(err, ERR_PLAIN, EPROTO, "Docker's list of containers is no list");
    *ret = TAKE_PTR(list);
    return 0;
}

int docker_container_stats(struct docker *d, const struct call *call, const char *id, json_t **ret,
                           struct err *err) {
    AUTO_FREE char *path = container_path(id, "/stats?stream=false&one-shot=1");
    return path ? docker_http_get_json(d, call, path, ret, err) : err_oom(err);
}
