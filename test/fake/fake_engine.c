/* SPDX-License-Identifier: MPL-2.0 */
/* The fake dockerd's containers: their life, the answers about them, and the paths that it knows.
 * Execs, streams, output and control requests have files of their own: fake_engine_priv.h. */
#include "fake/fake_engine_priv.h"
#include "paddock/clock.h"
#include "paddock/docker.h"

#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- Helpers ---- */

void engine_make_id(struct engine *e, const char *kind, char out[65]) {
    snprintf(out, 65, "%s%08x%052x", kind, ++e->next_id, 0xfeed);
}

json_t *engine_rfc3339(int64_t ns) {
    char text[64], date[32];
    time_t s = (time_t)(ns / 1000000000);
    struct tm tm;
    if (ns == 0)
        return json_string("0001-01-01T00:00:00Z");
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", gmtime_r(&s, &tm));
    snprintf(text, sizeof(text), "%s.%09dZ", date, (int)(ns % 1000000000));
    return json_string(text);
}

struct container *engine_find(struct engine *e, const char *id_or_name) {
    for (struct container *c = e->containers; c; c = c->next)
        if (strcmp(c->name, id_or_name) == 0 ||
            (strlen(id_or_name) >= 12 && strncmp(c->id, id_or_name, strlen(id_or_name)) == 0))
            return c;
    return NULL;
}

json_t *container_get(const struct container *c, const char *key) {
    return json_object_get(c->create, key);
}

/* ---- Life ---- */

void container_finish(struct engine *e, struct container *c, int code) {
    char text[16];
    if (!c->running)
        return;
    c->running = false;
    c->exit_code = code;
    c->finished_ns = clock_wall_ns();
    for (unsigned i = e->stream_count; i-- > 0;)
        if (e->streams[i].kind == STREAM_LOGS && e->streams[i].of == c) {
            conn_end_chunks(e->streams[i].conn);
            streams_remove(e, i);
        }
    for (unsigned i = e->stream_count; i-- > 0;)
        if (e->streams[i].kind == STREAM_WAIT && e->streams[i].of == c) {
            conn_reply(e->streams[i].conn, 200, json_pack("{s:i}", "StatusCode", code));
            streams_remove(e, i);
        }
    for (struct exec *x = e->execs; x; x = x->next)
        if (x->of == c && x->conn) {
            conn_close_when_written(x->conn);
            x->running = false;
        }
    snprintf(text, sizeof(text), "%d", code);
    events_emit(e, c, "die", json_pack("{s:s}", "exitCode", text));
}

/* Docker keeps this until the next start. */
void container_oom(struct engine *e, struct container *c) {
    c->oom = true;
    events_emit(e, c, "oom", NULL);
}

void container_start(struct engine *e, struct container *c) {
    c->running = true;
    c->oom = false;
    c->exit_code = 0;
    c->started_ns = clock_wall_ns();
    c->finished_ns = 0;
    if (e->root)
        log_file_make(e->root, c->id);
    events_emit(e, c, "start", NULL);
    const json_t *argv = container_get(c, "Cmd");
    if (strcmp(exec_arg(argv, 0), "print") == 0)
        output_print(e, c, 1, exec_arg(argv, 1), strlen(exec_arg(argv, 1)));
    if (strcmp(exec_arg(argv, 0), "exit") == 0)
        container_finish(e, c, (int)strtol(exec_arg(argv, 1), NULL, 10));
}

static struct container *create(struct engine *e, const char *name, json_t *body) {
    struct container *c = calloc(1, sizeof(*c));
    if (!c)
        abort();
    engine_make_id(e, "c0de", c->id);
    c->number = e->next_id;
    snprintf(c->name, sizeof(c->name), "%s", name && name[0] ? name : c->id);
    c->create = body;
    buf_init(&c->log, 1u << 26);
    c->next = e->containers;
    e->containers = c;
    events_emit(e, c, "create", NULL);
    return c;
}

static void container_free(struct container *c) {
    json_decref(c->create);
    buf_done(&c->log);
    free(c->messages);
    free(c);
}

static void remove_container(struct engine *e, struct container *c) {
    container_finish(e, c, 137);
    events_emit(e, c, "destroy", NULL);
    for (struct exec *x = e->execs; x; x = x->next)
        if (x->of == c)
            x->of = NULL;
    for (struct container **p = &e->containers; *p; p = &(*p)->next)
        if (*p == c) {
            *p = c->next;
            break;
        }
    container_free(c);
}

void engine_populate(struct engine *e, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof(name), "task-%u", i);
        container_start(e, create(e, name, json_pack("{s:s}", "Image", "busybox")));
    }
}

/* ---- Answers ---- */

static int pid_of(const struct engine *e, const struct container *c) {
    if (!c->running)
        return 0;
    return c->number <= e->n_pids ? e->pids[c->number - 1] : e->pid;
}

static json_t *state_json(struct engine *e, const struct container *c) {
    return json_pack("{s:s,s:b,s:b,s:b,s:b,s:b,s:i,s:i,s:s,s:o,s:o}", "Status",
                     c->running      ? "running"
                     : c->started_ns ? "exited"
                                     : "created",
                     "Running", c->running, "Paused", 0, "Restarting", 0, "OOMKilled", c->oom,
                     "Dead", 0, "Pid", pid_of(e, c), "ExitCode", c->exit_code, "Error", "",
                     "StartedAt", engine_rfc3339(c->started_ns), "FinishedAt",
                     engine_rfc3339(c->finished_ns));
}

static json_t *inspect_json(struct engine *e, const struct container *c) {
    json_t *host = json_deep_copy(container_get(c, "HostConfig"));
    json_t *networks = json_object(), *ports = NULL;
    if (!host)
        host = json_object();
    if (!c->netless) {
        json_object_set_new(networks, "bridge",
                            json_pack("{s:s,s:s,s:s}", "EndpointID", c->running ? "e9d" : "",
                                      "IPAddress", c->running ? "172.17.0.2" : "",
                                      "GlobalIPv6Address", ""));
        ports = c->running ? json_deep_copy(json_object_get(host, "PortBindings")) : NULL;
    }
    if (!json_object_get(host, "LogConfig"))
        json_object_set_new(host, "LogConfig", json_pack("{s:s}", "Type", "json-file"));
    char log_path[LOG_FILE_PATH_MAX];
    if (e->root)
        log_file_path(e->root, c->id, log_path);
    return json_pack("{s:s*,s:s,s:s+,s:s,s:o,s:o,s:O,s:{s:s,s:o,s:o}}", "LogPath",
                     e->root ? log_path : NULL, "Id", c->id, "Name", "/", c->name, "Image",
                     "sha256:5ca1ab1e", "State", state_json(e, c), "HostConfig", host, "Config",
                     c->create, "NetworkSettings", "SandboxKey", "/var/run/docker/netns/fake",
                     "Networks", networks, "Ports", ports ? ports : json_object());
}

static bool binds(const struct container *c, const char *port) {
    const char *key;
    json_t *list;
    json_object_foreach(json_object_get(container_get(c, "HostConfig"), "PortBindings"), key,
                        list) {
        const char *text = json_string_value(json_object_get(json_array_get(list, 0), "HostPort"));
        if (text && strcmp(text, port) == 0)
            return true;
    }
    return false;
}

/* Returns the container whose network it must join when that one does not run, or NULL. */
static const char *stopped_host(struct engine *e, const struct container *c) {
    const char *mode =
        json_string_value(json_object_get(container_get(c, "HostConfig"), "NetworkMode"));
    if (!mode || strncmp(mode, "container:", 10) != 0)
        return NULL;
    const struct container *host = engine_find(e, mode + 10);
    return host && host->running ? NULL : mode + 10;
}

static void answer_start(struct engine *e, struct conn *conn, struct container *c) {
    const char *host = stopped_host(e, c);
    if (c->running) {
        conn_reply(conn, 304, NULL);
    } else if (host) {
        conn_error(conn, 409, "cannot join network of a non running container: %s", host);
    } else if (e->busy_times > 0 && binds(c, e->busy_port)) {
        e->busy_times--;
        c->spoiled = true;
        conn_error(conn, 500,
                   "driver failed programming external connectivity on endpoint %s: Bind for "
                   "0.0.0.0:%s failed: port is already allocated",
                   c->name, e->busy_port);
    } else {
        c->netless = c->spoiled || e->netless_times > 0;
        e->netless_times -= e->netless_times > 0;
        container_start(e, c);
        conn_reply(conn, 204, NULL);
    }
}

/* Docker's names start with a slash. A name in a filter is a regular expression. */
static bool has_name(const struct container *c, const char *pattern) {
    char name[256];
    regex_t regex;
    if (!pattern || regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    snprintf(name, sizeof(name), "/%s", c->name);
    bool is = regexec(&regex, name, 0, NULL, 0) == 0;
    regfree(&regex);
    return is;
}

/* {"label": ["k=v", "k"], "name": ["REGEX"]}: all must match. */
static bool matches(const struct container *c, const json_t *filters) {
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(filters, "label"), i, v) {
        const char *want = json_string_value(v), *eq = want ? strchr(want, '=') : NULL;
        char key[256];
        snprintf(key, sizeof(key), "%.*s", (int)(eq ? eq - want : 255), want ? want : "");
        const char *have = json_string_value(json_object_get(container_get(c, "Labels"), key));
        if (!have || (eq && strcmp(have, eq + 1) != 0))
            return false;
    }
    json_array_foreach(json_object_get(filters, "name"), i, v) {
        if (!has_name(c, json_string_value(v)))
            return false;
    }
    return true;
}

/* Binds and bind mounts of the create request, as Docker lists them. */
static json_t *mounts_of(struct container *c) {
    json_t *out = json_array(), *host = container_get(c, "HostConfig"), *item;
    size_t i;
    json_array_foreach(json_object_get(host, "Binds"), i, item) {
        const char *bind = json_string_value(item);
        json_array_append_new(
            out, json_pack("{s:s,s:s%}", "Type", "bind", "Source", bind, strcspn(bind, ":")));
    }
    json_array_foreach(json_object_get(host, "Mounts"), i, item)
        json_array_append_new(out, json_pack("{s:O?,s:O?}", "Type", json_object_get(item, "Type"),
                                             "Source", json_object_get(item, "Source")));
    return out;
}

static void list(struct engine *e, struct conn *conn, const struct request *rq) {
    AUTO_FREE char *all = request_param(rq, "all"), *text = request_param(rq, "filters");
    AUTO_JSON json_t *filters = json_loads(text ? text : "{}", 0, NULL);
    json_t *out = json_array();
    for (struct container *c = e->containers; c; c = c->next) {
        if ((!c->running && (!all || strcmp(all, "0") == 0)) || !matches(c, filters))
            continue;
        json_t *labels = container_get(c, "Labels");
        json_t *row = json_pack("{s:s,s:[s+],s:O?,s:I,s:s,s:o}", "Id", c->id, "Names", "/", c->name,
                                "Image", container_get(c, "Image"), "Created",
                                (json_int_t)(c->started_ns / 1000000000), "State",
                                c->running ? "running" : "exited", "Mounts", mounts_of(c));
        json_object_set_new(row, "Labels", labels ? json_incref(labels) : json_object());
        json_array_append_new(out, row);
    }
    conn_reply(conn, 200, out);
}

static void stop(struct engine *e, struct conn *conn, struct container *c) {
    if (!c->running) {
        conn_reply(conn, 304, NULL);
        return;
    }
    events_emit(e, c, "kill", json_pack("{s:s}", "signal", "15"));
    container_finish(e, c, 143);
    events_emit(e, c, "stop", NULL);
    conn_reply(conn, 204, NULL);
}

static void kill_it(struct engine *e, struct conn *conn, struct container *c,
                    const struct request *rq) {
    AUTO_FREE char *signal = request_param(rq, "signal");
    if (!c->running) {
        conn_error(conn, 409, "Cannot kill container: %s: Container %s is not running", c->id,
                   c->id);
        return;
    }
    events_emit(e, c, "kill", json_pack("{s:s}", "signal", signal ? signal : "SIGKILL"));
    if (!signal || strcmp(signal, "SIGKILL") == 0 || strcmp(signal, "9") == 0)
        container_finish(e, c, 137);
    else if (strcmp(signal, "SIGTERM") == 0)
        container_finish(e, c, 143);
    conn_reply(conn, 204, NULL);
}

/* ---- Paths ---- */

static void update(struct conn *conn, const struct container *c, const struct request *rq) {
    AUTO_JSON json_t *body = json_loads(rq->body_text, 0, NULL);
    json_object_update(json_object_get(c->create, "HostConfig"), body);
    conn_reply(conn, 200, json_pack("{s:[]}", "Warnings"));
}

static bool handle_container(struct engine *e, struct conn *conn, const struct request *rq) {
    char id[300], what[32] = "";
    if (sscanf(rq->path, "/containers/%299[^/]/%31s", id, what) < 1)
        return false;
    struct container *c = engine_find(e, id);
    if (!c) {
        conn_error(conn, 404, "No such container: %s", id);
        return true;
    }
    bool is_get = strcmp(rq->method, "GET") == 0;
    if (strcmp(what, "json") == 0 && is_get) {
        conn_reply(conn, 200, inspect_json(e, c));
    } else if (strcmp(what, "start") == 0) {
        answer_start(e, conn, c);
    } else if (strcmp(what, "stop") == 0) {
        stop(e, conn, c);
    } else if (strcmp(what, "update") == 0) {
        update(conn, c, rq);
    } else if (strcmp(what, "kill") == 0) {
        kill_it(e, conn, c, rq);
    } else if (strcmp(what, "logs") == 0) {
        output_send_logs(e, c, conn, rq);
    } else if (strcmp(what, "exec") == 0) {
        exec_create(e, conn, c, rq);
    } else if (strcmp(what, "wait") == 0) {
        if (c->running)
            streams_add(e, conn, STREAM_WAIT, c);
        else
            conn_reply(conn, 200, json_pack("{s:i}", "StatusCode", c->exit_code));
    } else if (strcmp(what, "stats") == 0) {
        /* pids_stats.limit beyond int64, as Docker sends it without a limit */
        static const char text[] =
            "{\"memory_stats\":{\"usage\":4096},\"cpu_stats\":{\"cpu_usage\":"
            "{\"total_usage\":1000000}},\"pids_stats\":{\"current\":1,"
            "\"limit\":18446744073709551615}}";
        conn_reply_text(conn, 200, "application/json", NULL, false, text, sizeof(text) - 1,
                        SIZE_MAX);
    } else if (what[0] == '\0' && strcmp(rq->method, "DELETE") == 0) {
        AUTO_FREE char *force = request_param(rq, "force");
        if (c->running && !force) {
            conn_error(conn, 409, "You cannot remove a running container %s", c->id);
            return true;
        }
        remove_container(e, c);
        conn_reply(conn, 204, NULL);
    } else {
        return false;
    }
    return true;
}

static void handle_create(struct engine *e, struct conn *conn, const struct request *rq) {
    AUTO_FREE char *name = request_param(rq, "name");
    json_t *body = json_loads(rq->body_text, 0, NULL);
    struct container *old = name && name[0] ? engine_find(e, name) : NULL;
    if (!json_is_object(body)) {
        conn_error(conn, 400, "invalid JSON");
        json_decref(body);
    } else if (old) {
        conn_error(
            conn, 409,
            "Conflict. The container name \"/%s\" is already in use by container \"%s\". You have "
            "to remove (or rename) that container to be able to reuse that name.",
            name, old->id);
        json_decref(body);
    } else {
        struct container *c = create(e, name, body);
        conn_reply(conn, 201, json_pack("{s:s,s:[]}", "Id", c->id, "Warnings"));
    }
}

static bool handle_system(struct engine *e, struct conn *conn, const char *path) {
    if (strcmp(path, "/version") == 0)
        conn_reply(conn, 200,
                   json_pack("{s:s,s:s,s:s,s:s,s:s}", "Version", "27.0.0-fake", "ApiVersion",
                             "1.47", "MinAPIVersion", "1.24", "Os", "linux", "Arch", "amd64"));
    else if (strcmp(path, "/info") == 0)
        conn_reply(conn, 200,
                   json_pack("{s:s,s:s,s:s,s:{s:{s:s}},s:s,s:s*}", "OSType", "linux",
                             "CgroupDriver", "systemd", "CgroupVersion", "2", "Runtimes", "runc",
                             "path", "runc", "ServerVersion", "27.0.0-fake", "DockerRootDir",
                             e->root));
    else if (strcmp(path, "/networks/bridge") == 0)
        conn_reply(conn, 200,
                   json_pack("{s:s,s:{s:[{s:s}]}}", "Name", "bridge", "IPAM", "Config", "Gateway",
                             "172.17.0.1"));
    else if (strncmp(path, "/images/", 8) == 0 && strlen(path) > 13 &&
             strcmp(path + strlen(path) - 5, "/json") == 0)
        conn_reply(conn, 200,
                   json_pack("{s:s,s:{s:s}}", "Id", "sha256:5ca1ab1e", "Config", "User", ""));
    else
        return false;
    return true;
}

bool engine_handle(struct engine *e, struct conn *conn, const struct request *rq) {
    if (strncmp(rq->path, "/_fake/", 7) == 0)
        return control_handle(e, conn, rq);
    if (strcmp(rq->path, "/events") == 0)
        events_follow(e, conn, rq);
    else if (strcmp(rq->path, "/containers/json") == 0)
        list(e, conn, rq);
    else if (strcmp(rq->path, "/containers/create") == 0)
        handle_create(e, conn, rq);
    else
        return handle_container(e, conn, rq) || exec_handle(e, conn, rq) ||
               handle_system(e, conn, rq->path);
    return true;
}

struct engine *engine_new(int pid) {
    struct engine *e = calloc(1, sizeof(*e));
    if (!e)
        abort();
    e->pid = pid;
    return e;
}

void engine_take_pids(struct engine *e, int *pids, unsigned n) {
    e->pids = pids;
    e->n_pids = n;
}

void engine_set_root(struct engine *e, const char *root) {
    e->root = root;
}

void engine_free(struct engine *e) {
    free(e->pids);
    while (e->stream_count > 0)
        streams_remove(e, 0);
    while (e->containers) {
        struct container *c = e->containers;
        e->containers = c->next;
        container_free(c);
    }
    while (e->execs) {
        struct exec *x = e->execs;
        e->execs = x->next;
        exec_free(x);
    }
    for (unsigned i = 0; i < EVENTS_KEPT; i++)
        free(e->events[i].line);
    free(e);
}
