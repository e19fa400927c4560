/* SPDX-License-Identifier: MPL-2.0 */
/* Commands that run inside a container: create, inspect, resize and start an exec.
 *
 * ExecTask and ExecTaskStreaming use it. The start takes over the connection of its request, which
 * then carries the command's input and output (docker_stream.c). */
#include "src/docker/docker_stream.h"

#include <stdio.h>
#include <string.h>

static char *exec_path(const char *exec_id, const char *rest) {
    AUTO_FREE char *escaped = docker_http_escape(exec_id);
    char *path;
    if (!escaped || asprintf(&path, "/exec/%s%s", escaped, rest) < 0)
        return NULL;
    return path;
}

static json_t *exec_body(const struct docker_exec_options *o) {
    AUTO_JSON json_t *argv = json_array();
    for (const char *const *a = o->argv; argv && *a; a++)
        if (json_array_append_new(argv, json_string_nocheck(*a)) < 0)
            return NULL;
    if (!argv)
        return NULL;
    return json_pack("{s:b,s:b,s:b,s:b,s:O}", "AttachStdin", o->stdin_open, "AttachStdout", 1,
                     "AttachStderr", 1, "Tty", o->tty, "Cmd", argv);
}

int docker_exec_create(struct docker *d, const struct call *call, const char *container_id,
                       const struct docker_exec_options *o, char ret_exec_id[65], struct err *err) {
    AUTO_FREE char *escaped = docker_http_escape(container_id);
    AUTO_FREE char *path = NULL;
    if (!escaped || asprintf(&path, "/containers/%s/exec", escaped) < 0) {
        path = NULL;
        return err_oom(err);
    }
    AUTO_JSON json_t *body = exec_body(o);
    if (!body)
        return err_oom(err);
    return docker_container_post_for_id(d, call, path, body, "exec", ret_exec_id, err);
}

int docker_exec_inspect(struct docker *d, const struct call *call, const char *exec_id,
                        struct docker_exec_state *ret, struct err *err) {
    AUTO_FREE char *path = exec_path(exec_id, "/json");
    if (!path)
        return err_oom(err);
    struct docker_request rq = {.method = "GET", .path = path};
    AUTO_JSON json_t *j = NULL;
    int r = docker_http_do(d, call, &rq, NULL, &j, err);
    if (r < 0)
        return r;
    if (!json_is_object(j))
        return err_set(err, ERR_PLAIN, EPROTO, "Docker's answer to GET %.200s is no JSON object",
                       path);
    bool running = json_value_bool(j, "Running");
    *ret = (struct docker_exec_state){
        .running = running,
        .ended = !running && json_is_number(json_object_get(j, "ExitCode")),
        .code = (int)json_value_int(j, "ExitCode"),
        .pid = (pid_t)json_value_int(j, "Pid"),
    };
    return 0;
}

int docker_exec_resize(struct docker *d, const struct call *call, const char *exec_id,
                       unsigned height, unsigned width, struct err *err) {
    char rest[64];
    snprintf(rest, sizeof(rest), "/resize?h=%u&w=%u", height, width);
    AUTO_FREE char *path = exec_path(exec_id, rest);
    if (!path)
        return err_oom(err);
    struct docker_request rq = {.method = "POST", .path = path};
    return docker_http_do(d, call, &rq, NULL, NULL, err);
}

int docker_exec_start(struct docker *d, const struct call *call, const char *exec_id, bool tty,
                      struct docker_stream **ret, struct err *err) {
    int minor = docker_http_api_minor(d, call, err);
    if (minor < 0)
        return minor;
    AUTO_FREE char *path = exec_path(exec_id, "/start");
    if (!path)
        return err_oom(err);
    return docker_stream_open(
        d, call, minor, path,
        tty ? "{\"Detach\":false,\"Tty\":true}" : "{\"Detach\":false,\"Tty\":false}", ret, err);
}
